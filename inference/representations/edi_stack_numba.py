"""The EDI stack on the CPU, one pass over the events for each band of rows. See `edi_stack`."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from capture.compiled import njit
from capture.packets import Events
from inference.bands import in_bands
from inference.representations.double_integral import Contrast, reached
from inference.representations.edi_stack import (
    CHANNELS,
    LIMIT,
    MOST,
    MULTIPLES,
    OFFSETS,
    REACH,
    edges,
    fits,
    gains,
)
from inference.representations.halfway import FAR_US, half
from inference.representations.halfway_integral_numba import FELL, SIGN, WORTH

F32 = NDArray[np.float32]

_M = np.array(MULTIPLES, np.float32)
_ASINH = (np.arcsinh(np.arange(2 * MOST + 1, dtype=np.float64)) / 2).astype(np.float32)

# Columns of a pixel's state, 32 bytes, so that an event touches one line of memory: the three integrals, the
# time until which they reach, OFF and ON events; of an event that waits for its next neighbour its time, and
# that to the one before it plus 1, below 0 for OFF (0: none waits). Whole numbers are exact in float32 up to 16
# million; times of longer exposures, in µs, are rounded by 1 or a few.


@njit(nogil=True)
def _pass(
    t: NDArray[np.int64], x: NDArray[np.uint16], y: NDArray[np.uint16], p: NDArray[np.bool_],
    width: int, top: int, bottom: int, start: int, until: NDArray[np.uint16], less: F32, more: F32,
    most_off: float, most_on: float, off: float, on: float, halfway: bool, state: F32, told: F32,
) -> None:  # fmt: skip
    """Fill the state of each pixel in rows `top` … `bottom`, and what its events add until each instant.

    An event that is set back half-way counts when the next one of its pixel has come. The order of a pixel's
    events stays, and that of all events does not matter, so nothing need be sorted.

    Args:
        until: see `double_integral.reached`; the last instant is the exposure's end.
        less, more: the two `gains`.
        most_off, most_on: see `fits`.
        told: (instants, pixels), of what lies between an instant and the one before it.
    """
    begin, n = top * width, bottom * width
    state[begin:n] = 0.0
    told[:, begin:n] = 0.0
    zero, one, far = np.float32(0.0), np.float32(1.0), np.float32(FAR_US)
    most = np.float32(len(less) - 1)
    beyond = np.float32(most_off), np.float32(most_on), off, on
    for i in range(len(t)):
        if x[i] >= width or y[i] < top or y[i] >= bottom:
            continue
        j = np.uint32(y[i]) * np.uint32(width) + np.uint32(x[i])
        row = state[j]
        now, rise = np.float32(t[i] - start), np.uint8(p[i])
        when, there = now, one
        if halfway:
            waits = row[7]
            there = min(abs(waits), one)
            gap = min(far, now - row[6] + (one - there) * far)
            when = max(zero, row[6] - half(max(zero, min(abs(waits) - one, gap))))
            row[6], row[7] = now, (gap + one) * SIGN[rise]
            rise = np.uint8(waits > zero)
        told[until[np.uint32(when)], j] += _count(row, when, rise, there, less, more, most, beyond)
    if halfway:
        for k in range(begin, n):
            row = state[k]
            if row[7] != zero:
                when, rise = max(zero, row[6] - half(abs(row[7]) - one)), np.uint8(row[7] > zero)
                told[until[np.uint32(when)], k] += _count(row, when, rise, one, less, more, most, beyond)


@njit(nogil=True, inline="always")
def _count(
    row: F32, when: float, rise: np.uint8, there: float, less: F32, more: F32, most: float,
    beyond: tuple[float, float, float, float],
) -> float:  # fmt: skip
    """One event, or none where `there` is 0 and `when` the pixel's own time; what it is worth in `told`.

    `beyond`: of OFF and ON the most events that the tables serve, and the contrast.
    """
    dt = when - row[3]
    if row[4] > beyond[0] or row[5] > beyond[1]:
        _add_far(row, dt, beyond[2], beyond[3])
    else:
        fell, rose = np.uint32(np.int32(row[4])), np.uint32(np.int32(row[5]))
        row[0] += dt * (less[fell, 0] * more[rose, 0])
        row[1] += dt * (less[fell, 1] * more[rose, 1])
        row[2] += dt * (less[fell, 2] * more[rose, 2])
    row[3] = when
    column = np.uint32(4) + np.uint32(rise)
    counts = min(there, most - row[column])
    row[column] += counts
    worth: float = counts * WORTH[rise]
    return worth


@njit(nogil=True)
def _add_far(row: F32, dt: float, off: float, on: float) -> None:
    """Add to the integrals what the pixel's light gives in dt, where it has more events than the tables serve.

    Light that flickers brings so many of both polarities that each alone is beyond float32, and their
    difference is small.
    """
    level = on * row[5] - off * row[4]
    for q in range(len(MULTIPLES)):
        row[q] += dt * np.float32(math.exp(min(max(MULTIPLES[q] * level, -REACH), REACH)))


@njit(nogil=True)
def _levels(on: float, off: float, begin: int, n: int, counted: F32, told: F32) -> None:
    """S at each instant, in place of what events add until it."""
    up, down, per = np.float32(on), np.float32(off), np.float32(1.0) / FELL
    counted[begin:n] = 0.0
    for q in range(len(told)):
        for j in range(begin, n):
            counted[j] += told[q, j]
            fell = np.float32(np.int32(counted[j] * per))
            told[q, j] = up * (counted[j] - FELL * fell) - down * fell


@njit(nogil=True)
def _finish(
    length: float, gain: F32, most_off: float, most_on: float, m: F32, asinh: F32, on: float, off: float,
    power: float, state: F32, snapshots: F32, rows: NDArray[np.int64], middle: int, limit: float, logs: F32,
    begin: int, n: int, out: F32,
) -> None:  # fmt: skip
    """The maps of the pixels `begin` … `n`, out of their state."""
    bins = rows.shape[1] - 1
    scale = np.float32(power)
    low, high = np.float32(-limit), np.float32(limit)
    whole = np.float32(length)
    per = np.float32(1.0 / length)
    for j in range(begin, n):
        if state[j, 4] + state[j, 5] == 0:
            for q in range(3):
                logs[q, j] = 0.0
            continue
        rest = whole - state[j, 3]
        if state[j, 4] > most_off or state[j, 5] > most_on:
            _add_far(state[j], rest, off, on)
            for q in range(3):
                logs[q, j] = state[j, q] * per
            continue
        fell, rose = np.uint32(np.int32(state[j, 4])), np.uint32(np.int32(state[j, 5]))
        for q in range(3):
            logs[q, j] = (state[j, q] + rest * (gain[0, fell, q] * gain[1, rose, q])) * per
    for q in range(3):
        for j in range(begin, n):
            logs[q, j] = math.log(logs[q, j]) if logs[q, j] > 0 else np.float32(0.0)
    for k in range(len(rows)):
        now = snapshots[rows[k, middle]]
        for q in range(3):
            for j in range(begin, n):
                out[k, q, j] = min(max(scale * (m[q] * now[j] - logs[q, j]), low), high)
        for b in range(bins):
            first, last = rows[k, b], rows[k, b + 1]
            if first == last:
                out[k, 3 + b] = 0.0
                continue
            before, after = snapshots[first], snapshots[last]
            for j in range(begin, n):
                out[k, 3 + b, j] = min(max(scale * (after[j] - before[j]), low), high)
        for j in range(begin, n):
            out[k, 3 + bins, j] = asinh[np.uint32(np.int32(state[j, 4] + state[j, 5]))]


class EdiStack:
    """Computes EDI stacks on the CPU; keeps its working memory between calls. Not thread-safe."""

    def __init__(self) -> None:
        self._n = -1
        self._state = np.empty((0, 8), np.float32)
        self._logs = np.empty((3, 0), np.float32)
        self._known: Contrast | None = None
        self._gain = np.empty(0, np.float32)

    def stacks(
        self, events: Events, start_us: int, end_us: int, times_us: Sequence[int], contrast: Contrast,
        power: float = 1.0, halfway: bool = True,
    ) -> F32:  # fmt: skip
        """Stacks of several instants of one exposure in one pass.

        Args:
            events: sorted by time; may reach beyond the exposure.
            start_us, end_us: the exposure, µs.
            times_us: the instants, µs, in any order.
            contrast: as far as it is known, natural log light.
            power: the frame's values are light to this power (1: linear, 1 / 2.2: about sRGB).
            halfway: events count half-way to their neighbours (`halfway`); False: as they came.

        Returns:
            (L, `CHANNELS`, height, width) float32, finite; 0 where a pixel has no events.

        Raises:
            ValueError: an instant outside the exposure, or an exposure without length.
        """
        borders = edges(start_us, end_us, times_us)
        at, rows = np.unique(borders, return_inverse=True)
        rows = rows.reshape(borders.shape).astype(np.int64)
        inside = events.between(start_us, end_us)
        n = events.width * events.height
        if self._n != n:
            self._n = n
            self._state, self._logs = np.empty((n, 8), np.float32), np.empty((3, n), np.float32)
        if self._known != contrast:
            self._known, self._gain = contrast, gains(contrast)
        snapshots = np.empty((len(at), n), np.float32)
        on, off = float(contrast.on), float(contrast.off)
        most = fits(contrast)
        out = np.empty((len(borders), CHANNELS, n), np.float32)
        until = reached(at, start_us, end_us)
        w, length = events.width, float(end_us - start_us)

        def band(top: int, bottom: int) -> None:
            _pass(
                inside.t, inside.x, inside.y, inside.p, w, top, bottom, int(start_us), until, *self._gain,
                *most, off, on, halfway, self._state, snapshots,
            )  # fmt: skip
            _levels(on, off, top * w, bottom * w, self._logs[0], snapshots)
            _finish(
                length, self._gain, *most, _M, _ASINH, on, off, float(power), self._state, snapshots, rows,
                OFFSETS.index(0.0), LIMIT, self._logs, top * w, bottom * w, out,
            )  # fmt: skip

        in_bands(events.height, band)
        return out.reshape(len(borders), CHANNELS, events.height, events.width)
