"""The event-based double integral of events half-way to their neighbours, in one pass. See `halfway`.

The same as `double_integral_numba` of events that `halfway` has moved, without sorting them: an
event counts when the next one of its pixel has come, the order of a pixel's events stays, and that of all
events does not matter here. In float32, within a millionth, since what an event costs is memory; of more than
`edi_stack.MOST` events of one polarity in a pixel the rest count for nothing.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from capture.compiled import njit
from inference.representations.edi_stack import MOST
from inference.representations.halfway import FAR_US, half

F32 = NDArray[np.float32]

COLUMNS = 8
"""Of a pixel's state, 32 bytes: the integral, the time until which it reaches, exp(S), OFF and ON events; of an
event that waits for its next neighbour its time, and that to the one before it plus 1, below 0 for OFF (0:
none); and what brings light to the mean."""
FELL = np.float32(2 * MOST)
"""What an OFF event adds where an ON event adds 1: one number holds the counts of both, exactly."""
# Looked up rather than branched on: polarity is as good as random, and a branch would be mispredicted.
WORTH, SIGN = np.array([FELL, 1.0], np.float32), np.array([-1.0, 1.0], np.float32)


@njit(nogil=True)
def accumulate(
    t: NDArray[np.int64], x: NDArray[np.uint16], y: NDArray[np.uint16], p: NDArray[np.bool_],
    width: int, height: int, start: int, end: int, until: NDArray[np.uint16], on: float, off: float,
    limit: float, state: F32, told: F32, out: F32,
) -> None:  # fmt: skip
    """Fill `out` (instants, pixels) with ratios.

    Args:
        until: see `double_integral.reached`.
        told: (instants + 1, pixels), room to work in: what the events between an instant and the next one add.
    """
    zero, one, far = np.float32(0.0), np.float32(1.0), np.float32(FAR_US)
    state[:] = zero
    state[:, 2] = one
    told[:] = zero
    # What light grows by with an event: one multiplication instead of one exp.
    grows = np.array([math.exp(-off) - 1.0, math.exp(on) - 1.0], np.float32)
    top, bottom = np.float32(math.exp(limit)), np.float32(math.exp(-limit))
    for i in range(len(t)):
        if x[i] >= width or y[i] >= height:
            continue
        j = np.uint32(y[i]) * np.uint32(width) + np.uint32(x[i])
        row = state[j]
        now, before, waits = np.float32(t[i] - start), row[5], row[6]
        there = min(abs(waits), one)
        gap = min(far, now - before + (one - there) * far)
        when = max(zero, before - half(max(zero, min(abs(waits) - one, gap))))
        row[5], row[6] = now, (gap + one) * SIGN[np.uint8(p[i])]
        rise = np.uint8(waits > zero)
        told[until[np.uint32(when)], j] += _count(row, when, rise, there, grows[rise], top, bottom)
    length, up, down, per = np.float32(end - start), np.float32(on), np.float32(off), one / FELL
    most = np.float32(limit)
    for k in range(width * height):
        row = state[k]
        waits = row[6]
        if waits == zero:
            row[7] = one
            continue
        when, rise = max(zero, row[5] - half(abs(waits) - one)), np.uint8(waits > zero)
        told[until[np.uint32(when)], k] += _count(row, when, rise, one, grows[rise], top, bottom)
        row[7] = length / (row[0] + (length - row[1]) * row[2])
    for q in range(len(out)):
        for k in range(width * height):
            if q:
                told[q, k] += told[q - 1, k]
            counted = told[q, k]
            fell = np.float32(np.int32(counted * per))
            level = up * (counted - FELL * fell) - down * fell
            out[q, k] = np.float32(math.exp(min(max(level, -most), most))) * state[k, 7]


@njit(nogil=True, inline="always")
def _count(
    row: F32, when: float, rise: np.uint8, there: float, grows: float, top: float, bottom: float
) -> float:
    """One event, or none where `there` is 0 and `when` the pixel's own time; what it is worth in `told`."""
    gain = row[2]
    row[0] += (when - row[1]) * gain
    row[1] = when
    column = np.uint32(3) + np.uint32(rise)
    counts = min(there, np.float32(MOST) - row[column])
    row[column] += counts
    row[2] = min(max(gain * (np.float32(1.0) + counts * grows), bottom), top)
    worth: float = counts * WORTH[rise]
    return worth
