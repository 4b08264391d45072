"""The EDI stack on one CPU core, one pass over the events. See `edi_stack`."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numba import njit
from numpy.typing import NDArray

from capture.packets import Events
from inference.representations.edi_stack import ASINH_TOP, BINS, CHANNELS, CONTRASTS, LIMIT, STEPS, edges

F32 = NDArray[np.float32]

_C = np.array(CONTRASTS, np.float32)
# exp(c·S) for S = −STEPS…STEPS: the sums are whole numbers, so no exp is taken for an event.
_EXP = np.exp(np.arange(-STEPS, STEPS + 1, dtype=np.float64)[:, None] * np.array(CONTRASTS)[None])
_EXP = _EXP.astype(np.float32)
_ASINH = (np.arcsinh(np.arange(ASINH_TOP + 1, dtype=np.float64)) / 2).astype(np.float32)

# Columns of a pixel's state, 32 bytes, so that an event touches one line of memory: the four integrals, the
# time of the last event, S, and the number of events. Whole numbers are exact in float32 up to 16 million.


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _pass(
    t: NDArray[np.int64], x: NDArray[np.uint16], y: NDArray[np.uint16], p: NDArray[np.bool_],
    width: int, height: int, start: int, at: NDArray[np.int64], exp: F32, state: F32, snapshots: F32,
) -> int:  # fmt: skip
    """Fill the state of each pixel and S at the ascending times `at`; gives the events outside the sensor."""
    n = width * height
    state[:n] = 0.0
    low, high = np.float32(-STEPS), np.float32(STEPS)
    sign = np.array([-1.0, 1.0], np.float32)
    outside, k = 0, 0
    for i in range(len(t)):
        while k < len(at) and at[k] < t[i]:
            for j in range(n):
                snapshots[k, j] = state[j, 5]
            k += 1
        if x[i] >= width or y[i] >= height:
            outside += 1
            continue
        row = state[np.uint32(y[i]) * np.uint32(width) + np.uint32(x[i])]
        s = row[5]
        now = np.float32(t[i] - start)
        dt = now - row[4]
        gain = exp[np.uint32(np.int32(min(max(s, low), high) + high))]
        row[0] += dt * gain[0]
        row[1] += dt * gain[1]
        row[2] += dt * gain[2]
        row[3] += dt * gain[3]
        row[4] = now
        row[5] = s + sign[np.uint8(p[i])]
        row[6] += np.float32(1.0)
    while k < len(at):
        for j in range(n):
            snapshots[k, j] = state[j, 5]
        k += 1
    return outside


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _finish(
    length: float, exp: F32, c: F32, asinh: F32, state: F32, snapshots: F32, rows: NDArray[np.int64],
    middle: int, limit: float, logs: F32, out: F32,
) -> None:  # fmt: skip
    n = logs.shape[1]
    bins = rows.shape[1] - 1
    top = np.float32(len(asinh) - 1)
    low, high = np.float32(-limit), np.float32(limit)
    bottom, steps = np.float32(-STEPS), np.float32(STEPS)
    whole = np.float32(length)
    per = np.float32(1.0 / length)
    for j in range(n):
        if state[j, 6] == 0:
            for q in range(4):
                logs[q, j] = 0.0
            continue
        gain = exp[np.uint32(np.int32(min(max(state[j, 5], bottom), steps) + steps))]
        rest = whole - state[j, 4]
        for q in range(4):
            logs[q, j] = (state[j, q] + rest * gain[q]) * per
    for q in range(4):
        for j in range(n):
            logs[q, j] = math.log(logs[q, j]) if logs[q, j] > 0 else np.float32(0.0)
    for k in range(len(rows)):
        now = snapshots[rows[k, middle]]
        for q in range(4):
            for j in range(n):
                out[k, q, j] = min(max(c[q] * min(max(now[j], bottom), steps) - logs[q, j], low), high)
        for b in range(bins):
            first, last = rows[k, b], rows[k, b + 1]
            if first == last:
                out[k, 4 + b] = 0.0
                continue
            before, after = snapshots[first], snapshots[last]
            for j in range(n):
                d = after[j] - before[j]
                v = asinh[np.uint32(np.int32(min(abs(d), top)))]
                out[k, 4 + b, j] = v if d >= 0 else -v
        for j in range(n):
            out[k, 4 + bins, j] = asinh[np.uint32(np.int32(min(state[j, 6], top)))]


class EdiStack:
    """Computes EDI stacks on the CPU; keeps its working memory between calls. Not thread-safe."""

    def __init__(self) -> None:
        self._n = -1
        self._state = np.empty((0, 8), np.float32)
        self._logs = np.empty((4, 0), np.float32)

    def stacks(self, events: Events, start_us: int, end_us: int, times_us: Sequence[int]) -> F32:
        """Stacks of several instants of one exposure in one pass.

        Args:
            events: sorted by time; may reach beyond the exposure.
            start_us, end_us: the exposure, µs.
            times_us: the instants, µs, in any order.

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
            self._state, self._logs = np.empty((n, 8), np.float32), np.empty((4, n), np.float32)
        snapshots = np.empty((len(at), n), np.float32)
        _pass(
            inside.t, inside.x, inside.y, inside.p, events.width, events.height, int(start_us), at, _EXP,
            self._state, snapshots,
        )  # fmt: skip
        out = np.empty((len(borders), CHANNELS, n), np.float32)
        _finish(
            float(end_us - start_us), _EXP, _C, _ASINH, self._state, snapshots, rows, BINS // 2,
            LIMIT, self._logs, out,
        )  # fmt: skip
        return out.reshape(len(borders), CHANNELS, events.height, events.width)
