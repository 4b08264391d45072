"""CDVD-TSP's two evaluations (J. Pan, H. Bai, J. Tang, CVPR 2020): of pictures, and during training.

Both leave out 4 pixels along every side, RGB. Published figures are `psnr` and `ssim` of `codes.rounded`
results, mean over frames, without the first and last two of each video; `validation_psnr` only chooses
checkpoints. The two must not be mixed: values out of range lower the second.
"""

from __future__ import annotations

from training.metrics.pairs import Picture, pair, peak_of
from training.metrics.plain import decibels, mean_similarity, mean_square
from training.metrics.structure import GAUSSIAN_11

BORDER = 4
EQUAL_DB = 100.0  # validation, when nothing differs


def psnr(result: Picture, truth: Picture) -> float:
    """PSNR in dB over all pixels and channels inside the border; infinite when equal.

    Args:
        result, truth: uint8.

    Raises:
        ValueError: as `training.metrics.psnr`; nothing left inside the border.
    """
    peak = peak_of(result, truth, None)
    return decibels(mean_square(*pair(result, truth, border=BORDER)), peak)


def ssim(result: Picture, truth: Picture) -> float:
    """The usual SSIM (see `training.metrics.ssim`) inside the border; its windows cut off 5 pixels more.

    Args:
        result, truth: uint8, at least 19×19 pixels.

    Raises:
        ValueError: as `training.metrics.ssim`.
    """
    peak = peak_of(result, truth, None)
    return mean_similarity(*pair(result, truth, border=BORDER), peak=peak, window=GAUSSIAN_11)


def validation_psnr(result: Picture, truth: Picture) -> float:
    """PSNR in dB of values that are neither clipped nor rounded, inside the border; 100 when equal.

    Args:
        result: floating point, 0…1 with overshoot.
        truth: floating point in 0…1, or uint8.

    Raises:
        ValueError: as `training.metrics.psnr`.
    """
    a, b = pair(result, truth, border=BORDER)
    error = mean_square(a / peak_of(result, result, None), b / peak_of(truth, truth, None))
    return EQUAL_DB if error == 0 else decibels(error, 1.0)
