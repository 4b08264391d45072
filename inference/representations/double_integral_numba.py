"""The event-based double integral on one CPU core, one pass over the events. See `double_integral`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capture.compiled import njit
from capture.packets import Events
from inference.representations.double_integral import EXPONENT_LIMIT, Contrast, check_interval, reached
from inference.representations.halfway_integral_numba import COLUMNS, accumulate

# Columns of the state, one row of 32 bytes (half a cache line) per pixel: an event touches one line of memory.
_SUM, _GAIN, _SINCE, _INTEGRAL = 0, 1, 2, 3


@njit(nogil=True)
def _accumulate(
    t: NDArray[np.int64], x: NDArray[np.uint16], y: NDArray[np.uint16], p: NDArray[np.bool_],
    width: int, height: int, start: int, end: int, times: NDArray[np.int64],
    on: float, off: float, limit: float, state: NDArray[np.float64], out: NDArray[np.float32],
) -> int:  # fmt: skip
    """Fill `out` (instants, pixels) with ratios; `times` ascending. Gives the events outside the sensor."""
    n_pixels = width * height
    for i in range(n_pixels):
        state[i, 0] = 0.0
        state[i, 1] = 1.0
        state[i, 2] = 0.0
        state[i, 3] = 0.0
    # exp(S) is kept as a running product: one multiplication an event instead of one exp. In float64 it drifts
    # by 1e-16 per event, 1e-11 after 10⁵. The sum S itself is kept too: it decides the limit, and brings the
    # product back exactly when a limited pixel returns.
    # Indexed by polarity rather than branched on: it is as good as random, and a branch would be mispredicted.
    step = np.array([-off, on])
    factor_of = np.array([math.exp(-off), math.exp(on)])
    top, bottom = math.exp(limit), math.exp(-limit)
    outside = 0
    k = 0
    for i in range(len(t)):
        ti = t[i]
        while k < len(times) and times[k] < ti:
            for j in range(n_pixels):
                out[k, j] = state[j, 1]
            k += 1
        xi, yi = int(x[i]), int(y[i])
        if xi >= width or yi >= height:
            outside += 1
            continue
        row = state[yi * width + xi]
        now = float(ti - start)
        gain = row[1]
        row[3] += (now - row[2]) * gain
        row[2] = now
        before = row[0]
        sign = np.uint8(p[i])
        after = before + step[sign]
        row[0] = after
        if after > limit:
            row[1] = top
        elif after < -limit:
            row[1] = bottom
        elif before > limit or before < -limit:
            row[1] = math.exp(after)
        else:
            row[1] = gain * factor_of[sign]
    while k < len(times):
        for j in range(n_pixels):
            out[k, j] = state[j, 1]
        k += 1
    length = float(end - start)
    for j in range(n_pixels):
        factor = length / (state[j, 3] + (length - state[j, 2]) * state[j, 1])
        for q in range(len(times)):
            out[q, j] *= factor
    return outside


class DoubleIntegral:
    """Computes ratio maps on the CPU; keeps its working memory between calls. Not thread-safe.

    Working memory: 32 bytes a pixel; where events count half-way 24, and 4 for each instant.
    """

    def __init__(self) -> None:
        self._state: NDArray[np.float64] = np.empty((0, 4), np.float64)
        self._halfway: NDArray[np.float32] = np.empty((0, COLUMNS), np.float32)

    def ratios(
        self, events: Events, start_us: int, end_us: int, times_us: Sequence[int], contrast: Contrast,
        halfway: bool = False,
    ) -> NDArray[np.float32]:  # fmt: skip
        """Ratio maps: light at each instant over the mean light of the exposure.

        Args:
            events: may reach beyond the exposure; only `start_us <= t < end_us` is used.
            start_us, end_us: the exposure, µs.
            times_us: the instants, µs, each inside the exposure, in any order.
            contrast: thresholds.
            halfway: events count half-way to their neighbours (`halfway`) rather than when they come.

        Returns:
            (L, height, width) float32, positive and finite, on the event sensor's pixels; exactly 1 where a
            pixel has no events.

        Raises:
            ValueError: an instant outside the exposure, or an exposure without length.
        """
        times = check_interval(start_us, end_us, times_us)
        order: Any = np.argsort(times, kind="stable")
        inside = events.between(start_us, end_us)
        n_pixels = events.width * events.height
        out = np.empty((len(times), n_pixels), np.float32)
        about = inside.t, inside.x, inside.y, inside.p, events.width, events.height, int(start_us), int(end_us)
        thresholds = contrast.on, contrast.off, EXPONENT_LIMIT
        if halfway:
            shape = n_pixels, COLUMNS + len(times) + 1
            if self._halfway.shape != shape:
                self._halfway = np.empty(shape, np.float32)
            until = reached(times[order], start_us, end_us)
            accumulate(*about, until, *thresholds, self._halfway, out)
        else:
            if len(self._state) != n_pixels:
                self._state = np.empty((n_pixels, 4), np.float64)
            _accumulate(*about, times[order], *thresholds, self._state, out)
        if len(times) > 1 and bool(np.any(np.diff(order) != 1)):
            unsorted = np.empty_like(out)
            unsorted[order] = out
            out = unsorted
        return out.reshape(len(times), events.height, events.width)
