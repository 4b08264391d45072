"""What a protocol compares: one result and its truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Compared:
    """A result and its truth.

    Attributes:
        name: frame and instant.
        result: (H, W, 3) float32 RGB, 0…1 with overshoot.
        blurred, truth: (H, W, 3) RGB; where nothing is measured the truth is the blurred frame.
    """

    name: str
    result: F32
    blurred: U8
    truth: U8


Outcome = Compared | str
"""A result, or why there is none, in one line."""
