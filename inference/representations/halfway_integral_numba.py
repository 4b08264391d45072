"""The event-based double integral of events half-way to their neighbours, in one pass. See `halfway_numba`.

The same as `double_integral_numba` of events that `halfway_numba.halfway` has moved, without sorting them: an
event counts when the next one of its pixel has come, the order of a pixel's events stays, and that of all
events does not matter here.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from capture.compiled import njit
from inference.representations.halfway_numba import FAR_US

F64 = NDArray[np.float64]

COLUMNS = 6
"""Of a pixel's state, 48 bytes: S, exp(S), the time until which the integral reaches, the integral; of an event
that waits for its next neighbour its time, and that to the one before it plus 1, below 0 for OFF (0: none)."""
_FELL = float(1 << 26)
"""What an OFF event adds where an ON event adds 1: one number holds the counts of both, exactly."""
_WORTH, _SIGN = np.array([_FELL, 1.0]), np.array([-1.0, 1.0])


@njit(nogil=True)
def accumulate(
    t: NDArray[np.int64], x: NDArray[np.uint16], y: NDArray[np.uint16], p: NDArray[np.bool_],
    width: int, height: int, start: int, end: int, until: NDArray[np.uint16], on: float, off: float,
    limit: float, state: F64, told: F64, out: NDArray[np.float32],
) -> None:  # fmt: skip
    """Fill `out` (instants, pixels) with ratios.

    Args:
        until: see `double_integral.reached`.
        told: (instants + 1, pixels), room to work in: what the events between an instant and the next one add.
    """
    pixels, far = width * height, float(FAR_US)
    state[:] = 0.0
    state[:, 1] = 1.0
    told[:] = 0.0
    # Indexed by polarity rather than branched on: it is as good as random, and a branch would be mispredicted.
    step, factor = np.array([-off, on]), np.array([math.exp(-off), math.exp(on)])
    top, bottom = math.exp(limit), math.exp(-limit)
    for i in range(len(t)):
        if x[i] >= width or y[i] >= height:
            continue
        j = np.uint32(y[i]) * np.uint32(width) + np.uint32(x[i])
        row = state[j]
        now, waits, before = float(t[i] - start), row[5], row[4]
        gap = min(far, now - before) if waits != 0.0 else far
        row[4], row[5] = now, (gap + 1.0) * _SIGN[np.uint8(p[i])]
        if waits != 0.0:
            when = max(0.0, before - float(int(0.5 * min(abs(waits) - 1.0, gap))))
            rise = np.uint8(waits > 0.0)
            _count(row, when, step[rise], factor[rise], limit, top, bottom)
            told[until[np.uint32(when)], j] += _WORTH[rise]
    length, per = float(end - start), 1.0 / _FELL
    for k in range(pixels):
        row = state[k]
        if row[5] == 0.0:
            out[:, k] = 1.0
            continue
        when, rise = max(0.0, row[4] - float(int(0.5 * (abs(row[5]) - 1.0)))), np.uint8(row[5] > 0.0)
        _count(row, when, step[rise], factor[rise], limit, top, bottom)
        told[until[np.uint32(when)], k] += _WORTH[rise]
        whole = length / (row[3] + (length - row[2]) * row[1])
        counted = 0.0
        for q in range(len(out)):
            counted += told[q, k]
            fell = float(int(counted * per))
            level = on * (counted - _FELL * fell) - off * fell
            out[q, k] = math.exp(min(max(level, -limit), limit)) * whole


@njit(nogil=True, inline="always")
def _count(row: F64, now: float, step: float, factor: float, limit: float, top: float, bottom: float) -> None:
    """One event, as in `double_integral_numba`."""
    gain = row[1]
    row[3] += (now - row[2]) * gain
    row[2] = now
    before = row[0]
    after = before + step
    row[0] = after
    if after > limit:
        row[1] = top
    elif after < -limit:
        row[1] = bottom
    elif before > limit or before < -limit:
        row[1] = math.exp(after)
    else:
        row[1] = gain * factor
