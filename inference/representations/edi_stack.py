"""The EDI stack: what glint is fed beside the frame, for one instant of an exposure.

Channels, on the event sensor's pixels, for the instant f of an exposure from t₀ to t₁:

* 0…3: log ratios of the light at f to its mean over the exposure, by the event-based double integral
  (`double_integral`) at the contrasts `CONTRASTS`, ON and OFF alike:  c·S(f) − ln((1/T) ∫ exp(c·S(t)) dt),
  limited to ±`LIMIT`.
* 4…11: signed counts (ON − OFF) in eight intervals around f, narrow near it, as asinh(n) / 2. Their edges lie
  at f + `OFFSETS`·T, cut to the exposure; intervals cut away are 0.
* 12: all events of the exposure, as asinh(n) / 2.

All is relative to f, so the network need not be told the instant, and one network serves them all. Intervals
follow the conventions of `double_integral`: S(t) includes events at t; events outside [t₀, t₁) are not used.
asinh keeps single events apart and hot pixels small.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from inference.representations.double_integral import check_interval

CONTRASTS = (0.1, 0.2, 0.3, 0.4)
OFFSETS = (-1.0, -0.28, -0.125, -0.04, 0.0, 0.04, 0.125, 0.28, 1.0)
BINS = len(OFFSETS) - 1
CHANNELS = len(CONTRASTS) + BINS + 1
LIMIT = 6.0
"""Largest log ratio; exp(6) = 400 is more than 8 bits can show."""

LOWEST, HIGHEST = 0.04, 0.45
"""Contrasts that `follow` can stand for; others are taken as the nearest of them."""

STEPS = 96
"""Sums S beyond ±STEPS count as ±STEPS: at the largest contrast that is exp(38), above any sensor."""
ASINH_TOP = 1024
"""Counts beyond count as this many."""


def follow(contrast: float, power: float = 1.0) -> NDArray[np.float32]:
    """(4,) weights with which the stack's log ratios add up to the one at another contrast.

    At a pixel the log ratio is a smooth function of the contrast, 0 at 0. A parabola through the three nearest
    of 0 and `CONTRASTS` stands for it.

    Args:
        contrast: wanted, ON and OFF alike, natural log light.
        power: the frame's values are light to this power (1: linear, 1 / 2.2: about sRGB); their log ratio is
            that much of the light's.
    """
    c = min(max(contrast, LOWEST), HIGHEST)
    nodes = np.array([0.0, *CONTRASTS])
    middle = int(np.clip(np.argmin(np.abs(nodes - c)), 1, len(nodes) - 2))
    out = np.zeros(len(nodes))
    for k in (middle - 1, middle, middle + 1):
        others = [j for j in (middle - 1, middle, middle + 1) if j != k]
        out[k] = np.prod([(c - nodes[j]) / (nodes[k] - nodes[j]) for j in others])
    weights: NDArray[np.float32] = (power * out[1:]).astype(np.float32)
    return weights


def edges(start_us: int, end_us: int, times_us: Sequence[int]) -> NDArray[np.int64]:
    """Edges of the intervals, (L, BINS + 1) µs, non-decreasing in each row.

    Raises:
        ValueError: an instant outside the exposure, or an exposure without length.
    """
    times = check_interval(start_us, end_us, times_us)
    reach = np.rint(np.array(OFFSETS) * (end_us - start_us)).astype(np.int64)
    out: NDArray[np.int64] = np.clip(times[:, None] + reach[None], start_us, end_us)
    return out
