"""One step of the event sensor's pixels on a CPU: what `EventSensor` does with torch, in one pass over them.

torch takes some forty passes over maps that are too small for it to be fast at.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capture.compiled import njit

F32 = NDArray[np.float32]
MOST = 4096
"""Events of a pixel in one step."""


@njit(nogil=True, error_model="numpy")
def cross(
    t0: float, t1: float, light: F32, dark: float, cutoff: float, cutoff_dark: float, leak: float,
    refractory: float, on: F32, off: F32, filtered: F32, ready: F32, level: F32, first: F32, period: F32,
    count: NDArray[np.int32],
) -> int:  # fmt: skip
    """Move every pixel from t0 to t1; the events' times follow from `first`, `period` and `count`.

    Args:
        t0, t1: µs.
        light: (N,) at t1, linear.
        dark: light that dark current stands for.
        cutoff, cutoff_dark: bandwidth under white light and in the dark, rad/µs.
        leak: ON events of a pixel at rest, 1/µs.
        refractory: µs.
        on, off: (N,) thresholds.
        filtered, ready, level: (N,) log light behind the low pass, end of the dead time, memorised level; new
            ones take their place.
        first, period: (N,) µs; filled where a pixel fires.
        count: (N,) events, negative for OFF; filled.

    Returns:
        All events together.
    """
    dt = np.float32(t1 - t0)
    zero, one = np.float32(0.0), np.float32(1.0)
    begin0, end = np.float32(t0), np.float32(t1)
    a, b, floor = np.float32(cutoff) * dt, np.float32(cutoff_dark) * dt, np.float32(dark)
    pause, rest = np.float32(refractory), np.float32(leak)
    total = 0
    for i in range(len(light)):
        seen = max(light[i], zero)
        rate = min(a * seen + b, np.float32(30.0))
        now = filtered[i] + (math.log(seen + floor) - filtered[i]) * -np.float32(math.expm1(-rate))
        slope = (now - filtered[i]) / dt + on[i] * rest
        filtered[i] = now
        count[i] = 0
        begin = max(ready[i], begin0)
        if begin >= end:
            level[i] = zero
            continue
        # Through the dead time the memorised level follows the light.
        value = zero if ready[i] > begin0 else level[i]
        up = slope > zero
        threshold = on[i] if up else off[i]
        distance = threshold - (value if up else -value)
        speed = max(abs(slope), np.float32(1e-12))
        start = begin + max(distance, zero) / speed
        if start < end:
            each = threshold / speed + pause
            n = np.float32(math.floor((end - start) / each)) + one
            ready[i] = start + (n - one) * each + pause
            level[i] = slope * max(end - ready[i], zero)
            kept: int = min(int(n), MOST)
            first[i], period[i] = start, each
            count[i] = kept if up else -kept
            total += kept
        else:
            level[i] = value + slope * max(end - begin, zero)
    return total


@njit(nogil=True)
def emit(
    first: F32, period: F32, count: NDArray[np.int32], t: F32, pixel: NDArray[np.int64], p: NDArray[np.bool_]
) -> None:
    """The events that `cross` found, pixel by pixel, each pixel's in order of time."""
    k = 0
    for i in range(len(count)):
        for j in range(abs(count[i])):
            t[k] = first[i] + np.float32(j) * period[i]
            pixel[k], p[k] = i, count[i] > 0
            k += 1


@njit(nogil=True, error_model="numpy")
def noisy(
    dt_s: float, light: F32, dark: float, mid_gray: float, shot: float, dark_hz: float, hot: F32, drawn: F32,
    level: F32, pixel: NDArray[np.int64],
) -> int:  # fmt: skip
    """Pixels in which a noise event falls, into `pixel`; their level is reset. Gives how many.

    From the dark rate down to the mid-gray rate and on with the square root of light.

    Args:
        dt_s: the step, s.
        light, dark: as at `cross`.
        shot, mid_gray: rate of shot noise in the dark, 1/s, and the light at which it is √½ of that.
        dark_hz: rate in full darkness.
        hot: (N,) further rate of hot pixels.
        drawn: (N,) even random numbers of 0…1.
    """
    m = 0
    floor, middle = np.float32(dark), np.float32(mid_gray)
    for i in range(len(light)):
        seen = max(light[i], np.float32(0.0))
        rate = np.float32(shot) * math.sqrt(middle / (seen + middle)) + hot[i]
        rate += np.float32(dark_hz) * (floor / (seen + floor))
        if drawn[i] < -np.float32(math.expm1(-rate * np.float32(dt_s))):
            pixel[m] = i
            level[i] = np.float32(0.0)
            m += 1
    return m


def empty_steps(n: int) -> tuple[F32, F32, Any]:
    """`first`, `period` and `count` for `cross`."""
    return np.empty(n, np.float32), np.empty(n, np.float32), np.empty(n, np.int32)
