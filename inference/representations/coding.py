"""How foreign event lists are written, and which of two readings of a published rule is meant.

The program's own events (`capture.packets.Events`) need nothing of this: whole microseconds, uint16 pixels,
bool polarity. Files of data sets hold floating-point seconds, polarities as −1/+1 or 0/1, and columns that may
lie outside. They are turned into plain arrays here, once, before any counting.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capture.errors import InvalidPacket, UsageError
from capture.packets import Events


class Mode(StrEnum):
    """Which reading of a representation is computed.

    PUBLISHED: number for number what the authors' code gives, quirks included. For published weights on
        their data sets, and for comparisons.
    RELATIVE: as published, except that the first event's time is subtracted before times become float32.
        The same wherever float32 held the absolute times; on a live clock, where it does not, this is what
        the published code means. For published weights on live streams. Only SCER and the voxel grid know
        it; the other representations do not depend on the clock's origin.
    CORRECTED: the same idea without its faults, in exact integer arithmetic; each module says what differs.
        The default for new training, and what can be computed incrementally.
    """

    PUBLISHED = "published"
    RELATIVE = "relative"
    CORRECTED = "corrected"


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """An event list as a data set holds it: times of any kind, the rest already decoded.

    Attributes:
        t: (N,) times in any unit and type.
        x, y: (N,) uint16.
        p: (N,) bool, True = brighter.
        width, height: of the event grid.
    """

    t: NDArray[Any]
    x: NDArray[np.uint16]
    y: NDArray[np.uint16]
    p: NDArray[np.bool_]
    width: int
    height: int

    def __len__(self) -> int:
        return len(self.t)

    def __getitem__(self, s: slice) -> Columns:
        return Columns(self.t[s], self.x[s], self.y[s], self.p[s], self.width, self.height)

    @classmethod
    def of(cls, events: Events) -> Columns:
        """The program's own events, as views."""
        return cls(events.t, events.x, events.y, events.p, events.width, events.height)


def is_on(p: NDArray[Any]) -> NDArray[np.bool_]:
    """Polarity from bool, 0/1 or −1/+1.

    Raises:
        InvalidPacket: any other value. (Published readers turn a stored −1 into −3 or count it on another
            plane; see `published_polarity`.)
    """
    a = np.asarray(p)
    if a.dtype == np.bool_:
        return a
    on: NDArray[np.bool_] = np.equal(a, 1)
    off = (a == 0) | (a == -1)
    if not bool(np.all(on | off)):
        wrong = a[~(on | off)][0]
        raise InvalidPacket(f"events: polarity {wrong} is neither 0/1 nor −1/+1")
    return on


def published_polarity(stored: NDArray[Any]) -> NDArray[np.float32]:
    """What EFNet's raw reader makes of a stored polarity: `2 s − 1`, so that a stored −1 becomes −3.

    A plain fault for files coded −1/+1; use `is_on` for anything but a comparison.
    """
    return np.asarray(2 * np.asarray(stored).astype(np.float64) - 1, np.float32)


def columns(
    t: NDArray[Any], x: NDArray[Any], y: NDArray[Any], p: NDArray[Any], width: int, height: int,
    *, drop_outside: bool = False,
) -> Columns:  # fmt: skip
    """A data set's event list, decoded.

    Coordinates that are not whole are truncated toward zero, as published.

    Args:
        t, x, y, p: (N,) arrays, time ascending.
        width, height: of the event grid.
        drop_outside: leave out events beyond the grid rather than refuse them.

    Raises:
        InvalidPacket: lengths differ, a polarity of another coding, a value that is not finite, time that runs
            back, or (without `drop_outside`) a pixel outside.
    """
    arrays = [np.asarray(a) for a in (t, x, y, p)]
    if any(a.ndim != 1 or len(a) != len(arrays[0]) for a in arrays):
        raise InvalidPacket(f"events: columns of shapes {', '.join(str(a.shape) for a in arrays)}")
    for name, a in zip("txyp", arrays, strict=True):
        if a.dtype.kind == "f" and not bool(np.isfinite(a).all()):
            raise InvalidPacket(f"events: {name} holds values that are not finite")
    tt = arrays[0]
    if len(tt) > 1 and bool(np.any(tt[1:] < tt[:-1])):
        raise InvalidPacket("events: time runs back; sort the list by time (stable) first")
    xi, yi = (np.trunc(a).astype(np.int64) if a.dtype.kind == "f" else a.astype(np.int64) for a in arrays[1:3])
    on = is_on(arrays[3])
    inside = (xi >= 0) & (xi < width) & (yi >= 0) & (yi < height)
    n_outside = int(len(tt) - np.count_nonzero(inside))
    if n_outside and not drop_outside:
        raise InvalidPacket(f"events: {n_outside} of {len(tt)} lie outside {width}×{height}")
    if n_outside:
        tt, xi, yi, on = tt[inside], xi[inside], yi[inside], on[inside]
    return Columns(tt, xi.astype(np.uint16), yi.astype(np.uint16), on, width, height)


def check_window(start_us: int, end_us: int, bins: int) -> None:
    """Refuse a window without length and a grid without bins.

    Raises:
        UsageError: either.
    """
    if end_us <= start_us:
        raise UsageError(f"window from {start_us} to {end_us} µs has no length")
    if bins < 1:
        raise UsageError(f"{bins} bins: at least one is needed")
