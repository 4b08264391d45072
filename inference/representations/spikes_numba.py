"""Spikes on one CPU core: integrate and fire, temporal averages. See `spikes`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from capture.compiled import njit
from capture.errors import InvalidPacket, UsageError
from inference.representations.spikes import GAIN, STEPS, THRESHOLD, Origin, SpikeStream, window


@njit(nogil=True)
def _integrate(
    light: NDArray[np.float32], v: NDArray[np.float32], gain: np.float32, steps: np.float32,
    threshold: np.float32, out: NDArray[np.uint8],
) -> None:  # fmt: skip
    frames, n = light.shape
    for t in range(frames):
        for i in range(n):
            u = v[i] + (light[t, i] * gain) * steps
            if u > threshold:
                out[t, i] = 1
                # mod 2; below 4 (at most one full step on top of less than 2) it is one exact subtraction.
                u = u - threshold if u < threshold + threshold else np.float32(u % threshold)
            else:
                out[t, i] = 0
            v[i] = u


@njit(nogil=True)
def _mean(frames: NDArray[Any], out: NDArray[np.float32]) -> None:
    length, n = frames.shape
    total = np.zeros(n, np.float32)
    for t in range(length):
        for i in range(n):
            total[i] += np.float32(frames[t, i])
    for i in range(n):
        out[i] = total[i] / np.float32(length)


def check_light(light: NDArray[Any]) -> None:
    """Refuse intensities that are not finite.

    Raises:
        InvalidPacket: with their number.
    """
    bad = int(light.size - np.count_nonzero(np.isfinite(light)))
    if bad:
        raise InvalidPacket(f"intensity for spikes: {bad} of {light.size} values are not finite")


class IntegrateAndFire:
    """The authors' spike simulation, float32, for frames that come one after another.

    Each frame adds `intensity · 0.0079417 · 250` to a pixel; above (not at) 2 the pixel fires and keeps the
    remainder. At most one spike a frame; the mean rate is 0.9927 of the intensity. The state stays between
    calls, so frames may come in pieces and give the same spikes.

    Args:
        phase: (h, w) in 0…1, where each pixel's first integration stands: uniformly random in the authors'
            data. 0.5 everywhere gives spikes without randomness.
        origin: of the stream that comes out.
    """

    def __init__(self, phase: NDArray[Any], origin: Origin = Origin.SIMULATED) -> None:
        if phase.ndim != 2:
            raise UsageError(f"phase of spikes: expected (h, w), got {phase.shape}")
        check_light(phase)
        start = phase.astype(np.float32)
        self._v = np.ascontiguousarray(start * np.float32(GAIN) * np.float32(STEPS))
        self._origin = origin

    def __call__(self, light: NDArray[Any]) -> SpikeStream:
        """Spikes of further frames.

        Args:
            light: (T, h, w) intensity 0…1, gamma-coded gray as the networks know it.

        Raises:
            InvalidPacket: values that are not finite.
            UsageError: frames of another size.
        """
        if light.ndim != 3 or light.shape[1:] != self._v.shape:
            raise UsageError(
                f"light of shape {light.shape}: expected (T, {self._v.shape[0]}, {self._v.shape[1]})"
            )
        check_light(light)
        frames = np.ascontiguousarray(light, np.float32)
        out = np.empty(frames.shape, np.uint8)
        _integrate(
            frames.reshape(len(frames), self._v.size), self._v.reshape(-1), np.float32(GAIN), np.float32(STEPS),
            np.float32(THRESHOLD), out.reshape(len(frames), self._v.size),
        )  # fmt: skip
        return SpikeStream(out, self._origin)


def simple_spikes(light: NDArray[Any], phase: NDArray[Any]) -> SpikeStream:
    """The simpler simulator in the authors' code, which is switched off there.

    float64; starts at 2·phase, adds the intensity, fires at or above 2, subtracts 2.
    """
    check_light(light)
    v = phase.astype(np.float64) * 2
    out = np.empty(light.shape, np.uint8)
    for t, frame in enumerate(light):
        v += frame
        out[t] = v >= 2
        v -= 2.0 * out[t]
    return SpikeStream(out, Origin.SIMULATED)


def tfp(stream: SpikeStream, at: int, length: int) -> NDArray[np.float32]:
    """Temporal average ("texture from playback") around a frame: (h, w) float32.

    The mean of frames `at − length // 2 … at + length // 2`, both included: `length` frames when it is odd,
    one more when it is even (as published; see `spikes.window`). Networks use 9 and, at 68, 97.

    Raises:
        UsageError: the window leaves the stream.
    """
    lo, hi = window(len(stream.frames), at, length)
    part = np.ascontiguousarray(stream.frames[lo:hi])
    out = np.empty(part.shape[1:], np.float32)
    _mean(part.reshape(len(part), -1), out.reshape(-1))
    return out
