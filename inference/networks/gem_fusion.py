"""The fusion of GEM: event features at any resolution meet image features at the image's resolution.

X. Zhang et al., Generalizing Event-Based Motion Deblurring in Real-World Scenarios, ICCV 2023,
arXiv 2308.05932. An implicit function after LIIF (Y. Chen et al., CVPR 2021, arXiv 2012.09161) resamples,
then a modulated deformable convolution aligns.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from inference.networks.blocks import in_float32, widened
from inference.networks.deformable import modulated_deform_conv

# Pixels that one step on a CPU takes, times channels: the four layers then work in the cache.
_CPU_STEP = 1 << 18
# As many go into one step elsewhere, of several samples together: a GPU waits for the calls, not for the work.
_GPU_STEP = 1 << 26
_SIGNS = (-1, 1)


def _centres(n: int, device: torch.device) -> Tensor:
    """(n,) pixel centres on an axis that runs from −1 to 1, rounded as the published code rounds."""
    return (-1 + 1 / n) + (2 / n) * torch.arange(n, device=device, dtype=torch.float32)


@dataclass(frozen=True)
class _Axis:
    """One axis of the sampling, for one of the two shifts.

    Attributes:
        event: (N,) index of the event pixel nearest to the shifted position.
        image: (N,) index of the image pixel nearest to it.
        relative: (N,) from that event pixel's centre to the image pixel's own, in half event pixels.
    """

    event: Tensor
    image: Tensor
    relative: Tensor


@lru_cache(maxsize=128)
@torch.inference_mode(False)  # a table made during inference must serve training too
def _axis(events: int, pixels: int, sign: int, device: torch.device) -> _Axis:
    """The sampling of `pixels` image pixels from `events` event pixels, shifted by half an event pixel.

    The indices are the exact integer form of a nearest-neighbour search in float32 whose ties are broken by
    an offset of 1e-6. The relative position stays float32 on purpose: where it is mathematically zero its
    rounding decides the weights.
    """
    i = torch.arange(pixels, device=device, dtype=torch.int64)
    position = (2 * i + 1) * events + sign * pixels
    event = position.div(2 * pixels, rounding_mode="floor").clamp(0, events - 1)
    image = position.div(2 * events, rounding_mode="floor").clamp(0, pixels - 1)
    relative = (_centres(pixels, device) - _centres(events, device)[event]) * events
    return _Axis(event, image, relative)


class _Layers(nn.Module):
    """Four linear layers; the entries stand at 0, 2, 4 and 6 of `layers`."""

    def __init__(self, inside: int, width: int) -> None:
        super().__init__()
        sizes = {"0": inside, "2": width, "4": width, "6": width}
        self.layers = nn.ModuleDict({index: nn.Linear(size, width) for index, size in sizes.items()})

    def entries(self, index: str) -> tuple[Tensor, Tensor]:
        """Weight and bias of a layer."""
        layer = self.layers[index]
        assert isinstance(layer, nn.Linear)
        return layer.weight, layer.bias


class _Query(nn.Module):
    """The implicit function: what the events say at each image pixel.

    Four predictions, from positions half an event pixel away in each direction, weighed by the areas
    opposite to them. Two things that the mathematics allows and the published code does not use: the first
    layer is linear in features that are only *repeated* by nearest sampling, so it runs at the resolution at
    which they live; and the last layer has no activation behind it, so it runs once on the weighed sum.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.imnet = _Layers(2 * channels + 4, channels)

    def forward(self, event: Tensor, image: Tensor) -> Tensor:
        """(N, C, h, w) and (N or 1, C, H, W) give (N, C, H, W), channels-last."""
        n, c, h, w = event.shape
        height, width = image.shape[-2:]
        first, bias = self.imnet.entries("0")
        # By numbers, not by a tensor of them: bringing that to a GPU would wait for it.
        bias = bias + first[:, c + 2] * (2 / height * h) + first[:, c + 3] * (2 / width * w)
        from_event = F.linear(event.permute(0, 2, 3, 1), first[:, :c], bias).reshape(n, h * w, c)
        from_image = F.linear(image.permute(0, 2, 3, 1), first[:, c + 4 :]).reshape(-1, height * width, c)
        rows = [_axis(h, height, sign, event.device) for sign in _SIGNS]
        columns = [_axis(w, width, sign, event.device) for sign in _SIGNS]
        towards = [(r, s) for r in rows for s in columns]
        areas = [(r.relative[:, None] * s.relative).abs() + 1e-9 for r, s in towards]
        total = areas[0] + areas[1] + areas[2] + areas[3]
        shares = [area / total for area in reversed(areas)]

        step, together = _at_once(height, width * c, event.device)
        out = []
        for sample, start in product(range(0, n, together), range(0, height, step)):
            part = slice(start, start + step)
            said = from_event[sample : sample + together]
            own = from_image[sample : sample + together] if len(from_image) > 1 else from_image
            mixed = None
            for (row, column), share in zip(towards, shares, strict=True):
                at_event = (row.event[part, None] * w + column.event).view(-1)
                at_image = (row.image[part, None] * width + column.image).view(-1)
                hidden = _rows(said, at_event)
                hidden.add_(_rows(own, at_image)).view(len(said), -1, width, c).add_(
                    row.relative[part, None, None] * first[:, c]
                ).add_(column.relative[:, None] * first[:, c + 1])
                hidden = F.relu_(hidden)
                for index in ("2", "4"):
                    hidden = F.relu_(F.linear(hidden, *self.imnet.entries(index)))
                weight = share[part].reshape(-1, 1)
                mixed = hidden * weight if mixed is None else mixed.addcmul_(hidden, weight)
            assert mixed is not None
            out.append(F.linear(mixed, *self.imnet.entries("6")).view(-1, c))
        return torch.cat(out).view(n, height, width, c).permute(0, 3, 1, 2)


