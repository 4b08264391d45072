"""The frame sensor: tone curve, noise, columns, saturation, 8 bits. Works on torch tensors of any device."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from training.synthesis.config import SynthesisConfig
from training.synthesis.draws import chance, even, log_even

_SRGB_SLOPE = 2.4 / 1.055 * ((0.5 + 0.055) / 1.055) ** 1.4
"""Of light over value at value ½, 0.926: of `tone`'s curve for gamma 0, the other way round."""


@dataclass(frozen=True, slots=True)
class FrameDraw:
    """One frame sensor's figures.

    Attributes:
        gamma: values are light to the power 1/gamma; 0: sRGB's curve.
        noise: standard deviation at mid gray, in values 0…1 of light.
        read_share: part of its variance that does not depend on light.
        column: spread of the columns' offsets, in values 0…1 of light.
    """

    gamma: float
    noise: float
    read_share: float
    column: float


def draw_frame(rng: np.random.Generator, config: SynthesisConfig) -> FrameDraw:
    """Figures at random."""
    u = rng.random()
    gamma = log_even(rng, config.gamma)
    if u < config.srgb_share:
        gamma = 0.0
    elif u < config.srgb_share + config.linear_share:
        gamma = 1.0
    noise = log_even(rng, config.noise_8bit) / 255
    # Stated in grey levels at mid gray (value ½): brought to light by the curve's slope there.
    slope = 0.5 ** (gamma - 1) * gamma if gamma else _SRGB_SLOPE
    share, column = even(rng, config.read_share), even(rng, config.column_8bit) / 255
    return FrameDraw(gamma, noise * slope, share, column * slope * float(chance(rng, 0.4)))


def tone(light: Tensor, gamma: float) -> Tensor:
    """Light, clipped to 0…1 → values 0…1."""
    x = light.clamp(0.0, 1.0)
    if gamma == 1.0:
        return x
    if gamma:
        return x.clamp(min=1e-7) ** (1.0 / gamma)
    return torch.where(x <= 0.0031308, x * 12.92, 1.055 * x.clamp(min=1e-7) ** (1 / 2.4) - 0.055)


def expose(light: Tensor, draw: FrameDraw, generator: torch.Generator) -> Tensor:
    """Mean light of the exposure (C, H, W) → the frame (C, H, W) uint8."""
    middle = 0.5**draw.gamma if draw.gamma else 0.214
    shot = draw.noise**2 * (1 - draw.read_share) / middle
    variance = light.clamp(min=0.0) * shot + draw.noise**2 * draw.read_share
    noise = torch.randn(light.shape, generator=generator, device=light.device)
    value = light + variance.sqrt() * noise
    if draw.column:
        columns = torch.randn((1, 1, light.shape[-1]), generator=generator, device=light.device)
        value = value + draw.column * columns
    return to_8bit(tone(value, draw.gamma))


def to_8bit(value: Tensor) -> Tensor:
    """0…1 → uint8, rounded."""
    return (value.clamp(0.0, 1.0) * 255).round().to(torch.uint8)
