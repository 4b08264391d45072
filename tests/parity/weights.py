"""Deterministic weights: both sides of a parity case fill a network's entries with the same numbers.

A case ships no weights, only the names and shapes of a published checkpoint's entries. The values depend on
the case's seed and on the entry's name alone, so two implementations that hold the same entries agree.
"""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray


def tensor(name: str, shape: tuple[int, ...], seed: int) -> NDArray[np.generic]:
    """The value of entry `name`: float32 of `shape`, or int64 zeros for a normalisation's counter."""
    if name.endswith("num_batches_tracked"):
        return np.zeros(shape, np.int64)
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    noise = rng.standard_normal(shape).astype(np.float32)
    if name.endswith("running_var"):
        return (1.0 + 0.2 * np.abs(noise)).astype(np.float32)
    if len(shape) <= 1:
        # A norm's scale sits near one, every other vector (bias, mean, slope) near zero.
        centre = 1.0 if name.endswith("weight") else 0.0
        return (centre + 0.05 * noise).astype(np.float32)
    fan_in = int(np.prod(shape[1:]))
    return (noise / np.sqrt(fan_in)).astype(np.float32)
