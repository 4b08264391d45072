"""Derived spikes with torch, on any device. See `spikes_derived`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from capture.packets import Events
from inference.representations.double_integral import EXPONENT_LIMIT, Contrast
from inference.representations.double_integral_torch import DoubleIntegral
from inference.representations.pixel_runs_torch import counts_between, on_sensor, place
from inference.representations.scatter_torch import to_device
from inference.representations.spikes import SPIKES_PER_FRAME, Origin
from inference.representations.spikes_derived import (
    ALL,
    Index,
    after_bounds,
    before_bounds,
    check_level,
    parts,
    to_light,
)
from inference.representations.spikes_torch import DeviceSpikes, integrate_and_fire
from inference.tone import Tone


@torch.no_grad()
def derived_spikes(
    level: NDArray[np.floating] | torch.Tensor, events: Events, start_us: int, end_us: int,
    contrast: Contrast, *,
    frames: Sequence[int] = ALL, tone: Tone = "linear", factor: int = 1, binary: bool = False,
    device: str | torch.device = "cpu",
) -> DeviceSpikes:  # fmt: skip
    """`spikes_derived_numba.intensity` and `derived_spikes` in one, on the device; the arguments are theirs.

    `level` may be there already. It is then not looked at whether it is finite: that would wait for the device.
    """
    check_level(level if isinstance(level, np.ndarray) else np.zeros(tuple(level.shape)), events, factor)
    before, within, after = parts(frames, start_us, end_us)
    integral = DoubleIntegral(device)
    times = [start_us, *within.tolist(), end_us]
    events = on_sensor(events)
    e = place(events, integral.device)
    first, last = np.searchsorted(events.t, [start_us, end_us])
    ratios = integral.of_placed(e[first:last], events.t[first:last], start_us, end_us, times, contrast)
    ratios = ratios.to(integral.dtype)

    def sums(bounds: Index) -> torch.Tensor:
        counts = counts_between(e, bounds).to(integral.dtype)
        return counts[:, 1] * contrast.on - counts[:, 0] * contrast.off

    def gain(s: torch.Tensor) -> torch.Tensor:
        return s.clamp(-EXPONENT_LIMIT, EXPONENT_LIMIT).exp()

    early = ratios[0] * gain(-sums(before_bounds(events.t, before, start_us)).flip(0).cumsum(0).flip(0))
    late = ratios[-1] * gain(sums(after_bounds(events.t, after, end_us)).cumsum(0))
    every = torch.cat([early, ratios[1:-1], late]).view(-1, events.height, events.width)
    if isinstance(level, np.ndarray):
        base = np.clip(level.astype(np.float64), 0, 1)
        start = to_device((to_light(base) if tone == "srgb" else base).astype(np.float32), e.device)
    else:
        start = level.to(e.device, integral.dtype).clamp(0, 1)
        if tone == "srgb":
            start = torch.where(start <= 0.04045, start / 12.92, ((start + 0.055) / 1.055) ** 2.4)
        start = start.float()
    light = (start.to(integral.dtype) * every).clamp(max=1)
    if tone == "srgb":
        light = torch.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    n, height, width = light.shape
    light = light.view(n, height // factor, factor, width // factor, factor).mean((2, 4)).float()
    if binary:
        fired = integrate_and_fire(light, torch.full_like(light[0], 0.5))
        return DeviceSpikes(fired[None], Origin.DERIVED)
    return DeviceSpikes((light * SPIKES_PER_FRAME)[None], Origin.DERIVED)
