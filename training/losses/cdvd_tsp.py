"""CDVD-TSP's loss (J. Pan, H. Bai, J. Tang, CVPR 2020): L1, and once more twice on hard pixels.

    loss = L1 + 2 · HEM          HEM = mean over ALL elements of |prediction · mask − target · mask|

Both on one 12-channel picture: the three intermediates and the result, against the frames that they restore. A
pixel is in the mask if its absolute error, summed over the 12 channels, is in the larger half of its picture,
or if it is one of a random tenth. As published, the sum is not divided by the number of pixels in the mask
(some 55 %).

The published random part comes from NumPy's global legacy generator, which training does not seed, so that runs
do not repeat. Here the generator is handed over: a seeded `numpy.random.RandomState` draws exactly what the
published code draws after `numpy.random.seed`; a `torch.Generator` draws on the device, without waiting for it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from training.losses.sc_net import pixel_l1
from training.losses.shapes import same

HARD, RANDOM = 0.5, 0.1  # parts of the pixels
HEM = 2.0

Rng = np.random.RandomState | np.random.Generator | torch.Generator


def stacked(outputs: Sequence[Tensor], targets: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Prediction and target as the loss takes them, (N, 12, H, W).

    Args:
        outputs: recons_1, recons_2, recons_3, out of the network.
        targets: the sharp frames 1, 2, 3 of the window, counted from 0. The middle one is taken twice.

    Raises:
        ValueError: other numbers of them.
    """
    if len(outputs) != 4 or len(targets) != 3:
        raise ValueError(
            f"CDVD-TSP's loss takes 4 outputs and 3 targets, not {len(outputs)} and {len(targets)}"
        )
    return torch.cat(list(outputs), dim=1), torch.cat([*targets, targets[1]], dim=1)


@torch.no_grad()
def hard_mask(prediction: Tensor, target: Tensor, rng: Rng) -> Tensor:
    """(N, 1, H, W), 1 where a pixel counts in HEM; no gradient.

    Args:
        prediction, target: (N, C, H, W).
        rng: draws the random part, one picture after another. A `torch.Generator` must live on the tensors'
            device.

    Raises:
        ValueError: different shapes.
    """
    same(prediction, target)
    n, _, height, width = prediction.shape
    pixels = height * width
    error = (prediction - target).abs().sum(dim=1).reshape(n, pixels)
    # The value at index ⌊pixels / 2⌋ in descending order; only what is truly above it counts.
    threshold = error.kthvalue(pixels - int(HARD * pixels), dim=1, keepdim=True).values
    mask = (error > threshold) | _random(n, pixels, rng, error.device)
    return mask.to(prediction.dtype).reshape(n, 1, height, width)


def _random(n: int, pixels: int, rng: Rng, device: torch.device) -> Tensor:
    count = int(RANDOM * pixels)
    if isinstance(rng, torch.Generator):
        order = torch.rand(n, pixels, generator=rng, device=device).argsort(dim=1)
        return order < count
    flat = np.zeros((n, pixels), np.bool_)
    flat[:, :count] = True
    for row in flat:
        rng.shuffle(row)
    return torch.from_numpy(flat).to(device)


def hem(prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """mean over all elements of |prediction · mask − target · mask|.

    Args:
        prediction, target: (N, C, H, W).
        mask: (N, 1, H, W), shared by the channels.

    Raises:
        ValueError: different shapes.
    """
    return pixel_l1(prediction * mask, target * mask)


def loss(prediction: Tensor, target: Tensor, rng: Rng) -> Tensor:
    """The loss of one step: L1 + 2 · HEM.

    Args:
        prediction, target: (N, 12, H, W) in 0…1, see `stacked`.
        rng: see `hard_mask`.

    Raises:
        ValueError: different shapes.
    """
    mask = hard_mask(prediction, target, rng)
    return pixel_l1(prediction, target) + HEM * hem(prediction, target, mask)