def _at_once(height: int, row: int, device: torch.device) -> tuple[int, int]:
    """Rows and samples of one step, where a row has `row` numbers."""
    if device.type == "cpu":
        return max(1, _CPU_STEP // row), 1
    return height, max(1, _GPU_STEP // (height * row))


def _rows(maps: Tensor, at: Tensor) -> Tensor:
    """Rows `at` of every one of the maps (N, K, C): (N, len(at), C)."""
    if len(maps) == 1:
        return maps[0].index_select(0, at)[None]
    every = torch.arange(0, len(maps) * maps.shape[1], maps.shape[1], device=at.device)[:, None] + at
    return maps.flatten(0, 1).index_select(0, every.view(-1)).view(len(maps), len(at), -1)


class _Align(nn.Module):
    """Modulated deformable convolution that reads its offsets and masks from its own input."""

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        bound = (channels * kernel**2) ** -0.5
        self.taps = kernel**2
        self.weight = nn.Parameter(torch.empty(channels, channels, kernel, kernel).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(channels).uniform_(-bound, bound))
        self.conv_offset_mask = nn.Conv2d(channels, 3 * self.taps, kernel, padding=kernel // 2)
        # No offsets and half the weight everywhere: training starts from an ordinary convolution.
        nn.init.zeros_(self.conv_offset_mask.weight)
        if self.conv_offset_mask.bias is not None:
            nn.init.zeros_(self.conv_offset_mask.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) gives the same shape."""
        offset, mask = self.conv_offset_mask(x).split([2 * self.taps, self.taps], dim=1)
        return modulated_deform_conv(x, offset, mask.sigmoid(), self.weight, self.bias)


class Fusion(nn.Module):
    """Multi-scale feature fusion of one level.

    It computes in float32, under autocast too: positions differ by 1e-6 and areas begin at 1e-9, which half
    precision does not hold.

    Args:
        channels: of both maps and of the result.
        kernel: of the deformable convolution, odd.
    """

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.mlp = _Query(channels)
        self.dcn = _Align(channels, kernel)

    def forward(self, event: Tensor, image: Tensor) -> Tensor:
        """Event map (N, C, h, w) and image map (N or 1, C, H, W), both edge to edge over the same field.

        Returns:
            (N, C, H, W) float32.
        """
        with in_float32(event):
            out: Tensor = self.dcn(self.mlp(widened(event), widened(image)))
            return out
