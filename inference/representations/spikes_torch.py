"""Spikes with torch, on any device: integrate and fire, temporal averages, the physical model. See `spikes`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from inference.representations.scatter_torch import to_device
from inference.representations.spikes import (
    FIRST,
    GAIN,
    LAST,
    RADIUS,
    STEPS,
    THRESHOLD,
    Origin,
    SpikeStream,
    window,
)


@dataclass(frozen=True, slots=True, eq=False)
class DeviceSpikes:
    """A spike stream on a device, with its origin.

    Attributes:
        frames: (1, T, h, w) float32, the networks' layout.
        origin: as `SpikeStream.origin`.
    """

    frames: torch.Tensor
    origin: Origin


def upload(stream: SpikeStream, device: str | torch.device = "cpu") -> DeviceSpikes:
    """Bring a stream to a device; a byte a spike travels."""
    return DeviceSpikes(to_device(stream.frames, torch.device(device)).float()[None], stream.origin)


@torch.no_grad()
def integrate_and_fire(light: torch.Tensor, phase: torch.Tensor) -> torch.Tensor:
    """As `spikes_numba.IntegrateAndFire` on its first call, on the device.

    Args:
        light: (…, T, h, w) float32 intensity 0…1. Not checked for NaN: that would wait for the device.
        phase: (…, h, w) in 0…1.

    Returns:
        (…, T, h, w) float32 0/1.
    """
    # Products by float32 constants in the published order; Python floats act as float32 on float32 tensors.
    v = phase.float() * GAIN * STEPS
    out = []
    for step in (light.float() * GAIN * STEPS).unbind(-3):
        v = v + step
        fired = v > THRESHOLD
        v = torch.where(fired, torch.remainder(v, THRESHOLD), v)
        out.append(fired)
    return torch.stack(out, -3).float()


def tfp(spikes: torch.Tensor, at: int, length: int) -> torch.Tensor:
    """(N, 1, h, w): temporal average of (N, T, h, w) spikes; see `spikes_numba.tfp`."""
    lo, hi = window(spikes.shape[-3], at, length)
    return spikes[..., lo:hi, :, :].float().mean(-3, keepdim=True)


def ldn_windows(spikes: torch.Tensor, at: Sequence[int], radius: int = RADIUS) -> torch.Tensor:
    """(L · N, 2 radius + 1, h, w): LDN's spike inputs at L instants of (N, T, h, w), instants outermost."""
    cuts = [window(spikes.shape[-3], i, 2 * radius + 1) for i in at]
    return torch.cat([spikes[:, lo:hi] for lo, hi in cuts])


def sdm(blurry: torch.Tensor, long: torch.Tensor, short: torch.Tensor) -> torch.Tensor:
    """The physical model: `blurry / long · short`, 0 where `long` is 0. Not clipped.

    Args:
        blurry: (N, 3, H, W) in 0…1.
        long, short: (N, 1 or 3, H, W) temporal averages at the image's resolution.
    """
    safe = torch.where(long == 0, 1, long)
    return torch.where(long == 0, 0, blurry / safe * short)


def sdm_from_spikes(blurry: torch.Tensor, spikes: torch.Tensor, at: int, length: int = 9) -> torch.Tensor:
    """The second published form, from spikes at the image's resolution; clipped to 0…1.

    `blurry / Σ spikes of the exposure · Σ spikes of the short window · 97 / length`.

    Args:
        blurry: (N, 3, H, W) in 0…1.
        spikes: (N, T, H, W); the exposure is all but the first and the last 20 frames.
        at, length: the short window; see `tfp`.
    """
    margin = FIRST
    exposure = spikes[:, margin : spikes.shape[1] - margin].sum(1, keepdim=True)
    lo, hi = window(spikes.shape[1], at, length)
    short = spikes[:, lo:hi].sum(1, keepdim=True)
    return (sdm(blurry, exposure, short) * (LAST - FIRST + 1) / length).clamp(0, 1)
