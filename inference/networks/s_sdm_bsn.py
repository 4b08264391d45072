"""BSN of S-SDM's teacher: takes the noise from a short temporal average of spikes.

The blind-spot network of S. Laine et al., High-Quality Self-Supervised Deep Image Denoising, NeurIPS 2019,
arXiv 1901.10277, as S-SDM (arXiv 2403.09486) uses it: four rotated half-plane receptive fields, joined by
1×1 convolutions, so that no pixel of a square picture sees itself.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_SLOPE = 0.1


def _shift(x: Tensor) -> Tensor:
    """One row down: zeros enter at the top, the last row leaves."""
    return F.pad(x[:, :, :-1], (0, 0, 1, 0))


class _BlindConv(nn.Module):
    """3×3 convolution whose row r sees the rows r−2, r−1 and r; the outer columns are repeated."""

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inside, outside, 3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        padded = F.pad(F.pad(x, (1, 1, 0, 0), mode="replicate"), (0, 0, 2, 0))
        return F.leaky_relu_(self.conv(padded), _SLOPE)


class _Block(nn.Module):
    """Blind convolutions `conv1`, `conv2`, … in a row."""

    def __init__(self, *channels: int) -> None:
        super().__init__()
        for i, (inside, outside) in enumerate(pairwise(channels), start=1):
            self.add_module(f"conv{i}", _BlindConv(inside, outside))

    def forward(self, x: Tensor) -> Tensor:
        for conv in self.children():
            x = conv(x)
        return x


def _pool(x: Tensor) -> Tensor:
    return F.max_pool2d(_shift(x), 2)


def _up(x: Tensor, partner: Tensor) -> Tensor:
    """Twice the size, zeros around it up to the partner's size, the partner's channels behind."""
    x = F.interpolate(x, scale_factor=2, mode="nearest")
    rows, columns = partner.shape[2] - x.shape[2], partner.shape[3] - x.shape[3]
    x = F.pad(x, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2))
    return torch.cat([x, partner], dim=1)


class _BlindUNet(nn.Module):
    """U-Net of blind convolutions: (N, 1, H, W) gives (N, 96, H, W)."""

    def __init__(self) -> None:
        super().__init__()
        self.enc1 = _Block(1, 48, 48, 48)
        self.enc2 = _Block(48, 48, 48, 48)
        self.enc3 = _Block(48, 96, 96, 48)
        self.dec2 = _Block(96, 96, 96, 96, 96)
        self.dec1 = _Block(97, 96, 96, 96, 96)

    def forward(self, x: Tensor) -> Tensor:
        # The skips are the pooled maps, and the raw input itself.
        half = _pool(self.enc1(x))
        quarter = _pool(self.enc2(half))
        out: Tensor = self.dec1(_up(self.dec2(_up(self.enc3(quarter), half)), x))
        return out


class BSN(nn.Module):
    """The blind-spot denoiser with the published entry names; no convolution has a bias.

    Args:
        n_channels: channels in; only 1 exists.
        n_output: channels out.
        bias, blind: only False and True exist.

    Shapes and ranges of `forward`: (N, 1, H, W), 0…1, of any size whose longer side is less than about three
    times the shorter, gives (N, n_output, H, W), not clipped. Scaling the input scales the output.

    The picture is made square by reflection. In what is not square the reflected border lets some pixels see
    themselves: train on squares.
    """

    def __init__(self, n_channels: int = 1, n_output: int = 1, bias: bool = False, blind: bool = True) -> None:
        super().__init__()
        if n_channels != 1 or bias or not blind:
            raise ValueError("only n_channels=1, bias=False, blind=True were ever published")
        self.unet = _BlindUNet()
        self.nin_A = nn.Conv2d(384, 384, 1, bias=False)
        self.nin_B = nn.Conv2d(384, 96, 1, bias=False)
        self.nin_C = nn.Conv2d(96, n_output, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """The picture without noise; see the class."""
        height, width = x.shape[-2:]
        side = max(height, width)
        top, left = (side - height) // 2, (side - width) // 2
        bottom, right = side - height - top, side - width - left
        if bottom >= height or right >= width:
            raise ValueError(f"BSN takes sides up to about 3 : 1, not {width}×{height}; crop or tile first")
        square = F.pad(x, (left, right, top, bottom), mode="reflect")

        turned = square.transpose(2, 3)
        views = torch.cat([square, turned.flip(3), square.flip(2, 3), turned.flip(2)])
        a, b, c, d = _shift(self.unet(views)).chunk(4)
        joined = torch.cat([a, b.flip(3).transpose(2, 3), c.flip(2, 3), d.flip(2).transpose(2, 3)], dim=1)[
            :, :, top : top + height, left : left + width
        ]
        out = F.leaky_relu_(self.nin_A(joined), _SLOPE)
        out = F.leaky_relu_(self.nin_B(out), _SLOPE)
        denoised: Tensor = self.nin_C(out)
        return denoised
