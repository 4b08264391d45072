"""DSEC-style HDF5 (M. Gehrig et al., RA-L 2021): `events/x`, `y`, `t`, `p`, `ms_to_idx`, `t_offset`.

`t` is µs; `t_offset` µs are added to be on the clock of the pictures. `ms_to_idx` is not needed: a place in
time is found by halving. Coordinates are the sensor's own: a `rectify_map.h5` beside the file is named
and not applied. Pictures lie in a folder of their own with their timestamps; give the folder that
holds both (`picture_folder`).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recordings.formats.dataset_source import (
    EVENTS_PER_PIECE,
    Found,
    FrameRefused,
    FrameTime,
    SourceFacts,
    first_at,
    piece,
    remark,
    side,
    times,
)
from recordings.formats.hdf5_arrays import array, attribute, inside, lists, slices
from recordings.sandbox_child import Refused

DSEC_SIZE = (640, 480)


def is_dsec(file: Any) -> bool:
    """The file has this layout's events."""
    return inside(file, "events") and all(inside(file, f"events/{k}") for k in "xytp")


class DsecSource:
    """One file; see `Source`. It has no frames.

    Args:
        file: open.
        path: where it lies.
        stated: size of the sensor where the person gave it.
    """

    frames: list[FrameTime]

    def __init__(self, file: Any, path: Path, stated: tuple[int, int] | None) -> None:
        self.frames = []
        self._columns, self._count = lists(file, {k: f"events/{k}" for k in "txyp"})
        if not self._count:
            raise Refused("holds no events; nothing can be read")
        problems: list[str] = []
        self._offset = _offset(file, problems)
        first, last = (int(self._times(self._columns["t"][k : k + 1])[0]) for k in (0, self._count - 1))
        size = _size(file, stated, problems)
        if (path.parent / "rectify_map.h5").is_file():
            remark(problems, "rectify_map.h5 beside it is not applied: events are where the sensor saw them")
        self.facts = SourceFacts(
            format="dsec-h5", event_size=size, image_size=None, start_us=first, end_us=max(first, last),
            problems=problems,
        )  # fmt: skip

    def _times(self, values: NDArray[Any]) -> NDArray[np.int64]:
        return times(values, 1.0, self._offset)

    def image(self, index: int) -> NDArray[np.uint8]:
        """None."""
        raise FrameRefused("there are no frames")

    def events(self, start_us: int | None) -> Iterator[Found]:
        """See `Source.events`."""
        t = self._columns["t"]
        first = 0
        if start_us is not None:
            first = first_at(lambda k: int(self._times(t[k : k + 1])[0]), self._count, start_us)
        for part in slices(self._columns, first, self._count, EVENTS_PER_PIECE):
            if isinstance(part, str):
                yield part
            else:
                yield piece(self._times(part[0]), *part[1:])


def _offset(file: Any, problems: list[str]) -> int:
    if not inside(file, "t_offset"):
        remark(problems, "the file has no t_offset: its times are taken as they stand")
        return 0
    value = np.asarray(array(file, "t_offset")[()])
    if value.size != 1 or not np.isfinite(value).all() or abs(float(value.reshape(()))) > 1 << 60:
        raise Refused("its t_offset is no single time")
    return int(value.reshape(()))


def _size(file: Any, stated: tuple[int, int] | None, problems: list[str]) -> tuple[int, int]:
    """Stated by the person, by the file, or DSEC's own where it is a DSEC file."""
    if stated is not None:
        return stated
    for attributes in (file.attrs, file["events"].attrs):
        wh = [attribute(attributes, k, "the file") for k in ("width", "height")]
        if wh[0] is not None and wh[1] is not None:
            return side(int(wh[0]), "a sensor's width"), side(int(wh[1]), "a sensor's height")
    if not inside(file, "ms_to_idx") or not inside(file, "t_offset"):
        raise Refused("nothing in it tells the sensor's size; state it: --geometry 640x480")
    w, h = DSEC_SIZE
    remark(
        problems,
        f"the file has no sensor size; {w}×{h} is that of all recordings of DSEC; --geometry states another",
    )
    return DSEC_SIZE
