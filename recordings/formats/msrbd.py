"""MS-RBD style `.npz` (X. Zhang et al., ICCV 2023): two blurry frames in a row and the events around them.

A file: `blur1`, `blur2` (3, H, W) BGR 0…255; `exp_start1` … `exp_end2`, 0-d, µs on the events' clock; `events`,
a pickled dictionary of `x`, `y`, `t`, `p` (read by `pickled_arrays`), or the same without pickle: `events_x`,
`events_y`, `events_t_us`, `events_p` and `exp_start1_us` …. Events lie on a grid of (W / scale, H / scale) with
the view of the frame.

A folder of them is one sequence. Whether pairs overlap (each frame in two files) or not is not fixed; a frame
that comes twice is read once, and so are the events of the part that two files share.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recordings.formats.dataset_source import (
    EVENTS_PER_PIECE,
    MAX_PICTURE_BYTES,
    Found,
    FrameTime,
    Piece,
    SourceFacts,
    in_order,
    picture,
    piece,
    scaled,
    side,
    times,
)
from recordings.formats.npy_members import WHOLE_BYTES, Archive
from recordings.formats.pickled_arrays import read_array_dict
from recordings.pickle_steps import PickleRefused, megabytes
from recordings.sandbox_child import Refused

# The scales of the published sets: MS-RBD and Ev-REDS, HS-ERGB.
PUBLISHED_SCALES = (4, 1)
PLAIN = ("events_x", "events_y", "events_t_us", "events_p")
# Times are within these, see `times`.
_BEFORE_ALL, _BEHIND_ALL = -(1 << 62), 1 << 62
_COUNT = re.compile(r"^(.*?)[_-]?\d+$")


def is_pair(names: frozenset[str]) -> bool:
    """The arrays of a file are those of this layout."""
    return "blur1" in names and bool({"exp_start1", "exp_start1_us"} & names)


@dataclass(frozen=True, slots=True)
class _Pair:
    path: Path
    exposures: tuple[FrameTime, FrameTime]
    image_size: tuple[int, int]
    scale: int | None


class MsRbdSource:
    """One file or a sequence of them; see `Source`.

    Args:
        paths: files in order of names.
        geometry: size of the event grid where the person gave it.
    """

    def __init__(self, paths: list[Path], geometry: tuple[int, int] | None) -> None:
        several = len(paths) > 1
        problems: list[str] = []
        pairs: list[_Pair] = []
        for path in paths:
            try:
                pairs.append(_pair(path, path.name if several else "", problems))
            except Refused as e:
                if not several:
                    raise
                problems.append(f"{e}; it was left out")
        if not pairs:
            raise Refused(f"none of its {len(paths)} files can be read; the first: {problems[0]}")
        odd = [p.path.name for p in pairs if p.image_size != pairs[0].image_size]
        if odd:
            raise Refused(f"{odd[0]} has pictures of another size than {pairs[0].path.name}: not one sequence")
        pairs.sort(key=lambda p: p.exposures[0])
        self._pairs = pairs
        self._several = several
        size = pairs[0].image_size
        grid = _grid(pairs, size, geometry, problems)
        self.facts = SourceFacts(
            format="msrbd", event_size=grid, image_size=size,
            start_us=min(e.start_us for p in pairs for e in p.exposures),
            end_us=max(e.end_us for p in pairs for e in p.exposures),
            image_from_event=scaled(grid, size), problems=problems,
            stamp_in_middle=False,
            note="in the manner of MS-RBD: events rectified to the frame's view, tone curve not stated",
        )  # fmt: skip
        seen: dict[FrameTime, tuple[Path, str]] = {}
        for p in pairs:
            for k, exposure in enumerate(p.exposures, 1):
                seen.setdefault(exposure, (p.path, f"blur{k}"))
        frames, places = list(seen), list(seen.values())
        order = in_order(frames, self.facts)
        self.frames = [frames[i] for i in order]
        self._places = [places[i] for i in order]
        if any(b.exposures[0].start_us > a.exposures[1].end_us for a, b in itertools.pairwise(pairs)):
            problems.append("between its pairs events are not in the files")

    @property
    def paths(self) -> list[Path]:
        """The files that can be read, in order of time."""
        return [p.path for p in self._pairs]

    def image(self, index: int) -> NDArray[np.uint8]:
        """See `Source.image`."""
        path, name = self._places[index]
        with Archive(path, path.name if self._several else "") as archive:
            return picture(archive.whole(name, 8 * MAX_PICTURE_BYTES), planes_first=True, bgr=True)

    def events(self, start_us: int | None) -> Iterator[Found]:
        """See `Source.events`. One file at a time is in memory."""
        low = _BEFORE_ALL
        for pair, following in zip(self._pairs, [*self._pairs[1:], None], strict=True):
            end = pair.exposures[1].end_us
            high = _BEHIND_ALL if following is None else max(end, following.exposures[0].start_us)
            if start_us is None or high > start_us:
                try:
                    yield from _between(_events(pair.path, pair.path.name if self._several else ""), low, high)
                except Refused as e:
                    if not self._several:
                        raise
                    yield f"{e}; its events are missing"
            low = high


def _between(columns: tuple[NDArray[Any], ...], low: int, high: int) -> Iterator[Piece]:
    for a in range(0, len(columns[0]), EVENTS_PER_PIECE):
        s = slice(a, a + EVENTS_PER_PIECE)
        t = times(columns[0][s])
        whole = low == _BEFORE_ALL and high == _BEHIND_ALL
        if whole or (low <= int(t.min()) and int(t.max()) < high):  # nearly always, and twice as fast
            yield piece(t, *(c[s] for c in columns[1:]))
            continue
        keep = (t >= low) & (t < high)
        if keep.any():
            yield piece(t[keep], *(c[s][keep] for c in columns[1:]))


def sequences(paths: list[Path]) -> list[str]:
    """Names of the sequences that the files belong to: what stands before their numbers."""
    return sorted({(m.group(1) if (m := _COUNT.match(p.stem)) else p.stem) for p in paths})


def _pair(path: Path, name: str, problems: list[str]) -> _Pair:
    with Archive(path, name) as a:
        size = None
        for key in ("blur1", "blur2"):
            shape = a.header(key).shape
            if len(shape) != 3 or shape[0] not in (1, 3):
                where = f"{name}: " if name else ""
                raise Refused(f"{where}{key} has the shape {str(shape)[:60]}; expected (3, height, width)")
            one = side(shape[2], "a picture's width"), side(shape[1], "a picture's height")
            if size not in (None, one):
                raise Refused(f"{name or 'its'} frames differ in size: {size} and {one}")
            size = one
        assert size is not None
        exposures = []
        for k in (1, 2):
            start, end = (_time(a, f"{w}{k}") for w in ("exp_start", "exp_end"))
            if end <= start:
                where = f"{name}: " if name else ""
                problems.append(f"{where}exposure {k} lasts {end - start} µs, which is none")
                end = start
            exposures.append(FrameTime(start, end))
        scale = int(a.scalar("scale_factor")) if "scale_factor" in a.names else None
        if scale is not None and not 1 <= scale <= 64:
            problems.append(f"scale_factor {scale} is out of range and was not used")
            scale = None
    return _Pair(path, (exposures[0], exposures[1]), size, scale)


def _time(a: Archive, key: str) -> int:
    name = f"{key}_us" if f"{key}_us" in a.names else key
    return int(times(np.asarray([a.scalar(name)]))[0])


def _events(path: Path, name: str) -> tuple[NDArray[Any], ...]:
    """Columns t, x, y, p, flat and of one length."""
    where = f"{name}: " if name else ""
    with Archive(path, name) as a:
        if "events" in a.names:
            with a.mapped("events") as (f, header, rest):
                if not header.objects or header.count != 1:
                    raise Refused(f"{where}events is no pickled dictionary; expected x, y, t, p in one")
                if rest > WHOLE_BYTES:
                    raise Refused(
                        f"{where}events takes {megabytes(rest)} of memory; "
                        f"at most {megabytes(WHOLE_BYTES)} are read at once"
                    )
                try:
                    found = read_array_dict(f, rest)
                except PickleRefused as e:
                    raise Refused(f"{where}events: {e}") from e
            missing = [k for k in "xytp" if k not in found]
            if missing:
                raise Refused(f"{where}events has no {', '.join(missing)}; expected x, y, t, p")
            columns = tuple(found[k].reshape(-1) for k in "txyp")
        else:
            if not set(PLAIN) <= a.names:
                raise Refused(f"{where}has no events; expected a dictionary events, or {', '.join(PLAIN)}")
            x, y, t, p = (a.whole(k, mapped=True).reshape(-1) for k in PLAIN)
            columns = t, x, y, p
    if len({len(c) for c in columns}) != 1:
        raise Refused(f"{where}its events are of different lengths: {', '.join(str(len(c)) for c in columns)}")
    return columns


def _grid(
    pairs: list[_Pair], image: tuple[int, int], stated: tuple[int, int] | None, problems: list[str]
) -> tuple[int, int]:
    """The event grid: stated by the person, by the file, or the published scale that holds the events."""
    if stated is not None:
        return stated
    scale = pairs[0].scale
    if scale is None:
        _, x, y, _ = _events(pairs[0].path, pairs[0].path.name)
        reach = (int(np.max(x, initial=0)) + 1, int(np.max(y, initial=0)) + 1)
        fitting = [s for s in PUBLISHED_SCALES if reach[0] <= image[0] // s and reach[1] <= image[1] // s]
        if not len(x) or not fitting:
            raise Refused(
                f"does not state its scale, and events that reach {reach[0]}×{reach[1]} in a picture of "
                f"{image[0]}×{image[1]} fit none of the published ones; state the grid with --geometry"
            )
        scale = fitting[0]
        problems.append(
            f"the file does not state its scale: events reach {reach[0]}×{reach[1]}, which fits the published "
            f"scale {scale}; --geometry states another"
        )
    return side(image[0] // scale, "an event grid"), side(image[1] // scale, "an event grid")
