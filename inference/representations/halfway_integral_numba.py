"""The event-based double integral of events half-way to their neighbours, in one pass. See `halfway`.

The same as `double_integral_numba` of events that `halfway` has moved, without sorting them: an
event counts when the next one of its pixel has come, the order of a pixel's events stays, and that of all
events does not matter here. In float32, within a millionth, since what an event costs is memory; times of an
exposure above 16.8 s are rounded to 2 µs, above 33.6 s to 4. A pixel is broken with more than `edi_stack.MOST`
events of one polarity in an exposure, or where those come to more than `REACH`, or S goes beyond ±85: what
comes out is finite, no more.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from capture.compiled import njit
from inference.representations.edi_stack import MOST
from inference.representations.halfway import FAR_US, half

F32 = NDArray[np.float32]

COLUMNS = 5
"""Of a pixel's state: the integral, the time until which it reaches, exp(S); of an event that waits for its
next neighbour its time, and that to the one before it plus 1, below 0 for OFF (0: none). Behind them for each
instant what the events between it and the one before are worth: an event touches one place in memory."""
FELL = np.float32(2 * MOST)
"""What an OFF event is worth where an ON event is worth 1: one number holds the counts of both, exactly."""
# Looked up rather than branched on: polarity is as good as random, and a branch would be mispredicted. So are
# instants: near one of them, events that are set back fall on either side of it.
WORTH, SIGN = np.array([FELL, 1.0], np.float32), np.array([-1.0, 1.0], np.float32)
REACH = 700.0
"""Largest exponent of either polarity: exp(700) fits float64."""
LEAST, LARGEST = np.float32(1e-37), np.float32(1e37)
"""Bounds of exp(S) as it is kept, exp(±85): float32 holds it beyond the limit, so that a pixel finds back."""


@njit(nogil=True)
def accumulate(
    t: NDArray[np.int64], x: NDArray[np.uint16], y: NDArray[np.uint16], p: NDArray[np.bool_],
    width: int, height: int, start: int, end: int, until: NDArray[np.uint16], on: float, off: float,
    limit: float, state: F32, out: F32,
) -> None:  # fmt: skip
    """Fill `out` (instants, pixels) with ratios.

    Args:
        until: see `double_integral.reached`.
        state: (pixels, COLUMNS + instants + 1), room to work in.
    """
    zero, one, far = np.float32(0.0), np.float32(1.0), np.float32(FAR_US)
    state[:] = zero
    state[:, 2] = one
    # What light grows by with an event: one multiplication instead of one exp.
    grows = np.array([math.exp(-off) - 1.0, math.exp(on) - 1.0], np.float32)
    top, bottom = np.float32(math.exp(limit)), np.float32(math.exp(-limit))
    for i in range(len(t)):
        if x[i] >= width or y[i] >= height:
            continue
        row = state[np.uint32(y[i]) * np.uint32(width) + np.uint32(x[i])]
        now, before, waits = np.float32(t[i] - start), row[3], row[4]
        there = min(abs(waits), one)
        gap = min(far, now - before + (one - there) * far)
        when = max(zero, before - half(max(zero, min(abs(waits) - one, gap))))
        row[3], row[4] = now, (gap + one) * SIGN[np.uint8(p[i])]
        rise = np.uint8(waits > zero)
        _count(row, when, there * grows[rise], top, bottom)
        row[np.uint32(COLUMNS) + np.uint32(until[np.uint32(when)])] += there * WORTH[rise]
    length, per = np.float32(end - start), one / FELL
    rises, falls = np.empty(MOST + 1), np.empty(MOST + 1)
    for n in range(MOST + 1):
        rises[n], falls[n] = math.exp(min(on * n, REACH)), math.exp(max(-off * n, -REACH))
    for j in range(width * height):
        row = state[j]
        waits = row[4]
        if waits == zero:
            for q in range(len(out)):
                out[q, j] = one
            continue
        when, rise = max(zero, row[3] - half(abs(waits) - one)), np.uint8(waits > zero)
        _count(row, when, grows[rise], top, bottom)
        row[np.uint32(COLUMNS) + np.uint32(until[np.uint32(when)])] += WORTH[rise]
        whole = length / (row[0] + (length - row[1]) * min(max(row[2], bottom), top))
        counted = zero
        for q in range(len(out)):
            counted += row[COLUMNS + q]
            fell = np.float32(np.int32(counted * per))
            rose = np.int32(min(counted - FELL * fell, np.float32(MOST)))
            light = rises[rose] * falls[np.int32(min(fell, np.float32(MOST)))]
            out[q, j] = min(max(np.float32(light), bottom), top) * whole


@njit(nogil=True, inline="always")
def _count(row: F32, when: float, grows: float, top: float, bottom: float) -> None:
    """One event, or none where `grows` is 0 and `when` the pixel's own time."""
    gain = row[2]
    row[0] += (when - row[1]) * min(max(gain, bottom), top)
    row[1] = when
    row[2] = min(max(gain * (np.float32(1.0) + grows), LEAST), LARGEST)
