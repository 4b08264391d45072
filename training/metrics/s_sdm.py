"""S-SDM's evaluation (K. Chen et al., NeurIPS 2024): floating point, and everything on −1…1.

Both pictures x in 0…1 are mapped to clamp(2x − 1, −1, 1); no rounding to 8 bits, no border, channels BGR (or
one). Only the middle of the exposure counts. What differs from the usual figures: the MSE is 4 times the one on
0…1, and SSIM's luminance term sees values around zero, so it compares with no other paper's.
"""

from __future__ import annotations

from torch import Tensor

from inference.representations.coding import Mode
from training.metrics.pairs import Picture, floating_pair
from training.metrics.plain import decibels, mean_similarity, mean_square
from training.metrics.structure import UNIFORM_7


def mse(result: Picture, truth: Picture) -> float:
    """Mean squared error on −1…1, 4 times the usual one.

    Args:
        result, truth: floating point in 0…1; what lies outside is clipped.

    Raises:
        ValueError: as `training.metrics.psnr`.
    """
    return mean_square(*_mapped(result, truth))


def psnr(result: Picture, truth: Picture, *, mode: Mode = Mode.PUBLISHED) -> float:
    """PSNR in dB; the usual one on 0…1 but for one quirk.

    Args:
        result, truth: as at `mse`.
        mode: PUBLISHED: where the result is nowhere darker than mid-gray, the range is taken as 1 instead of 2
            and the value drops by 6.02 dB. CORRECTED: the range is always 2.

    Raises:
        ValueError: as `training.metrics.psnr`.
    """
    a, b = _mapped(result, truth)
    bright = mode is Mode.PUBLISHED and float(a.min()) >= 0
    return decibels(mean_square(a, b), 1.0 if bright else 2.0)


def ssim(result: Picture, truth: Picture) -> float:
    """SSIM on −1…1, range 2: 7×7 uniform window, sample variances, whole windows only.

    Raises:
        ValueError: as `training.metrics.ssim`, with a window of 7.
    """
    return mean_similarity(*_mapped(result, truth), peak=2.0, window=UNIFORM_7, sample=True)


def _mapped(result: Picture, truth: Picture) -> tuple[Tensor, Tensor]:
    a, b = floating_pair(result, truth, "S-SDM")
    return (2 * a - 1).clamp(-1, 1), (2 * b - 1).clamp(-1, 1)
