"""From what a network gives to 8 bits, in the two ways of the published evaluations.

On average truncation makes a picture half a code darker than rounding, which alone costs some 0.01 dB at 35 dB.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.metrics.pairs import Picture, planes

Codes = NDArray[np.uint8]


def rounded(values: Picture) -> Codes:
    """Clipped to 0…1, times 255, rounded half to even: EFNet and CDVD-TSP.

    Args:
        values: one picture, in a layout of `training.metrics.pairs`. The product is taken in the values' own
            precision, as published: a value on a half goes where it went there.

    Returns:
        (H, W) or (H, W, C) uint8, channels in the order that they came in.

    Raises:
        ValueError: several pictures, or a value that is not finite.
    """
    return _codes(values, np.rint)


def truncated(values: Picture) -> Codes:
    """As `rounded`, but the fraction is cut off: GEM. Codes / 255 in float32 come back unchanged."""
    return _codes(values, np.trunc)


def _codes(values: Picture, whole: np.ufunc) -> Codes:
    x = planes(values)
    if len(x) != 1:
        raise ValueError(f"{len(x)} pictures: convert one at a time")
    own = np.float32 if str(values.dtype).removeprefix("torch.") == "float32" else np.float64
    scaled = x[0].permute(1, 2, 0).cpu().numpy().astype(own).clip(0, 1) * own(255)
    out: Codes = whole(scaled).astype(np.uint8)
    return out[..., 0] if values.ndim == 2 else out
