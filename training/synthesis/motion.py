"""How things move within an exposure: shake with the spectrum of a hand, drift, turn, growth, tilt.

A path is a smooth function of u = 0…1 over the exposure; u = 0 and 1 are its borders. Handheld shake falls off
with frequency roughly as 1/f² in displacement between 1 and 20 Hz (physiological tremor peaks near 8–12 Hz with
small amplitude), so within one exposure it is a low-order curve with a few faster ripples: a sum of sinusoids
of random phase with amplitude falling with frequency, plus a straight part.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.synthesis.config import SynthesisConfig

F64 = NDArray[np.float64]
_CYCLES = np.array([0.4, 0.8, 1.3, 2.1, 3.4])
_FINE = np.linspace(0.0, 1.0, 65)


@dataclass(frozen=True, slots=True)
class Curve:
    """A random smooth function of u with mean 0 over the exposure: a straight part and sinusoids."""

    straight: float
    amplitude: F64
    phase: F64
    offset: float

    def __call__(self, u: F64) -> F64:
        """Values at u, same shape."""
        waves = np.sin(2 * np.pi * _CYCLES * np.asarray(u)[..., None] + self.phase) @ self.amplitude
        value: F64 = self.straight * (np.asarray(u) - 0.5) + waves - self.offset
        return value


def curve(rng: np.random.Generator, straight: float) -> Curve:
    """One function; `straight` 0…1 is the part of it that is a straight line. Its size is about 1."""
    wave = rng.standard_normal(len(_CYCLES)) / _CYCLES**1.6 * 0.35 * (1 - straight)
    phase = rng.uniform(0, 2 * np.pi, len(_CYCLES))
    line = float(rng.choice([-1.0, 1.0])) * straight
    raw = Curve(line, wave, phase, 0.0)
    return Curve(line, wave, phase, float(raw(_FINE).mean()))


@dataclass(frozen=True, slots=True)
class Motion:
    """One layer's motion.

    Attributes:
        x, y: shift; `turn`: angle; `growth`: log scale; `tilt_x`, `tilt_y`: perspective; `wobble`: local.
        sizes: what each is multiplied by: px, px, rad, –, 1/px, 1/px, px.
    """

    curves: tuple[Curve, ...]
    sizes: F64

    def at(self, u: F64) -> F64:
        """(T, 7) values at instants u (T,)."""
        return np.stack([c(u) for c in self.curves], axis=1) * self.sizes


def motion(rng: np.random.Generator, config: SynthesisConfig, path_px: float) -> Motion:
    """A motion whose shift covers about `path_px` from its one end to the other within the exposure."""
    straight = float(rng.beta(1.2, 0.8))
    curves = tuple(curve(rng, straight) for _ in range(7))
    angle = rng.uniform(0, 2 * np.pi)
    direction = np.array([np.cos(angle), np.sin(angle)]) + rng.normal(0, 0.25, 2)
    shift = np.stack([curves[0](_FINE), curves[1](_FINE)], axis=1) * direction
    extent = float(np.linalg.norm(shift.max(0) - shift.min(0)))
    px = path_px / max(extent, 1e-6)
    # Beside a large shift there is more turn, too: all are of one hand.
    share = min(1.0, path_px / 12.0) * np.abs(rng.normal(0, 0.5, 5))
    size = config.size
    sizes = np.array([
        direction[0] * px, direction[1] * px, np.deg2rad(config.turn_deg) * share[0],
        config.growth * share[1], config.tilt / size * share[2], config.tilt / size * share[3],
        config.wobble_px * share[4] * float(rng.random() < 0.4),
    ])  # fmt: skip
    return Motion(curves, sizes)


def homographies(values: F64, size: int) -> F64:
    """(T, 3, 3): where on a layer each image pixel looks, about the middle of the picture.

    Args:
        values: (T, 7) as `Motion.at` gives them.
        size: side of the picture.
    """
    x, y, turn, growth, tx, ty = values[:, :6].T
    scale = np.exp(growth)
    out = np.zeros((len(values), 3, 3))
    out[:, 0, 0], out[:, 0, 1] = scale * np.cos(turn), -scale * np.sin(turn)
    out[:, 1, 0], out[:, 1, 1] = scale * np.sin(turn), scale * np.cos(turn)
    out[:, 0, 2], out[:, 1, 2] = x, y
    out[:, 2, 0], out[:, 2, 1], out[:, 2, 2] = tx, ty, 1.0
    middle = np.eye(3)
    middle[:2, 2] = (size - 1) / 2
    back = np.eye(3)
    back[:2, 2] = -(size - 1) / 2
    return middle @ out @ back
