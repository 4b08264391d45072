"""The fusion of GEM: event features at any resolution meet image features at the image's resolution.

X. Zhang et al., Generalizing Event-Based Motion Deblurring in Real-World Scenarios, ICCV 2023,
arXiv 2308.05932. An implicit function after LIIF (Y. Chen et al., CVPR 2021, arXiv 2012.09161) resamples,
then a modulated deformable convolution aligns.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import product

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from inference.networks import kernels
from inference.networks.blocks import in_float32, widened
from inference.networks.deformable import modulated_deform_conv

# Pixels that one step on a CPU takes, times channels: the four layers then work in the cache.
_CPU_STEP = 1 << 18
# As many go into one step elsewhere, of several samples together: a GPU waits for the calls, not for the work.
_GPU_STEP = 1 << 26
# Channels up to which the layers behind the first fit into a block of a GPU in float32.
_EXACT = 64
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


@cache  # none is ever dropped: a recorded graph goes on reading them
@torch.inference_mode(False)
def _tables(events: int, pixels: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Both shifts of an axis, for the kernel: indices (4, N) int32 and relative positions (2, N) float32."""
    both = [_axis(events, pixels, sign, device) for sign in _SIGNS]
    at = torch.stack([a.event for a in both] + [a.image for a in both]).to(torch.int32)
    return at, torch.stack([a.relative for a in both])


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
        if kernels.serve_maps(self, event, image) and (c <= _EXACT or event.dtype in kernels.HALF):
            return self._in_one_pass(event, image)
        first, bias = self._first(2 / height * h, 2 / width * w)
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

    def _first(self, rows: float, columns: float) -> tuple[Tensor, Tensor]:
        """The first layer's weight, and its bias together with what the cells' size adds.

        Args:
            rows, columns: sides of an image pixel, in half event pixels.
        """
        first, bias = self.imnet.entries("0")
        c = self.channels
        # By numbers, not by a tensor of them: bringing that to a GPU would wait for it.
        return first, bias + first[:, c + 2] * rows + first[:, c + 3] * columns

    def _in_one_pass(self, event: Tensor, image: Tensor) -> Tensor:
        """The same by a kernel, in the number type of the maps: see `Fusion`."""
        from inference.networks.kernels.query import query

        (n, c, h, w), (height, width), kind = event.shape, image.shape[-2:], event.dtype
        first, bias = self._first(2 / height * h, 2 / width * w)
        said = F.linear(kernels.rows_of_channels(event), first[:, :c].to(kind)).view(n, h * w, c)
        own = F.linear(kernels.rows_of_channels(image), first[:, c + 4 :].to(kind)).view(-1, height * width, c)
        others = [self.imnet.entries(index) for index in ("2", "4", "6")]
        vectors = torch.stack([first[:, c], first[:, c + 1], bias, *(b for _, b in others)])
        weights = torch.stack([weight.t() for weight, _ in others]).to(kind)
        tables = (*_tables(h, height, event.device), *_tables(w, width, event.device))
        return query(said, own, (h, w, height, width), tables, vectors, weights)


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
        if kernels.serve_maps(self, x):
            return self._in_one_pass(x)
        offset, mask = self.conv_offset_mask(x).split([2 * self.taps, self.taps], dim=1)
        return modulated_deform_conv(x, offset, mask.sigmoid(), self.weight, self.bias)

    def _in_one_pass(self, x: Tensor) -> Tensor:
        """The same by a kernel, in the number type of the map: see `Fusion`."""
        from inference.networks.kernels.deform import deform_conv

        conv = self.conv_offset_mask
        assert conv.bias is not None
        # Tensor cores want channels by the eight: those behind the last are zero and read by nobody.
        behind = -3 * self.taps % 8 if x.dtype in kernels.HALF else 0
        weight = F.pad(conv.weight.to(x.dtype), (0, 0, 0, 0, 0, 0, 0, behind))
        moved = F.conv2d(x, weight, padding=conv.padding)
        offset, mask = moved[:, : 2 * self.taps], moved[:, 2 * self.taps : 3 * self.taps]
        return deform_conv(x, offset, mask, self.weight, self.bias, conv.bias)


class Fusion(nn.Module):
    """Multi-scale feature fusion of one level.

    It computes in float32, under autocast too: positions differ by 1e-6 and areas begin at 1e-9, which half
    precision does not hold.

    Where our own kernels serve (`inference.networks.kernels`), autocast in float16 or bfloat16 holds for what
    is no position. Rounded to that type are: both factors of every product; of what is stored, the maps, the
    first layer's two products, the map between implicit function and deformable convolution, and offsets and
    masks as their convolution gives them, before its bias. All sums, biases, activations, relative positions,
    areas and shares, the offsets' fractions and the masks' sigmoid are float32.

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
            (N, C, H, W) float32; of autocast's type where kernels gave it.
        """
        kind = kernels.autocast_type(event) if kernels.serve_maps(self, event, image) else None
        event, image = (widened(x) if kind is None else x.to(kind) for x in (event, image))
        with in_float32(event):
            out: Tensor = self.dcn(self.mlp(event, image))
            return out
