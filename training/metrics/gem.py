"""GEM's evaluation (X. Zhang et al., ICCV 2023): 8-bit pictures, SSIM with a uniform window.

Result and truth are `codes.truncated` first, channels BGR, no border. The authors report the mean over all
predictions; one that equals the truth makes the mean infinite.
"""

from __future__ import annotations

from training.metrics.pairs import Picture, pair
from training.metrics.plain import decibels, mean_similarity, mean_square
from training.metrics.structure import UNIFORM_11

PEAK = 255.0


def psnr(result: Picture, truth: Picture) -> float:
    """PSNR in dB of two uint8 pictures over all pixels and channels; infinite when equal.

    Raises:
        ValueError: as `training.metrics.psnr`; not uint8.
    """
    return decibels(mean_square(*pair(_eight_bit(result), _eight_bit(truth))), PEAK)


def ssim(result: Picture, truth: Picture) -> float:
    """SSIM of two uint8 pictures, 11×11 uniform window, whole windows only, population variances.

    It is not the Gaussian-window SSIM of most papers.

    Raises:
        ValueError: as `training.metrics.ssim`; not uint8.
    """
    return mean_similarity(*pair(_eight_bit(result), _eight_bit(truth)), peak=PEAK, window=UNIFORM_11)


def _eight_bit(picture: Picture) -> Picture:
    if "uint8" not in str(picture.dtype):
        raise ValueError(
            f"GEM is measured on 8-bit pictures, not {picture.dtype}; see training.metrics.codes.truncated"
        )
    return picture
