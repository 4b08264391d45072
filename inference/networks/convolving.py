"""Convolutions with what follows them, bias and activation, in as few passes over memory as the device allows.

On a GPU PyTorch adds the bias of a convolution in a pass of its own, and by a kernel that is slow at that.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from inference.networks import kernels
from inference.networks.blocks import StackedConv


def served(module: nn.Module, channels: int, *maps: Tensor) -> bool:
    """Whether `kernels.finish` can add up what the module's convolutions make of these maps.

    Args:
        module: its parameters.
        channels: of the sums.
        maps: (N, C_i, H, W).
    """
    return (
        kernels.rows_fit(channels)
        and all(x.dtype in kernels.TYPES for x in maps)
        and kernels.serve(*maps, *module.parameters())
    )


def unbiased(conv: nn.Conv2d, *parts: Tensor) -> list[Tensor]:
    """What the convolution makes of each part (N, C_i, H, W) without its bias: the sum is what it gives."""
    weights = conv.weights_of(parts) if isinstance(conv, StackedConv) else [conv.weight]
    return [
        F.conv2d(part, weight, None, conv.stride, conv.padding, conv.dilation)
        for part, weight in zip(parts, weights, strict=True)
    ]


def bias_of(conv: nn.Module) -> Tensor:
    """A convolution's bias."""
    bias = conv.get_parameter("bias")
    assert isinstance(bias, Tensor)
    return bias


def relu_of(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """`F.relu(conv(x))`."""
    if served(conv, conv.out_channels, x):
        from inference.networks.kernels.finish import finished

        return finished(unbiased(conv, x), bias_of(conv), 0.0)
    return F.relu_(conv(x))


class BiasedConv(nn.Conv2d):
    """`Conv2d` with a bias: one group, zero padding."""

    def forward(self, x: Tensor) -> Tensor:
        """As `Conv2d`."""
        if served(self, self.out_channels, x):
            from inference.networks.kernels.finish import finished

            return finished(unbiased(self, x), bias_of(self))
        return super().forward(x)
