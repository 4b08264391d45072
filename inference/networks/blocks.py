"""What several of the networks share: the mathematics is the same, the entry names are not."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


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


def channels_last(net: nn.Module) -> nn.Module:
    """Lay the weights out so that convolutions run channels-last, the fastest layout on CPUs and with fp16.

    As `net.to(memory_format=torch.channels_last)`, but for networks too that hold weights of five axes. Inputs
    of four axes should be given in the same layout. Changes and returns `net`.
    """
    for parameter in net.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return net
