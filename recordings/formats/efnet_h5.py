"""EFNet's HDF5 files (L. Sun et al., ECCV 2022): GoPro and REBlur with raw events, one file a sequence.

`events/xs`, `ys`, `ts`, `ps`; `images/image000000000` …, uint8 (H, W, 3) BGR, with the attributes `timestamp`
and, in REBlur, `exposure_start`, `exposure_end` in the unit of `events/ts`; `sensor_resolution` = (H, W).
Events lie on the image's own pixels. GoPro's files give no exposure: a frame's stamp then lies in its middle.
Files with `voxels` instead of events hold representations only: for training and evaluation, refused here.

HDF5's C library reads this only in the sandbox's child. Links to other files and values kept outside the file
are not followed.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from recordings.formats.dataset_source import (
    EVENTS_PER_PIECE,
    MAX_PICTURE_BYTES,
    FrameRefused,
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
from recordings.pickle_steps import megabytes
from recordings.sandbox_child import Refused

# A recording that would last longer in seconds than this (11 days) is in microseconds.
_LONGEST_S = 1e6
MAX_FRAMES = 1_000_000


class EfnetSource:
    """One file; see `Source`."""

    def __init__(self, path: Path) -> None:
        self._file = h5py.File(path, "r")
        names = set(self._file)
        if "events" not in names and "voxels" in names:
            raise Refused(
                "holds event representations (voxels), no events: it can train and evaluate EFNet, "
                "but not be replayed; replay needs the file with raw events"
            )
        if not {"events", "images"} <= names:
            listed = ", ".join(sorted(names)[:12])
            raise Refused(f"is an HDF5 file with {listed or 'nothing in it'}, which is no layout that is known")
        self._columns = {k: _array(self._file, f"events/{k}s") for k in "txyp"}
        lengths = {len(c) for c in self._columns.values()}
        if any(c.ndim != 1 for c in self._columns.values()) or len(lengths) != 1:
            raise Refused("its events are no four lists of one length")
        self._count = lengths.pop()
        problems: list[str] = []
        ends = [float(self._columns["t"][i]) for i in (0, -1)] if self._count else []
        self._scale = _unit(self._columns["t"].dtype, ends, problems)
        keys = [k for k in sorted(self._file["images"]) if k.startswith("image")]
        if len(keys) > MAX_FRAMES:
            raise Refused(f"holds {len(keys)} images; at most {MAX_FRAMES} are read")
        found = [self._time(k, problems) for k in keys]
        size = self._size(keys)
        stamps = [int(v) for f in found for v in f] + [int(t) for t in times(np.array(ends), self._scale)]
        if not stamps:
            raise Refused("holds no events and no images")
        self.facts = SourceFacts(
            format="efnet-h5", event_size=size, image_size=size if keys else None,
            start_us=min(stamps), end_us=max(stamps), image_from_event=scaled(size, size),
            note="events on the frame's own pixels; tone curve not stated", problems=problems,
        )  # fmt: skip
        order = in_order(found, self.facts)
        self.frames = [found[i] for i in order]
        self._keys = [keys[i] for i in order]

    def _time(self, key: str, problems: list[str]) -> FrameTime:
        attributes = _array(self._file, f"images/{key}").attrs
        start, end, stamp = (_number(attributes, k) for k in ("exposure_start", "exposure_end", "timestamp"))
        if start is not None and end is not None and end > start:
            a, b = times(np.array([start, end]), self._scale)
            return FrameTime(int(a), int(b))
        if start is not None and end is not None and len(problems) < 20:
            problems.append(f"{key}: its exposure ends where it starts, or before")
        at = stamp if stamp is not None else start
        if at is None:
            raise Refused(f"images/{key} has no timestamp")
        t = int(times(np.array([at]), self._scale)[0])
        return FrameTime(t, t)

    def _size(self, keys: list[str]) -> tuple[int, int]:
        """(width, height), of the first image or as the file states it."""
        shape = _array(self._file, f"images/{keys[0]}").shape if keys else self._file.attrs["sensor_resolution"]
        if len(shape) < 2:
            raise Refused(f"has images of shape {str(shape)[:60]}; expected (height, width, 3)")
        return side(int(shape[1]), "a width"), side(int(shape[0]), "a height")

    def image(self, index: int) -> NDArray[np.uint8]:
        """See `Source.image`."""
        d = _array(self._file, f"images/{self._keys[index]}")
        if d.dtype.itemsize * d.size > MAX_PICTURE_BYTES:
            raise FrameRefused(
                f"takes {megabytes(d.dtype.itemsize * d.size)} of memory; "
                f"at most {megabytes(MAX_PICTURE_BYTES)} are read"
            )
        try:
            return picture(d[()], planes_first=False, bgr=True)
        except (OSError, RuntimeError) as e:
            raise FrameRefused(f"its pixels cannot be read ({' '.join(str(e).split())[:80]})") from e

    def events(self, start_us: int | None) -> Iterator[Piece | str]:
        """See `Source.events`; a damaged part is passed over."""
        first = 0 if start_us is None else self._index(start_us)
        for a in range(first, self._count, EVENTS_PER_PIECE):
            s = slice(a, a + EVENTS_PER_PIECE)
            try:
                t, x, y, p = (self._columns[k][s] for k in "txyp")
            except (OSError, RuntimeError) as e:
                why = " ".join(str(e).split())[:80]
                yield f"events {a} to {min(s.stop, self._count)} cannot be read ({why}); they were passed over"
                continue
            yield piece(times(t, self._scale), x, y, p)

    def _index(self, t_us: int) -> int:
        """The first event at `t_us` or later, by halving; a few reads of one value each."""
        low, high = 0, self._count
        while low < high:
            middle = (low + high) // 2
            at = int(times(np.asarray([self._columns["t"][middle]]), self._scale)[0])
            low, high = (middle + 1, high) if at < t_us else (low, middle)
        return low


def _array(file: Any, name: str) -> Any:
    """A numeric array that lies in this file itself."""
    here = file
    for part in name.split("/"):
        if part not in here:
            raise Refused(f"has no {name}")
        if not isinstance(here.get(part, getlink=True), h5py.HardLink):
            raise Refused(f"{name} is a link to elsewhere, which is not followed")
        here = here[part]
    if not isinstance(here, h5py.Dataset):
        raise Refused(f"{name} is no array")
    if here.dtype.kind not in "biuf":
        kind = "Python objects or text" if here.dtype.kind == "O" else f"the type {here.dtype}"
        raise Refused(f"{name} holds {kind[:60]}, which is not read")
    if here.is_virtual or here.external:
        raise Refused(f"{name} keeps its values outside the file, which are not read")
    return here


def _number(attributes: Any, key: str) -> float | None:
    if key not in attributes:
        return None
    value = np.asarray(attributes[key])
    if value.dtype.kind not in "biuf" or value.size != 1 or not np.isfinite(value).all():
        raise Refused(f"an image's {key} is no number")
    return float(value.reshape(()))


def _unit(dtype: np.dtype[Any], ends: list[float], problems: list[str]) -> float:
    """Microseconds in one unit of the file's times, which it does not state."""
    seconds = dtype.kind == "f" and all(np.isfinite(ends)) and (not ends or ends[1] - ends[0] < _LONGEST_S)
    word = "seconds, as fractions of them are stored" if seconds else "microseconds"
    problems.append(f"the file does not say the unit of its times; they are taken as {word}")
    return 1e6 if seconds else 1.0
