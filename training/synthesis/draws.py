"""Random numbers of a sample: one generator from (seed, index), so that order and workers do not matter."""

from __future__ import annotations

import math

import numpy as np


def generator(seed: int, index: int, part: int = 0) -> np.random.Generator:
    """The generator of sample `index`; parts are independent streams of one sample."""
    return np.random.default_rng([seed, index, part])


def even(rng: np.random.Generator, span: tuple[float, float]) -> float:
    """Evenly from a range."""
    return float(rng.uniform(span[0], span[1]))


def log_even(rng: np.random.Generator, span: tuple[float, float]) -> float:
    """Evenly in the logarithm from a range of positive numbers."""
    return float(math.exp(rng.uniform(math.log(span[0]), math.log(span[1]))))


def chance(rng: np.random.Generator, share: float) -> bool:
    """True in this share of cases; always uses one number up, so later ones do not depend on `share`."""
    return bool(rng.random() < share)
