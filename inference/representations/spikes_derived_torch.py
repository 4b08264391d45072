"""Derived spikes with torch, on any device. See `spikes_derived`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from capture.packets import Events
from inference.representations.double_integral import EXPONENT_LIMIT, Contrast
from inference.representations.double_integral_torch import DoubleIntegral
from inference.representations.pixel_runs_torch import (
    Number,
    Placed,
    Thresholds,
    bounds_of,
    counts_between,
    place,
    since_start,
)
from inference.representations.scatter_torch import some, to_device
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
    where, events = torch.device(device), some(events)
    told = [to_device(b, where) for b in bounds_around(events.t, start_us, end_us, frames)]
    e, since = place(events, where), to_device(since_start(events.t, start_us), where)
    if isinstance(level, np.ndarray):
        base = np.clip(level.astype(np.float64), 0, 1)
        start = to_device((to_light(base) if tone == "srgb" else base).astype(np.float32), where)
    else:
        start = light_of(level.to(where), tone)
    light = of_placed(e, since, told, float(end_us - start_us), contrast, start, tone)
    n, height, width = light.shape
    light = light.view(n, height // factor, factor, width // factor, factor).mean((2, 4)).float()
    if binary:
        fired = integrate_and_fire(light, torch.full_like(light[0], 0.5))
        return DeviceSpikes(fired[None], Origin.DERIVED)
    return DeviceSpikes((light * SPIKES_PER_FRAME)[None], Origin.DERIVED)


def bounds_around(
    t: NDArray[np.int64], start_us: int, end_us: int, frames: Sequence[int]
) -> tuple[Index, Index, Index]:
    """Where events begin and end that tell of ticks before, in and after the exposure.

    Args:
        t: (N,) times of events, ascending.
        start_us, end_us: the exposure.
        frames: the ticks that are asked for, ascending.
    """
    before, within, after = parts(frames, start_us, end_us)
    times = np.array([start_us, *within, end_us], np.int64)
    return (
        before_bounds(t, before, start_us),
        bounds_of(t, start_us, end_us, times),
        after_bounds(t, after, end_us),
    )


def light_of(level: torch.Tensor, tone: Tone) -> torch.Tensor:
    """Light 0…1 float32 of a picture's values, on its device."""
    wide = level.to(torch.float32 if level.device.type == "mps" else torch.float64).clamp(0, 1)
    if tone == "srgb":
        wide = torch.where(wide <= 0.04045, wide / 12.92, ((wide + 0.055) / 1.055) ** 2.4)
    return wide.float()


@torch.no_grad()
def of_placed(
    e: Placed, since: torch.Tensor, bounds: Sequence[torch.Tensor], length: Number, contrast: Thresholds,
    light: torch.Tensor, tone: Tone,
) -> torch.Tensor:  # fmt: skip
    """The picture's values at every tick, of events that are on the device already.

    Args:
        e: at least one; which are the exposure's, and which lie beside it, is told by `bounds`.
        since: (N,) int32 µs since the exposure's start, on the device.
        bounds: see `bounds_around`, on the device.
        length: of the exposure in µs.
        contrast: of the event sensor.
        light: (h, w) float32, the blurry picture's.
        tone: of the values.

    Returns:
        (T, h, w), at most 1, float64 (float32 on devices without).
    """
    integral, (before, within, after) = DoubleIntegral(e.device), bounds
    ratios = integral.of_placed(e, since, within, length, contrast).to(integral.dtype)

    def sums(between: torch.Tensor) -> torch.Tensor:
        counts = counts_between(e, between).to(integral.dtype)
        return counts[:, 1] * contrast.on - counts[:, 0] * contrast.off

    def gain(s: torch.Tensor) -> torch.Tensor:
        return s.clamp(-EXPONENT_LIMIT, EXPONENT_LIMIT).exp()

    early = ratios[0] * gain(-sums(before).flip(0).cumsum(0).flip(0))
    late = ratios[-1] * gain(sums(after).cumsum(0))
    every = torch.cat([early, ratios[1:-1], late]).view(-1, *light.shape)
    values = (light.to(integral.dtype) * every).clamp(max=1)
    if tone == "srgb":
        values = torch.where(values <= 0.0031308, 12.92 * values, 1.055 * values ** (1 / 2.4) - 0.055)
    return values
