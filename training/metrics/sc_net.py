"""SC-Net's evaluation (C. Cao et al., IEEE TNNLS 2023): the clipped result in floating point, RGB.

The authors' GoPro validation crops and flips at random, so its figures cannot be met; measure whole pictures.
"""

from __future__ import annotations

from torch import Tensor

from inference.representations.coding import Mode
from training.metrics.pairs import Picture, floating_pair
from training.metrics.plain import decibels, mean_similarity, mean_square
from training.metrics.structure import UNIFORM_7


def psnr(result: Picture, truth: Picture) -> float:
    """PSNR in dB, peak 1, over all pixels and channels; infinite when equal.

    Args:
        result: floating point, clipped to 0…1 here.
        truth: in 0…1.

    Raises:
        ValueError: as `training.metrics.psnr`.
    """
    return decibels(mean_square(*_clipped(result, truth)), 1.0)


def ssim(result: Picture, truth: Picture, *, mode: Mode = Mode.PUBLISHED) -> float:
    """SSIM: 7×7 uniform window, sample variances, whole windows only, per channel.

    Args:
        result, truth: as at `psnr`.
        mode: PUBLISHED: range 2, what the library of that time assumed for floating point; it raises the value
            (0.778 for 0.752). CORRECTED: range 1, what the values have.

    Raises:
        ValueError: as `training.metrics.ssim`, with a window of 7.
    """
    peak = 2.0 if mode is Mode.PUBLISHED else 1.0
    return mean_similarity(*_clipped(result, truth), peak=peak, window=UNIFORM_7, sample=True)


def _clipped(result: Picture, truth: Picture) -> tuple[Tensor, Tensor]:
    a, b = floating_pair(result, truth, "SC-Net")
    return a.clamp(0, 1), b
