"""SC-Net's loss (C. Cao et al., IEEE TNNLS 2023): pixels, and their spectrum.

    loss = L1(prediction, target) + 0.1 · L1(F(prediction), F(target))

F is the 2-D discrete Fourier transform over height and width, **not normalised**, so its values grow with the
picture; L1 is the mean over all elements, real and imaginary parts as separate ones. Predictions are not
clipped.
"""

from __future__ import annotations

import torch
from torch import Tensor

from training.losses.shapes import same

SPECTRAL = 0.1


def pixel_l1(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean absolute difference over everything.

    Raises:
        ValueError: different shapes.
    """
    same(prediction, target)
    return (prediction - target).abs().mean()


def spectral_l1(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean absolute difference of the real and imaginary parts of both transforms.

    Half precision is widened to float32 first. The transform is linear, so one of the difference is enough.

    Raises:
        ValueError: different shapes.
    """
    same(prediction, target)
    difference = prediction - target
    if difference.dtype in (torch.float16, torch.bfloat16):
        difference = difference.float()
    return torch.view_as_real(torch.fft.fft2(difference)).abs().mean()


def loss(prediction: Tensor, target: Tensor) -> Tensor:
    """The loss of one step, see the module's text.

    Args:
        prediction, target: (N, C, H, W) in 0…1.

    Raises:
        ValueError: different shapes.
    """
    return pixel_l1(prediction, target) + SPECTRAL * spectral_l1(prediction, target)
