"""PSNR and SSIM as most papers mean them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from training.metrics.pairs import Picture, pair, peak_of
from training.metrics.structure import GAUSSIAN_11, Window, similarity


def psnr(result: Picture, truth: Picture, *, peak: float | None = None) -> float:
    """Peak signal-to-noise ratio in dB, 10·log10(peak² / mean squared error over all pixels and channels).

    Nothing is clipped or rounded. A batch gives one value, of the error over all of it; for the mean over
    pictures, which papers report, call it for each. Infinite for equal pictures.

    Args:
        result, truth: of one size; layouts as `training.metrics.pairs` says.
        peak: the largest value that a picture can have; None: 255 for uint8, 1 for floating point.

    Raises:
        ValueError: sizes or ranges differ, or a value is not finite.
    """
    top = peak_of(result, truth, peak)
    return decibels(mean_square(*pair(result, truth)), top)


def ssim(result: Picture, truth: Picture, *, peak: float | None = None) -> float:
    """Structural similarity, mean over pixels, channels and batch (Z. Wang et al., IEEE TIP 2004).

    Gaussian window 11×11 with σ 1.5 wholly inside the picture, K1 = 0.01, K2 = 0.03, population variances, each
    channel by itself. 1 for equal pictures.

    Args:
        result, truth: of one size, at least 11×11; layouts as `training.metrics.pairs` says.
        peak: length of the range; None: 255 for uint8, 1 for floating point.

    Raises:
        ValueError: sizes or ranges differ, a value is not finite, or a side is below 11.
    """
    top = peak_of(result, truth, peak)
    return mean_similarity(*pair(result, truth), peak=top, window=GAUSSIAN_11)


def mean_square(a: Tensor, b: Tensor) -> float:
    """Mean squared difference over everything."""
    return float(torch.mean((a - b) ** 2))


def decibels(error: float, peak: float) -> float:
    """10·log10(peak² / error), infinite for no error."""
    return math.inf if error == 0 else 10 * math.log10(peak * peak / error)


def mean_similarity(a: Tensor, b: Tensor, *, peak: float, window: Window, sample: bool = False) -> float:
    """SSIM of float64 planes, see `structure.similarity`."""
    return float(similarity(a, b, peak=peak, window=window, sample=sample).mean())
