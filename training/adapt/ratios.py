"""Log ratios of the double integral at any contrast, out of those at a few."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

CONTRASTS = (0.1, 0.2, 0.3, 0.4)
"""At which samples have the log ratio, ON and OFF alike."""
LOWEST, HIGHEST = 0.04, 0.45
"""Contrasts that `follow` can stand for; others are taken as the nearest of them."""


def between(nodes: Sequence[float], at: float) -> NDArray[np.float64]:
    """(len(nodes),) weights with which a smooth function's values at the nodes give its value at another place.

    The function is 0 at 0; a parabola through the three nearest of 0 and the nodes stands for it.

    Args:
        nodes: positive, ascending, two at least.
        at: place.
    """
    all_nodes = np.array([0.0, *nodes])
    middle = int(np.clip(np.argmin(np.abs(all_nodes - at)), 1, len(nodes) - 1))
    out = np.zeros(len(all_nodes))
    for k in (middle - 1, middle, middle + 1):
        others = [j for j in (middle - 1, middle, middle + 1) if j != k]
        out[k] = np.prod([(at - all_nodes[j]) / (all_nodes[k] - all_nodes[j]) for j in others])
    return out[1:]


def follow(contrast: float, power: float = 1.0) -> NDArray[np.float32]:
    """(4,) weights with which the log ratios at `CONTRASTS` add up to the one at another contrast.

    Args:
        contrast: wanted, ON and OFF alike, natural log light.
        power: the frame's values are light to this power (1: linear, 1 / 2.2: about sRGB); their log ratio is
            that much of the light's.
    """
    weights: NDArray[np.float32] = (power * between(CONTRASTS, min(max(contrast, LOWEST), HIGHEST))).astype(
        np.float32
    )
    return weights
