"""What several of the networks share: the mathematics is the same, the entry names are not."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# Pixels that one step on a CPU takes where nothing but the pixel itself counts: they then stay in the cache.
_CPU_RUN = 1024


def residual(x: Tensor, first: nn.Module, second: nn.Module) -> Tensor:
    """`x + second(relu(first(x)))`, without an activation after the sum: the residual block of EDSR.

    Args:
        x: (N, C, H, W).
        first, second: keep the shape.
    """
    out: Tensor = x + second(F.relu(first(x), inplace=True))
    return out


def require_multiple(x: Tensor, multiple: int, network: str) -> None:
    """Refuse a picture whose sides do not halve evenly.

    Raises:
        ValueError: height or width of `x` (..., H, W) is not a multiple of `multiple`.
    """
    height, width = x.shape[-2:]
    if height % multiple or width % multiple or not height or not width:
        raise ValueError(
            f"{network} takes sides that are multiples of {multiple}, not {width}×{height}; pad or crop first"
        )


def in_float32(x: Tensor) -> AbstractContextManager[Any]:
    """What is done inside runs in the number types of its inputs (see `widened`), whatever autocast is on.

    Args:
        x: on the device in question.
    """
    return torch.autocast(x.device.type, enabled=False)


def widened(x: Tensor) -> Tensor:
    """Half precision as float32; any other type as it is."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def channels_last(net: nn.Module) -> nn.Module:
    """Lay the weights out so that convolutions run channels-last, the fastest layout on CPUs and with fp16.

    As `net.to(memory_format=torch.channels_last)`, but for networks too that hold weights of five axes. Inputs
    of four axes should be given in the same layout. Changes and returns `net`.
    """
    for parameter in net.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return net


class StackedConv(nn.Conv2d):
    """A convolution of several maps as of one that holds them one behind the other, which is never made.

    `forward(a, b)` is `conv(torch.cat([a, b], dim=1))`: copying maps of a whole picture costs more than the
    additions. Entries are those of `Conv2d`; one group, zero padding.
    """

    def forward(self, *parts: Tensor) -> Tensor:
        """(N, C_i, H, W), whose C_i add up to `in_channels`, give (N, out_channels, H, W)."""
        out: Tensor | None = None
        for part, weight in zip(parts, self.weights_of(parts), strict=True):
            bias = self.bias if out is None else None
            more = F.conv2d(part, weight, bias, self.stride, self.padding, self.dilation)
            out = more if out is None else out.add_(more)
        assert out is not None
        return out

    def weights_of(self, parts: Sequence[Tensor]) -> Sequence[Tensor]:
        """The weight's share of each part."""
        return torch.split(self.weight, [part.shape[1] for part in parts], dim=1)


class PictureConv(nn.Conv2d):
    """A convolution whose result is a picture, or what one is multiplied by: float32 under autocast as well.

    Rounded to bfloat16 a value near 1 is off by up to half a grey level of 255, to float16 by a sixteenth.
    """

    def forward(self, x: Tensor) -> Tensor:
        """As `Conv2d`."""
        with in_float32(x):
            return super().forward(widened(x))


def pointwise(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`conv2d` with a 1×1 kernel.

    On one thread PyTorch gives a single picture to a kernel half as fast as the one for batches; so the rows of
    a channels-last picture go in as a batch. On a GPU cuDNN turns it over and back for a float32 kernel; a
    product of matrices takes it as it lies.
    """
    if not x.is_contiguous(memory_format=torch.channels_last):
        return F.conv2d(x, weight, bias)
    if x.device.type != "cpu":
        return F.linear(x.permute(0, 2, 3, 1), weight.flatten(1), bias).permute(0, 3, 1, 2)
    n, c, height, width = x.shape
    rows = x.permute(0, 2, 3, 1).view(n * height, 1, width, c).permute(0, 3, 1, 2)
    out = F.conv2d(rows, weight, bias).permute(0, 2, 3, 1)
    return out.reshape(n, height, width, -1).permute(0, 3, 1, 2)


def add_pointwise(out: Tensor, conv: StackedConv, *parts: Tensor) -> Tensor:
    """`out + conv(*parts)` of a 1×1 convolution; changes `out` where nothing is to be differentiated.

    Args:
        out: (N, D, H, W), which nobody else needs.
        conv: 1×1, with bias.
        parts: (N, C_i, H, W).
    """
    laid = all(x.is_contiguous(memory_format=torch.channels_last) for x in (out, *parts))
    plain = all(x.dtype == conv.weight.dtype for x in (out, *parts))  # not so under autocast
    if out.device.type != "cpu" or torch.is_grad_enabled() or not (laid and plain) or conv.bias is None:
        apart: Tensor = conv(*parts)
        return apart.add_(out)
    # One pass over `out` for each part, where a convolution and a sum would take three.
    flat = out.permute(0, 2, 3, 1).view(-1, out.shape[1])
    flat.add_(conv.bias)
    for part, weight in zip(parts, conv.weights_of(parts), strict=True):
        flat.addmm_(part.permute(0, 2, 3, 1).view(-1, part.shape[1]), weight.flatten(1).t())
    return out


def pixel_runs(x: Tensor) -> Sequence[Tensor]:
    """(N, C, H, W) as runs of rows (N, rows, W, C) in order: short ones on a CPU at inference, else one."""
    rows = x.permute(0, 2, 3, 1)
    if x.device.type != "cpu" or torch.is_grad_enabled() or torch.compiler.is_compiling():
        return (rows,)
    return torch.split(rows, max(1, _CPU_RUN // x.shape[-1]), dim=1)


def picture_of_pixels(runs: Sequence[Tensor]) -> Tensor:
    """The inverse of `pixel_runs`: (N, C, H, W), channels-last in memory where the runs are contiguous."""
    return (runs[0] if len(runs) == 1 else torch.cat(list(runs), dim=1)).permute(0, 3, 1, 2)
