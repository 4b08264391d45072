"""EFNet's loss (L. Sun et al., ECCV 2022): half the negative PSNR of both stages.

    loss = Σ over both outputs  ½ · (10 / ln 10) · mean over n of ln(MSE_n + 1e-8)

MSE_n is the mean squared error of sample n over its channels and pixels, un-clipped. 1e-8 keeps the logarithm
of an exact sample finite (−40 per output).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from training.losses.shapes import same

WEIGHT = 0.5
EPSILON = 1e-8


def psnr_loss(prediction: Tensor, target: Tensor, weight: float = WEIGHT) -> Tensor:
    """weight · (10 / ln 10) · mean over the batch of ln(MSE_n + 1e-8).

    Args:
        prediction, target: (N, C, H, W) in 0…1.
        weight: in front.

    Raises:
        ValueError: different shapes.
    """
    same(prediction, target)
    error = (prediction - target).square().mean(dim=(1, 2, 3))
    return weight * (10 / math.log(10)) * torch.log(error + EPSILON).mean()


def loss(outputs: Sequence[Tensor], target: Tensor, touched: Iterable[Tensor] = ()) -> Tensor:
    """The loss of one step: `psnr_loss` of every output, summed.

    Args:
        outputs: of the network, stage 1 and stage 2; each counts the same.
        target: the sharp pictures.
        touched: *published* training hands over all parameters here. Zero times their sum is added, so that
            parameters which took no part get zero gradients instead of none, and weight decay shrinks them:
            without a mask that slowly erases the unused `emgc_*` entries. *Corrected* training hands over
            nothing and leaves them as they are; the loss is the same number.

    Raises:
        ValueError: no output, or different shapes.
    """
    if not outputs:
        raise ValueError("EFNet's loss of no output")
    total = torch.stack([psnr_loss(out, target) for out in outputs]).sum()
    for parameter in touched:
        total = total + 0 * parameter.sum()
    return total
