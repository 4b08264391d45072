"""Event-count maps of SC-Net: how many events of each polarity a pixel had in a window.

C. Cao et al., "Event-driven Video Restoration with Spiking-Convolutional Architecture", TNNLS 2023.

Two channels a window: negative, positive. Six for the network: previous, current, next window (`stack`). Raw
counts, neither clipped nor normalised. Both ends of a window belong to it: start <= t <= end.

Modes (`coding.Mode`)
    PUBLISHED: the pre-processing of the authors, fixed by its own end: D = (time of the last event) − start.
        Events up to D *before* the start count too; events later than start + D (an unsorted list, or
        rounding) count with their channels exchanged; pixel coordinates are 1-based and a 0 wraps to the last
        column or row. All three are plain faults.
    CORRECTED (default): the events of the window that was asked for, each in its own channel.

With `steps` > 1 a window is parted in time as well, for SC-Net's spiking stage with a true time axis (a
completion of this program, not published): step min(T − 1, ⌊T (t − start)/(end − start)⌋).

Two implementations: `counts_numba` (CPU; `counts_numba.Counts` grows packet by packet) and `counts_torch`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from capture.errors import UsageError
from inference.representations.coding import Columns

Index = NDArray[np.int64]


def edges(start_us: int, end_us: int, steps: int) -> Index:
    """(steps + 1,) times: an event at t is in step k when edges[k] <= t < edges[k + 1].

    The end of the window belongs to the last step.

    Raises:
        UsageError: the end lies before the start, or there is no step.
    """
    if end_us < start_us:
        raise UsageError(f"window from {start_us} to {end_us} µs runs backwards")
    if steps < 1:
        raise UsageError(f"event counts in {steps} steps: at least one is needed")
    k = np.arange(steps + 1, dtype=np.int64)
    at = start_us - (-k * (end_us - start_us)) // steps
    at[-1] = end_us + 1
    return np.asarray(np.minimum(at, end_us + 1), np.int64)


def published(
    t: NDArray[Any], x: NDArray[Any], y: NDArray[Any], p: NDArray[Any], start: Any, width: int, height: int
) -> Columns:
    """The events that the authors' pre-processing counts, on the pixels and in the channels where it does.

    Args:
        t: (N,) times, in the file's order, which need not be ascending.
        x, y: (N,) 1-based integer columns and rows.
        p: (N,) polarity; positive is > 0.
        start: the file's start time.
        width, height: 346 and 260 in the authors' code.

    Returns:
        Events whose `p` is the channel; count them over their whole range.

    Raises:
        UsageError: an event so early or late, or so far outside, that the authors' code stops too.
    """
    tt, xi, yi = np.asarray(t), np.asarray(x).astype(np.int64), np.asarray(y).astype(np.int64)
    on = np.asarray(p) > 0
    if len(tt) == 0:
        none = np.empty(0, np.uint16)
        return Columns(tt, none, none, np.asarray(on, np.bool_), width, height)
    length = tt[-1] - start
    if length == 0 and tt.dtype.kind == "f":
        raise UsageError(
            "event counts as published: a window at one instant fails there; use the corrected mode"
        )
    late = tt > start + length
    # With whole times at one instant the authors' code counts; there is nothing before or after to refuse.
    if length != 0 and bool(np.any((tt <= start - length) | (tt >= start + 2 * length))):
        raise UsageError(
            "event counts as published: events a whole window away fail there; use the corrected mode"
        )
    if bool(np.any((xi > width) | (yi > height) | (xi <= -width) | (yi <= -height))):
        raise UsageError(f"event counts as published: pixels beyond the 1-based {width}×{height} grid")
    # Python's negative index: column 0 is column −1, the last one.
    column, row = (xi - 1) % width, (yi - 1) % height
    return Columns(tt, column.astype(np.uint16), row.astype(np.uint16), np.logical_xor(on, late), width, height)
