"""The event mask with torch, on any device. See `mask`."""

from __future__ import annotations

import torch
from torch.nn import functional as F


@torch.no_grad()
def event_mask(grid: torch.Tensor, *, closed: bool = True) -> torch.Tensor:
    """The mask of representations.

    Args:
        grid: (C, H, W), or (N, C, H, W) for a batch.
        closed: with the closing, as published; without it the bare support.

    Returns:
        (1, H, W) or (N, 1, H, W) uint8, 0 or 255. The network takes it as 0.0 and 1.0.
    """
    set_ = (grid != 0).any(dim=-3, keepdim=True).to(torch.float32)
    if closed:
        # Pooling pads with minus infinity, so pixels outside count in neither step.
        wide = F.max_pool2d(set_, 3, stride=1, padding=1)
        set_ = -F.max_pool2d(-wide, 3, stride=1, padding=1)
    return set_.to(torch.uint8) * 255
