"""EFNet's HDF5 files (L. Sun et al., ECCV 2022): GoPro and REBlur, one file a sequence, in two forms.

With raw events: `events/xs`, `ys`, `ts`, `ps`; `images/image000000000` …, uint8 (H, W, 3) BGR, with the
attributes `timestamp` and, in REBlur, `exposure_start`, `exposure_end` in the unit of `events/ts`;
`sensor_resolution` = (H, W). Events lie on the image's own pixels. GoPro's files give no exposure: a frame's
stamp then lies in its middle.

With SCER: `voxels/voxel000000000` …, float32 (6, H, W), `images/…` uint8 (3, H, W) BGR, `masks/…`. The voxels
are sums of events; the events cannot be had back from them, and no times are kept. Such a file trains and
evaluates EFNet; here its frames are shown, spaced evenly.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recordings.formats.dataset_source import (
    EVENTS_PER_PIECE,
    MAX_PICTURE_BYTES,
    Found,
    FrameTime,
    SourceFacts,
    first_at,
    in_order,
    picture,
    piece,
    remark,
    scaled,
    side,
    times,
)
from recordings.formats.hdf5_arrays import array, attribute, inside, lists, slices, whole
from recordings.sandbox_child import Refused

# A recording that would last longer in seconds than this (11 days) is in microseconds.
_LONGEST_S = 1e6
_UNITS = {"s": 1e6, "us": 1.0}
MAX_FRAMES = 1_000_000
# Between frames without times: 25 a second.
SHOWN_US = 40_000


class EfnetSource:
    """One file with raw events; see `Source`."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._columns, self._count = lists(file, {k: f"events/{k}s" for k in "txyp"})
        problems: list[str] = []
        ends = [float(self._columns["t"][i]) for i in (0, -1)] if self._count else []
        self._scale = _unit(self._file.attrs.get("time_unit"), self._columns["t"].dtype, ends, problems)
        keys = _keys(self._file)
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
        attributes = array(self._file, f"images/{key}").attrs
        start, end, stamp = (
            attribute(attributes, k, f"images/{key}") for k in ("exposure_start", "exposure_end", "timestamp")
        )
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
        shape = array(self._file, f"images/{keys[0]}").shape if keys else self._file.attrs["sensor_resolution"]
        if len(shape) < 2:
            raise Refused(f"has images of shape {str(shape)[:60]}; expected (height, width, 3)")
        return side(int(shape[1]), "a width"), side(int(shape[0]), "a height")

    def image(self, index: int) -> NDArray[np.uint8]:
        """See `Source.image`."""
        values = whole(array(self._file, f"images/{self._keys[index]}"), MAX_PICTURE_BYTES)
        return picture(values, planes_first=False, bgr=True)

    def events(self, start_us: int | None) -> Iterator[Found]:
        """See `Source.events`; a damaged part is passed over."""
        first = 0 if start_us is None else self._index(start_us)
        for part in slices(self._columns, first, self._count, EVENTS_PER_PIECE):
            if isinstance(part, str):
                yield part
            else:
                t, x, y, p = part
                yield piece(times(t, self._scale), x, y, p)

    def _index(self, t_us: int) -> int:
        """The first event at `t_us` or later."""

        def at(k: int) -> int:
            return int(times(np.asarray([self._columns["t"][k]]), self._scale)[0])

        return first_at(at, self._count, t_us)


class ScerSource:
    """One file with SCER; see `Source`. It has frames only."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._keys = _keys(file) if inside(file, "images") else []
        if not self._keys:
            raise Refused("holds event representations (voxels) and no images; there is nothing to show")
        shape = array(file, f"images/{self._keys[0]}").shape
        if len(shape) != 3 or shape[0] not in (1, 3):
            raise Refused(f"has images of shape {str(shape)[:60]}; expected (3, height, width)")
        size = side(int(shape[2]), "a width"), side(int(shape[1]), "a height")
        self.frames = [FrameTime(k * SHOWN_US, k * SHOWN_US) for k in range(len(self._keys))]
        self.facts = SourceFacts(
            format="efnet-h5-scer", event_size=None, image_size=size, start_us=0, end_us=self.frames[-1].end_us,
            problems=[
                "its events are kept as voxels (SCER), from which events cannot be had back: its frames are "
                "shown; restoring them with events needs the file with raw events",
                f"the file holds no times; its frames are shown {SHOWN_US / 1000:g} ms apart",
            ],
        )  # fmt: skip

    def image(self, index: int) -> NDArray[np.uint8]:
        """See `Source.image`."""
        values = whole(array(self._file, f"images/{self._keys[index]}"), MAX_PICTURE_BYTES)
        return picture(values, planes_first=True, bgr=True)

    def events(self, start_us: int | None) -> Iterator[Found]:
        """None."""
        return iter(())


def _keys(file: Any) -> list[str]:
    """Names of the images, in order."""
    if not inside(file, "images"):
        return []
    keys = [k for k in sorted(file["images"]) if k.startswith("image")]
    if len(keys) > MAX_FRAMES:
        raise Refused(f"holds {len(keys)} images; at most {MAX_FRAMES} are read")
    return keys


def _unit(stated: Any, dtype: np.dtype[Any], ends: list[float], problems: list[str]) -> float:
    """Microseconds in one unit of the file's times: as stated (our own exports do), else as they look."""
    if isinstance(stated, str) and stated in _UNITS:
        return _UNITS[stated]
    seconds = dtype.kind == "f" and all(np.isfinite(ends)) and (not ends or ends[1] - ends[0] < _LONGEST_S)
    word = "seconds, as fractions of them are stored" if seconds else "microseconds"
    remark(problems, f"the file does not say the unit of its times; they are taken as {word}")
    return 1e6 if seconds else 1.0
