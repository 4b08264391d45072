"""Backward warping by an optical flow, and the cost volume: what motion compensation is made of."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F


def backward_warp(x: Tensor, flow: Tensor, padding: Literal["zeros", "border"]) -> Tensor:
    """`x` read bilinearly at `(column + flow[0], row + flow[1])`.

    Corner pixels' centres are the corners of the normalised grid (`align_corners=True`), the only behaviour
    of the PyTorch with which the published weights were trained.

    Args:
        x: (N, C, H, W), each side at least 2.
        flow: (N, 2, H, W) in pixels, to the right and down.
        padding: what lies outside.

    Returns:
        (N, C, H, W).
    """
    height, width = x.shape[-2:]
    column = torch.arange(width, device=x.device, dtype=flow.dtype)
    row = torch.arange(height, device=x.device, dtype=flow.dtype)[:, None]
    grid = torch.stack(
        [
            (column + flow[:, 0]) * (2 / (width - 1)) - 1,
            (row + flow[:, 1]) * (2 / (height - 1)) - 1,
        ],
        dim=-1,
    )
    return F.grid_sample(x, grid.to(x.dtype), mode="bilinear", padding_mode=padding, align_corners=True)


def warp_coverage(flow: Tensor) -> Tensor:
    """What a picture of ones becomes when it is warped with zeros outside: how much of each sample is inside.

    Args:
        flow: (N, 2, H, W) in pixels.

    Returns:
        (N, 1, H, W) in 0…1: 1 where the target lies inside, falling to 0 one pixel outside.
    """
    height, width = flow.shape[-2:]
    column = torch.arange(width, device=flow.device, dtype=flow.dtype) + flow[:, :1]
    row = torch.arange(height, device=flow.device, dtype=flow.dtype)[:, None] + flow[:, 1:]
    across = torch.minimum(column + 1, width - column).clamp_(0, 1)
    return across * torch.minimum(row + 1, height - row).clamp_(0, 1)


def cost_volume(first: Tensor, second: Tensor, reach: int = 4) -> Tensor:
    """Mean product over the channels of each pixel with the pixels around its place in the other map.

    `V[n, (dy+r)·(2r+1) + dx+r, y, x] = mean_c first[n, c, y, x] · second[n, c, y+dy, x+dx]`, zero outside.
    D. Sun et al., PWC-Net, CVPR 2018, arXiv 1709.02371.

    Args:
        first, second: (N, C, H, W).
        reach: r, the largest displacement.

    Returns:
        (N, (2r+1)², H, W).
    """
    padded = F.pad(second, (reach, reach, reach, reach))
    products = _one_by_one if first.device.type == "cpu" else _row_by_row
    return products(first, padded, 2 * reach + 1) / first.shape[1]


def _one_by_one(first: Tensor, padded: Tensor, side: int) -> Tensor:
    """(N, side², H, W) sums over the channels; each product stays in a CPU's cache."""
    height, width = first.shape[-2:]
    products = [
        (first * padded[:, :, dy : dy + height, dx : dx + width]).sum(1)
        for dy in range(side)
        for dx in range(side)
    ]
    return torch.stack(products, dim=1)


def _row_by_row(first: Tensor, padded: Tensor, side: int) -> Tensor:
    """The same with a tenth of the operations: a GPU takes less time for one than to be asked for it."""
    height, width = first.shape[-2:]
    rows = [
        (first[:, :, :, None] * padded[:, :, dy : dy + height].unfold(3, width, 1)).sum(1)
        for dy in range(side)
    ]  # fmt: skip
    return torch.stack(rows, dim=1).transpose(2, 3).flatten(1, 2)
