"""PWC-Net: the optical flow between two pictures, as CDVD-TSP's checkpoints hold it.

D. Sun et al., PWC-Net: CNNs for Optical Flow Using Pyramid, Warping, and Cost Volume, CVPR 2018,
arXiv 1709.02371. Written from the formulas; the published weights that CDVD-TSP is tuned from are
non-commercial.
"""

from __future__ import annotations

from math import ceil

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from inference.networks.warping import backward_warp, cost_volume, warp_coverage

_SLOPE = 0.1
_REACH = 4
_COSTS = (2 * _REACH + 1) ** 2
_NAMES = ("One", "Two", "Thr", "Fou", "Fiv", "Six")
_WIDTHS = (16, 32, 64, 96, 128, 196)  # of levels 1…6
_DENSE = (128, 128, 96, 64, 32)
_DIVISOR = 64
_FLOW_UNIT = 20.0


def _conv(inside: int, outside: int, stride: int = 1, dilation: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inside, outside, 3, stride=stride, padding=dilation, dilation=dilation)


def _lrelu() -> nn.LeakyReLU:
    return nn.LeakyReLU(_SLOPE, inplace=True)


class _Extractor(nn.Module):
    """Six levels of features, each half the size of the one before."""

    def __init__(self) -> None:
        super().__init__()
        inside = 3
        for name, width in zip(_NAMES, _WIDTHS, strict=True):
            layers = (_conv(inside, width, stride=2), _conv(width, width), _conv(width, width))
            self.add_module(f"module{name}", nn.Sequential(*(m for c in layers for m in (c, _lrelu()))))
            inside = width

    def forward(self, x: Tensor) -> list[Tensor]:
        """(N, 3, H, W) gives the maps of levels 1…6."""
        maps = []
        for level in self.children():
            x = level(x)
            maps.append(x)
        return maps


class _Decoder(nn.Module):
    """One level: warps, compares, and reads the flow from a dense block; new channels stand in front."""

    def __init__(self, level: int) -> None:
        super().__init__()
        self.unit = _FLOW_UNIT / 2**level
        inside = self.inside(level)
        if level < len(_WIDTHS):
            self.moduleUpflow = nn.ConvTranspose2d(2, 2, 4, stride=2, padding=1)
            above = self.inside(level + 1) + sum(_DENSE)
            self.moduleUpfeat = nn.ConvTranspose2d(above, 2, 4, stride=2, padding=1)
        for name, width in zip(_NAMES, _DENSE, strict=False):
            self.add_module(f"module{name}", nn.Sequential(_conv(inside, width), _lrelu()))
            inside += width
        self.moduleSix = nn.Sequential(_conv(inside, 2))

    @staticmethod
    def inside(level: int) -> int:
        """Channels that enter the dense block of a level."""
        return _COSTS if level == len(_WIDTHS) else _COSTS + _WIDTHS[level - 1] + 4

    def upsample(self, flow: Tensor, feature: Tensor) -> tuple[Tensor, Tensor]:
        """Flow and features of the level above, two channels each, at this level's size."""
        return self.moduleUpflow(flow), self.moduleUpfeat(feature)

    def volume(self, first: Tensor, second: Tensor, up: Tensor | None) -> Tensor:
        """The cost volume of `first` and `second`, the latter warped by the flow from above."""
        if up is not None:
            flow = up * self.unit
            inside = (warp_coverage(flow) > 0.999).to(second.dtype)
            second = backward_warp(second, flow, "zeros") * inside
        return F.leaky_relu_(cost_volume(first, second, _REACH), _SLOPE)

    def forward(
        self, first: Tensor, second: Tensor, above: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, Tensor]:
        """Maps of both pictures (N, C, h, w); flow and features of the level above.

        Returns:
            flow (N, 2, h, w) in units of 1/20 pixel of the picture, features (N, D, h, w).
        """
        if above is None:
            x = self.volume(first, second, None)
        else:
            up, feature = self.upsample(*above)
            x = torch.cat([self.volume(first, second, up), first, up, feature], dim=1)
        for name in _NAMES[: len(_DENSE)]:
            x = torch.cat([self.get_submodule(f"module{name}")(x), x], dim=1)
        return self.moduleSix(x), x


class _Refiner(nn.Module):
    """Dilated convolutions that correct the flow of the finest level."""

    def __init__(self) -> None:
        super().__init__()
        widths = (_Decoder.inside(2) + sum(_DENSE), 128, 128, 128, 96, 64, 32, 2)
        dilations = (1, 2, 4, 8, 16, 1, 1)
        layers: list[nn.Module] = []
        for inside, outside, dilation in zip(widths, widths[1:], dilations, strict=False):
            layers += [_conv(inside, outside, dilation=dilation), _lrelu()]
        self.moduleMain = nn.Sequential(*layers[:-1])

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.moduleMain(x)
        return out


class PWCNet(nn.Module):
    """The flow network itself: sides are multiples of 64, the flow comes at a quarter of the size."""

    def __init__(self) -> None:
        super().__init__()
        self.moduleExtractor = _Extractor()
        for level in range(2, len(_WIDTHS) + 1):
            self.add_module(f"module{_NAMES[level - 1]}", _Decoder(level))
        self.moduleRefiner = _Refiner()

    def pyramid(self, image: Tensor) -> list[Tensor]:
        """Features of a picture (N, 3, H, W); they depend on it alone and may be kept."""
        maps: list[Tensor] = self.moduleExtractor(image)
        return maps

    def decode(self, first: list[Tensor], second: list[Tensor]) -> Tensor:
        """The flow (N, 2, H/4, W/4) from the pyramid of the reference to that of the other picture."""
        above: tuple[Tensor, Tensor] | None = None
        for level in range(len(_WIDTHS), 1, -1):
            decoder = self.get_submodule(f"module{_NAMES[level - 1]}")
            above = decoder(first[level - 1], second[level - 1], above)
        assert above is not None
        flow, feature = above
        refined: Tensor = flow + self.moduleRefiner(feature)
        return refined

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Two pictures (N, 3, H, W) give (N, 2, H/4, W/4) in units of 1/20 pixel."""
        return self.decode(self.pyramid(first), self.pyramid(second))


class FlowNet(nn.Module):
    """PWC-Net for pictures of any size: resized to multiples of 64, the flow brought back to pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.moduleNetwork = PWCNet()

    def pyramid(self, image: Tensor) -> list[Tensor]:
        """Features of a picture (N, 3, H, W), which `forward` takes."""
        height, width = (_DIVISOR * ceil(side / _DIVISOR) for side in image.shape[-2:])
        if image.shape[-2:] != (height, width):
            image = F.interpolate(image, (height, width), mode="bilinear", align_corners=False)
        return self.moduleNetwork.pyramid(image)

    def forward(self, first: list[Tensor], second: list[Tensor], size: tuple[int, int]) -> Tensor:
        """From the reference's pyramid to the other's: for each pixel of the reference where to look.

        Args:
            first, second: of `pyramid`.
            size: (H, W) of the pictures.

        Returns:
            (N, 2, H, W) in pixels, to the right and down.
        """
        height, width = size
        coarse = self.moduleNetwork.decode(first, second)
        flow = F.interpolate(coarse, size, mode="bilinear", align_corners=False)
        across, down = (_FLOW_UNIT * side / (_DIVISOR * ceil(side / _DIVISOR)) for side in (width, height))
        # By numbers, not by a tensor of them: bringing that to a GPU would wait for it.
        return torch.stack([flow[:, 0] * across, flow[:, 1] * down], dim=1)
