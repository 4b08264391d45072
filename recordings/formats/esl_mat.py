"""eSL-Net's layout, which SC-Net's event data have: pictures in one folder, one `.mat` of events a picture in
another.

Variables: `start_timestamp` and `end_timestamp` of the exposure, `section_event_timestamp`, `section_event_x`,
`section_event_y`, `section_event_polarity`, (1, n) each. Coordinates begin at 1. Files hold events of the
exposure alone; pictures and files belong together by their order.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recordings.formats.dataset_source import (
    Found,
    FrameTime,
    SourceFacts,
    in_order,
    piece,
    remark,
    scaled,
    times,
)
from recordings.formats.mat_arrays import SUFFIX, MatFile
from recordings.formats.names import files_with, is_hidden
from recordings.formats.pictures import SUFFIXES, find_pictures, first_size, read_picture
from recordings.sandbox_child import Refused

_COLUMNS = tuple(f"section_event_{part}" for part in ("timestamp", "x", "y", "polarity"))
_START, _END = "start_timestamp", "end_timestamp"
_TRUTH = {"sharp", "gt"}
MAX_FILES = 100_000


def mat_files(folder: Path) -> list[Path]:
    """The `.mat` files of a folder, or of the one folder below it that has some, in order of their numbers."""
    for place in (folder, *sorted(p for p in folder.iterdir() if p.is_dir() and not is_hidden(p.name))):
        if found := files_with(place, SUFFIX):
            return found
    return []


class EslSource:
    """One sequence; see `Source` and the module.

    Args:
        path: the folder that holds both.
        stated: size of the event grid where the person gave it.
    """

    def __init__(self, path: Path, stated: tuple[int, int] | None) -> None:
        files, pictures = mat_files(path), _pictures_of(path)
        if len(files) != len(pictures) or not files or len(files) > MAX_FILES:
            raise Refused(
                f"holds {len(pictures)} pictures and {len(files)} {SUFFIX} files; one belongs to each"
            )
        problems: list[str] = []
        self._scale = 0.0
        found: list[FrameTime] = []
        kept: list[tuple[Path, Path]] = []
        reach = [0, 0]
        for picture, file in zip(pictures, files, strict=True):
            try:
                time, own = self._look(file, with_reach=not kept)
            except Refused as e:
                problems.append(f"{e}; {picture.name} is left out with it")
                continue
            reach = own or reach
            found.append(time)
            kept.append((picture, file))
        if not kept:
            raise Refused(f"none of its {len(files)} {SUFFIX} files can be used: {problems[0]}")
        image = first_size([p for p, _ in kept], problems)
        size = stated or image
        if any(r > s for r, s in zip(reach, size, strict=True)):
            raise Refused(
                f"events reach {reach[0]}×{reach[1]}, beyond {size[0]}×{size[1]}; state the sensor's size: "
                "--geometry"
            )
        remark(
            problems, f"event files do not say their unit; it is taken as {'s' if self._scale > 1 else 'µs'}"
        )
        self.facts = SourceFacts(
            format="esl-mat", event_size=size, image_size=image, start_us=min(f.start_us for f in found),
            end_us=max(f.end_us for f in found), image_from_event=scaled(size, image),
            note="events on the frame's own pixels; tone curve not stated", problems=problems,
            stamp_in_middle=False,
        )  # fmt: skip
        order = in_order(found, self.facts)
        self.frames = [found[i] for i in order]
        self._pictures, self._files = ([kept[i][k] for i in order] for k in (0, 1))

    def _look(self, path: Path, *, with_reach: bool) -> tuple[FrameTime, list[int] | None]:
        """The exposure of a file, and how far its events reach."""
        file = MatFile(path, path.name)
        if missing := [n for n in (_START, *_COLUMNS) if n not in file.names]:
            listed = ", ".join(sorted(file.names)[:8]) or "(none)"
            raise Refused(f"{path.name} has no {missing[0]}, but {listed}")
        if not self._scale:
            sample = file.vector(_COLUMNS[0])[:10_000]
            self._scale = 1e6 if sample.dtype.kind == "f" and bool((np.mod(sample, 1) != 0).any()) else 1.0
        start = self._time(file.scalar(_START))
        end = self._time(file.scalar(_END)) if _END in file.names else start
        if end < start:
            raise Refused(f"{path.name}: its exposure ends {start - end} µs before it begins")
        if not with_reach:
            return FrameTime(start, end), None
        x, y = (file.vector(n) for n in _COLUMNS[1:3])
        return FrameTime(start, end), [int(v.max()) if len(v) else 0 for v in (x, y)]

    def _time(self, value: float) -> int:
        return int(times(np.array([value]), self._scale)[0])

    def image(self, index: int) -> NDArray[np.uint8]:
        """See `Source.image`."""
        return read_picture(self._pictures[index])

    def events(self, start_us: int | None) -> Iterator[Found]:
        """See `Source.events`; a file that is damaged is told of and passed over."""
        for frame, path in zip(self.frames, self._files, strict=True):
            if start_us is not None and frame.known and frame.end_us < start_us:
                continue
            try:
                yield self._piece(path)
            except Refused as e:
                yield f"{e}; its events are missing"

    def _piece(self, path: Path) -> Found:
        file = MatFile(path, path.name)
        stamps, x, y, p = (file.vector(n) for n in _COLUMNS)
        t = times(stamps, self._scale)
        if len({len(t), len(x), len(y), len(p)}) > 1:
            raise Refused(f"{path.name}: its events are of different lengths")
        order = np.argsort(t, kind="stable")
        return piece(t[order], _from_one(x)[order], _from_one(y)[order], p[order])


def _from_one(values: NDArray[Any]) -> NDArray[Any]:
    """Coordinates that begin at 0, of any numeric type."""
    return values.astype(np.float64) - 1


def _pictures_of(folder: Path) -> list[Path]:
    """Of the folder, or of the one folder below it that has some.

    Raises:
        Refused: several have.
    """
    inner = (p for p in folder.iterdir() if p.is_dir() and p.name.lower() not in _TRUTH)
    places = [folder, *sorted(p for p in inner if not is_hidden(p.name))]
    having = [p for p in places if files_with(p, *SUFFIXES)]
    if len(having) > 1:
        raise Refused(f"holds {len(having)} folders of pictures ({', '.join(p.name for p in having[:4])})")
    return find_pictures(having[0]) if having else []
