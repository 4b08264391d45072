"""EFNet's evaluation (L. Sun et al., ECCV 2022): PSNR, and SSIM of the picture as a volume.

Results are `codes.rounded` first (an option of the authors measures the floating-point values instead),
channels BGR, no border. The authors report the mean over pictures, each counting the same.
"""

from __future__ import annotations

from inference.representations.coding import Mode
from training.metrics.pairs import Picture, pair, peak_of
from training.metrics.plain import decibels, mean_similarity, mean_square
from training.metrics.structure import Window

# Height, width and colour alike; with three channels, each window sees all of them, the outer ones repeatedly.
VOLUME = Window(11, 1.5, edge="replicate", channels=True)


def psnr(result: Picture, truth: Picture, *, border: int = 0, mode: Mode = Mode.PUBLISHED) -> float:
    """PSNR in dB over all pixels and channels; infinite for equal pictures.

    Args:
        result, truth: uint8, or floating point in 0…1.
        border: pixels to leave out along every side; 0 in all published figures.
        mode: PUBLISHED: the peak is 1 if the *result's* largest value is at most 1, else 255, so that a
            floating-point result that overshoots 1 gains 48 dB and a black 8-bit one loses as much.
            CORRECTED: 255 for uint8, 1 for floating point.

    Raises:
        ValueError: as `training.metrics.psnr`.
    """
    a, b = pair(result, truth, border=border)
    return decibels(mean_square(a, b), _peak(result, truth, mode))


def ssim(result: Picture, truth: Picture, *, border: int = 0, mode: Mode = Mode.PUBLISHED) -> float:
    """SSIM with an 11×11×11 Gaussian, σ 1.5, over height, width and channels, edges repeated.

    It reads clearly higher than the usual SSIM (some 0.04 on pictures of 29 dB). The authors compute it in
    float32, which moves the fifth decimal.

    Args:
        result, truth, border, mode: as at `psnr`.

    Raises:
        ValueError: as `training.metrics.psnr`.
    """
    a, b = pair(result, truth, border=border)
    return mean_similarity(a, b, peak=_peak(result, truth, mode), window=VOLUME)


def _peak(result: Picture, truth: Picture, mode: Mode) -> float:
    if mode is Mode.PUBLISHED:
        return 1.0 if float(result.max()) <= 1 else 255.0
    return peak_of(result, truth, None)
