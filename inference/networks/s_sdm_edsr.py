"""EDSR of S-SDM's teacher: makes a gray temporal average of spikes four times as large.

B. Lim et al., Enhanced Deep Residual Networks for Single Image Super-Resolution, CVPR Workshops 2017,
arXiv 1707.02921 (the baseline model), as S-SDM (arXiv 2403.09486) uses it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from inference.networks.blocks import residual

# What the mean shift takes away and gives back: gray in 0…1, or RGB in 0…255.
_MEANS = {1: (0.446,), 3: (0.4488 * 255, 0.4371 * 255, 0.4040 * 255)}


def _conv3(inside: int, outside: int) -> nn.Conv2d:
    return nn.Conv2d(inside, outside, 3, padding=1)


class _MeanShift(nn.Conv2d):
    """Adds a constant to each channel; frozen, but part of the checkpoint."""

    def __init__(self, channels: int, sign: float) -> None:
        super().__init__(channels, channels, 1)
        with torch.no_grad():
            self.weight.copy_(torch.eye(channels).view(channels, channels, 1, 1))
            if self.bias is not None:
                self.bias.copy_(sign * torch.tensor(_MEANS[channels]))
        self.requires_grad_(False)


class _Residual(nn.Module):
    """Convolutions at 0 and 2 of `body`."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.ModuleDict({index: _conv3(channels, channels) for index in ("0", "2")})

    def forward(self, x: Tensor) -> Tensor:
        return residual(x, self.body["0"], self.body["2"])


class EDSR(nn.Module):
    """EDSR's baseline, ×4, with the published entry names.

    Args:
        color_num: 1 (gray, as S-SDM uses it) or 3.

    Shapes and ranges of `forward`: (N, color_num, H, W) of any size, 0…1 for gray and 0…255 for colour, gives
    (N, color_num, 4H, 4W), not clipped.
    """

    def __init__(self, color_num: int = 1) -> None:
        super().__init__()
        if color_num not in _MEANS:
            raise ValueError(f"color_num is {color_num}; known are 1 and 3")
        width = 64
        self.sub_mean = _MeanShift(color_num, -1.0)
        self.add_mean = _MeanShift(color_num, 1.0)
        self.head = nn.Sequential(_conv3(color_num, width))
        self.body = nn.Sequential(*(_Residual(width) for _ in range(16)), _conv3(width, width))
        doubled = (_conv3(width, 4 * width), nn.PixelShuffle(2))
        again = (_conv3(width, 4 * width), nn.PixelShuffle(2))
        self.tail = nn.Sequential(nn.Sequential(*doubled, *again), _conv3(width, color_num))

    def forward(self, x: Tensor) -> Tensor:
        """The enlarged picture; see the class."""
        head = self.head(self.sub_mean(x))
        out: Tensor = self.add_mean(self.tail(self.body(head) + head))
        return out
