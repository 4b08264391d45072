"""Derived spikes on one CPU core. See `spikes_derived`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from capture.packets import Events
from inference.representations.double_integral import EXPONENT_LIMIT, Contrast
from inference.representations.double_integral_numba import DoubleIntegral
from inference.representations.scatter_numba import count_runs
from inference.representations.spikes import SPIKES_PER_FRAME, Origin, SpikeStream
from inference.representations.spikes_derived import (
    ALL,
    Index,
    after_bounds,
    before_bounds,
    check_level,
    parts,
    to_light,
)
from inference.representations.spikes_numba import IntegrateAndFire
from inference.tone import Tone


def intensity(
    level: NDArray[np.floating], events: Events, start_us: int, end_us: int, contrast: Contrast, *,
    frames: Sequence[int] = ALL, tone: Tone = "linear", factor: int = 1,
) -> NDArray[np.float32]:  # fmt: skip
    """The reconstructed intensity at ticks, on one CPU core.

    Args:
        level: (h, w) gray of the blurry frame, 0…1, on the events' grid.
        events: with `margin_us` on both sides of the exposure, as far as the asked ticks reach.
        start_us, end_us: the exposure.
        contrast: thresholds of the event sensor.
        frames: which of the 137 ticks, ascending. LDN needs the 21 around an instant.
        tone: how `level` is coded: "linear" multiplies it as it stands (the formula above), "srgb" turns it
            into light first and codes the product again.
        factor: the spike grid is this much coarser than the events'; blocks are averaged.

    Returns:
        (len(frames), h / factor, w / factor) float32, 0…1.

    Raises:
        UsageError: sizes or ticks that do not fit.
        InvalidPacket: `level` holds values that are not finite.
    """
    check_level(level, events, factor)
    before, within, after = parts(frames, start_us, end_us)
    times = [start_us, *within.tolist(), end_us]
    ratios = DoubleIntegral().ratios(events, start_us, end_us, times, contrast)

    def sums(bounds: Index) -> NDArray[np.float64]:
        n = len(bounds) - 1
        counts = np.zeros((2 * n, events.height, events.width), np.float32)
        channel = 2 * np.arange(n, dtype=np.int64)
        count_runs(events.x, events.y, events.p, bounds[:-1], bounds[1:], channel, counts)
        return counts[1::2].astype(np.float64) * contrast.on - counts[0::2].astype(np.float64) * contrast.off

    def gain(s: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.exp(np.clip(s, -EXPONENT_LIMIT, EXPONENT_LIMIT))

    early = ratios[0] * gain(-np.cumsum(sums(before_bounds(events.t, before, start_us))[::-1], axis=0)[::-1])
    late = ratios[-1] * gain(np.cumsum(sums(after_bounds(events.t, after, end_us)), axis=0))
    every = np.concatenate([early, ratios[1:-1], late])
    base = np.clip(level.astype(np.float64), 0, 1)
    light = np.minimum((to_light(base) if tone == "srgb" else base) * every, 1.0)
    if tone == "srgb":
        light = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    n, height, width = light.shape
    blocks = light.reshape(n, height // factor, factor, width // factor, factor)
    return np.asarray(blocks.mean(axis=(2, 4)), np.float32)


def derived_spikes(
    light: NDArray[np.float32], *, binary: bool = False, phase: NDArray[np.floating] | None = None
) -> SpikeStream:
    """A derived stream from `intensity`.

    Args:
        light: (T, h, w); for `binary`, all ticks in order.
        binary: integrate and fire into 0/1; otherwise the expected spikes, 0.9927 of the intensity.
        phase: (h, w) in 0…1, where each pixel's integration begins; 0.5 when None.
    """
    if not binary:
        return SpikeStream(np.asarray(light * np.float32(SPIKES_PER_FRAME), np.float32), Origin.DERIVED)
    start = np.full(light.shape[1:], 0.5, np.float32) if phase is None else phase
    return IntegrateAndFire(start, Origin.DERIVED)(light)
