"""What a data set's layout tells, in the child that reads it: facts, frames with their times, events in order.

One module a layout makes a `Source`; `dataset_server` serves it, `dataset.DatasetRecording` is the other side.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from recordings.recording import Remark
from recordings.sandbox_child import Refused

# One event message, as of the other formats.
EVENTS_PER_PIECE = 250_000
MAX_SIDE = 16_384
# Pictures of one frame: 16384 × 4096 in colour.
MAX_PICTURE_BYTES = 200 << 20


class Piece(NamedTuple):
    """Events in order of the file: t int64 µs, x, y int16 (-1: outside), p bool, all of one length."""

    t: NDArray[np.int64]
    x: NDArray[np.int16]
    y: NDArray[np.int16]
    p: NDArray[np.bool_]


class Edges(NamedTuple):
    """Edges of an external trigger input in order of the file: t int64 µs, rising bool, of one length."""

    t: NDArray[np.int64]
    rising: NDArray[np.bool_]


class Ignored(NamedTuple):
    """What was met and is not used: how many, by name."""

    counts: dict[str, int]


class FrameTime(NamedTuple):
    """When a frame was exposed; without an exposure in the file, `start_us` = `end_us` is its stamp."""

    start_us: int
    end_us: int

    @property
    def known(self) -> bool:
        """The file says how long."""
        return self.end_us > self.start_us


@dataclass(slots=True)
class SourceFacts:
    """As `recordings.recording.RecordingInfo`, and the geometry.

    Attributes:
        image_from_event: nine numbers of a 3×3 matrix, row by row; None: not known.
        note: how the geometry came about.
        assumed: nothing in the files says it.
        drawn: pictures are drawn from spikes or events; nothing was exposed for them.
        has_triggers: edges of an external trigger input are in it.
        by_sensor: the sensor itself stamped frames and events, on one clock.
        stamp_in_middle: a frame's stamp lies in the middle of its exposure, else at its start.
        unplaced: why a rig file is needed to place events on the pictures, "" where none is.
        problems: one line each.
    """

    format: str
    event_size: tuple[int, int] | None
    image_size: tuple[int, int] | None
    start_us: int
    end_us: int
    camera: str = ""
    image_from_event: list[float] | None = None
    note: str = ""
    assumed: bool = False
    drawn: bool = False
    has_triggers: bool = False
    by_sensor: bool = False
    stamp_in_middle: bool = True
    unplaced: str = ""
    problems: list[str] = field(default_factory=list)


class FrameRefused(Exception):
    """One frame cannot be used; the rest can."""


Found = Piece | Edges | Ignored | str


class Source(Protocol):
    """One recording of a data set.

    Attributes:
        facts: see `SourceFacts`.
        frames: in order of time.
    """

    facts: SourceFacts
    frames: list[FrameTime]

    def image(self, index: int) -> NDArray[np.uint8]:
        """One frame: (H, W) gray or (H, W, 3) RGB.

        Raises:
            FrameRefused: this one cannot be read.
        """

    def events(self, start_us: int | None) -> Iterator[Found]:
        """Events and edges from `start_us` on (or a little earlier), in order of time.

        A line of text stands where some are lost.
        """


def coordinates(values: NDArray[Any]) -> NDArray[np.int16]:
    """Pixel indices of any numeric type as int16; what no sensor has becomes -1.

    Fractions (rectified events) go to the nearest pixel, whose centre lies at the integer.
    """
    v = values.reshape(-1)
    if v.dtype.kind in "iu" and len(v) and int(v.max()) <= np.iinfo(np.int16).max and int(v.min()) >= 0:
        return v.view(np.int16) if v.dtype == np.uint16 else v.astype(np.int16)  # nearly always, and faster
    if v.dtype.kind == "f":
        v = np.floor(np.where(np.isfinite(v), v, -1.0) + 0.5)
    good = (v >= 0) & (v <= np.iinfo(np.int16).max)
    return np.where(good, v, -1).astype(np.int16)


def times(values: NDArray[Any], scale: float = 1.0, offset_us: int = 0) -> NDArray[np.int64]:
    """Times of any numeric type as int64 µs; `scale` µs is one unit of the file.

    A time that is no number lies before everything, where it is refused and counted. Sound int64 µs are given
    as they are, not as a copy.
    """
    v = values.reshape(-1)
    if v.dtype.kind == "f" or scale != 1.0:
        f = v.astype(np.float64) * scale
        out = np.full(len(f), -(1 << 61), np.int64)
        good = np.isfinite(f) & (np.abs(f) < 1 << 60)
        out[good] = np.rint(f[good]).astype(np.int64)
    elif v.dtype.kind in "iu" and len(v) and int(v.max()) <= 1 << 60 and int(v.min()) >= -(1 << 61):
        out = v.astype(np.int64, copy=False)
    else:
        out = np.minimum(v, 1 << 60).astype(np.int64) if v.dtype == np.uint64 else v.astype(np.int64)
        out = np.clip(out, -(1 << 61), 1 << 60)
    return out + offset_us if offset_us else out


def polarities(values: NDArray[Any]) -> NDArray[np.bool_]:
    """True = brighter, out of {0, 1}, {-1, 1} or booleans."""
    v = values.reshape(-1)
    return np.asarray(v > 0, np.bool_)


def piece(t: NDArray[np.int64], x: NDArray[Any], y: NDArray[Any], p: NDArray[Any]) -> Piece:
    """A piece out of a file's columns; `t` in µs already.

    Raises:
        Refused: of different lengths.
    """
    if not (t.size == x.size == y.size == p.size):
        raise Refused(f"its events have {t.size} times, {x.size} x, {y.size} y and {p.size} polarities")
    return Piece(t, coordinates(x), coordinates(y), polarities(p))


def picture(values: NDArray[Any], *, planes_first: bool, bgr: bool) -> NDArray[np.uint8]:
    """A stored picture as (H, W) or (H, W, 3) RGB uint8; other numeric types are rounded and clipped to 0…255.

    Raises:
        FrameRefused: no picture.
    """
    v = np.moveaxis(values, 0, -1) if planes_first and values.ndim == 3 else values
    if v.ndim == 3 and v.shape[2] == 1:
        v = v[:, :, 0]
    if v.ndim not in (2, 3) or (v.ndim == 3 and v.shape[2] not in (3, 4)) or not v.size:
        raise FrameRefused(f"an array of shape {str(values.shape)[:60]} is no picture")
    if v.ndim == 3:
        v = v[:, :, 2::-1] if bgr else v[:, :, :3]
    if v.dtype == np.uint8:
        return np.ascontiguousarray(v)
    if v.dtype.kind not in "biuf":
        raise FrameRefused(f"its values are {v.dtype}, no numbers")
    return np.rint(np.clip(np.nan_to_num(v.astype(np.float64)), 0, 255)).astype(np.uint8)


def side(value: object, what: str) -> int:
    """A width or height.

    Raises:
        Refused: not within 1 … `MAX_SIDE`.
    """
    if not isinstance(value, int | np.integer) or not 1 <= value <= MAX_SIDE:
        raise Refused(f"{what} of {str(value)[:30]} pixels is not within 1 to {MAX_SIDE}")
    return int(value)


def scaled(event: tuple[int, int], image: tuple[int, int]) -> list[float]:
    """Event pixel → image pixel of two grids that cover the same view edge to edge, centres at integers."""
    sx, sy = image[0] / event[0], image[1] / event[1]
    return [sx, 0.0, (sx - 1) / 2, 0.0, sy, (sy - 1) / 2, 0.0, 0.0, 1.0]


def first_at(time_of: Callable[[int], int], count: int, t: int) -> int:
    """The first of `count` ascending values that is `t` or later, by halving: a few reads of one value each.

    Args:
        time_of: the value at an index.
    """
    low, high = 0, count
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if time_of(middle) < t else (low, middle)
    return low


def remark(problems: list[str], text: str) -> None:
    """Note how something is read that the files leave open; it costs nothing."""
    problems.append(Remark(text))


def in_order(frames: list[FrameTime], facts: SourceFacts) -> list[int]:
    """The order of time of frames, noted when it is not that of the file."""
    order = sorted(range(len(frames)), key=lambda i: frames[i])
    if order != list(range(len(frames))):
        facts.problems.append("its frames do not lie in order of time; they are read in that order")
    return order


def merged(*streams: Iterator[tuple[int, Any]]) -> Iterator[tuple[int, Any]]:
    """Streams of (key, message) in order of their keys; equal keys in order of the arguments."""
    return heapq.merge(*streams, key=lambda k: k[0])
