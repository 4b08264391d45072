"""The camera as its recordings show it: how much of the stored values' logarithm one event stands for.

Two frames in a row and the double integrals of both determine it, without a sharp picture:

    log B₂ − log B₁ = p · (r₁(c) − r₂(c)) + g_on · n_on − g_off · n_off

with r the log ratio of each exposure's instant at the contrast c, n the events between the instants, p the
power of the tone curve (1: linear; about 1 / 2.2: sRGB), and g = p · c of each polarity. c is searched; for
each the other three are found by least squares that forgive outliers (iteratively reweighted). What is well
determined is the product p · c; c alone only bends the ratios.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capture.errors import HalfmirrorError
from training.adapt.pairs import Sample
from training.adapt.ratios import follow

CONTRASTS = tuple(round(0.05 * k, 2) for k in range(1, 10))
DARK, BRIGHT = 0.05, 0.96  # frames' values outside tell nothing of ratios
_KNEE = 0.05  # differences of values beyond count by their size, not its square
_ROUNDS = 8
_LEAST = 2000
_MOST = 400_000


class NothingToLearn(HalfmirrorError):
    """The recordings do not show enough."""


class TooLittle(NothingToLearn):
    """More of the same could be enough."""


@dataclass(frozen=True, slots=True)
class Camera:
    """What was learnt.

    Attributes:
        contrast: c, ON and OFF alike.
        power: p.
        on, off: g, change of the stored values' logarithm for an event.
        pixels: behind it.
        explained: share of the frames' difference that the model explains, 0…1.
    """

    contrast: float
    power: float
    on: float
    off: float
    pixels: int
    explained: float

    @property
    def weights(self) -> NDArray[np.float32]:
        """(4,) with which the log ratios at `ratios.CONTRASTS` give that of the stored values."""
        return follow(self.contrast, self.power)


def learn(samples: Sequence[Sample]) -> Camera:
    """The camera of samples of one rig.

    Raises:
        TooLittle: too few pixels in which light changed. NothingToLearn: frames do not follow their events.
    """
    target, ratios, counts, weight = _columns(samples)
    if len(target) < _LEAST:
        raise TooLittle(
            f"light changes in only {len(target)} pixels of these recordings, too few to learn from: record "
            "something that moves"
        )
    found = []
    for c in CONTRASTS:
        columns = np.stack([follow(c) @ ratios, counts[0], -counts[1]], 1)
        theta, left = _fitted(columns, target, weight)
        found.append((left, c, theta))
    left, c, (p, on, off) = min(found, key=lambda f: f[0])
    before = float(np.minimum(np.abs(target) * weight, 1).mean())
    if min(p, on, off) <= 0:
        raise NothingToLearn(
            "the frames of these recordings do not follow their events (mirrored, misaligned or out of step?): "
            "check the rig with halfmirror calibrate check"
        )
    return Camera(c, float(p), float(on), float(off), len(target), 1 - left / before)


def _columns(samples: Sequence[Sample]) -> tuple[NDArray[np.float64], ...]:
    """Log difference (N,), ratios' difference (4, N), counts (2, N), weight (N,) of pixels with events."""
    parts: list[tuple[NDArray[np.float64], ...]] = []
    for s in samples:
        first, second = (x.frame.mean(0).double().numpy() for x in (s.before, s.after))
        change = (s.before.ratios - s.after.ratios).double().numpy()
        counts = s.counts.double().numpy()
        low, high = np.minimum(first, second), np.maximum(first, second)
        use = (low > DARK) & (high < BRIGHT) & (np.abs(change[1]) + counts.sum(0) > 0.2)
        # Differences are weighed as values, not as logarithms: noise in the dark is loud.
        parts.append(
            (np.log(second[use]) - np.log(first[use]), change[:, use], counts[:, use], low[use])
        )  # fmt: skip
    if not parts:
        return np.empty(0), np.empty((4, 0)), np.empty((2, 0)), np.empty(0)
    whole = [np.concatenate([p[k] for p in parts], axis=-1) for k in range(4)]
    step = max(1, whole[0].shape[-1] // _MOST)
    return tuple(x[..., ::step] for x in whole)


def _fitted(
    columns: NDArray[np.float64], target: NDArray[np.float64], weight: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float]:
    """The three unknowns, and the mean difference that is left."""
    w = weight**2
    theta: NDArray[Any] = np.zeros(columns.shape[1])
    left: NDArray[Any] = np.abs(target)
    for _ in range(_ROUNDS):
        scaled = columns * w[:, None]
        theta = np.linalg.solve(scaled.T @ columns + 1e-9 * np.eye(len(theta)), scaled.T @ target)
        left = np.abs(target - columns @ theta) * weight
        w = weight**2 / np.maximum(left, _KNEE)
    return theta, float(np.minimum(left, 1).mean())
