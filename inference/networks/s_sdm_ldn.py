"""LDN of S-SDM: one blurry picture and 21 spike frames give the sharp picture of one instant.

K. Chen et al., SpikeReveal: Unlocking Temporal Sequences from Real Blurry Inputs with Spike Streams,
NeurIPS 2024, arXiv 2403.09486. The lightweight deblurring network is the student of the chain
BSN → EDSR → physical model. Its attention is that of CBAM (Woo et al., ECCV 2018).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from inference.networks.blocks import in_float32, pointwise, require_multiple, residual, widened


class _ChannelAttention(nn.Module):
    """Weighs channels by what their mean and their maximum over the whole picture say."""

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        self.fc = nn.Sequential(
            nn.Conv2d(channels, channels // reduction, 1, bias=False),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels // reduction, channels, 1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) gives the weights (N, C, 1, 1) in 0…1."""
        return torch.sigmoid(self.fc(x.mean((2, 3), keepdim=True)) + self.fc(x.amax((2, 3), keepdim=True)))


class _SpatialAttention(nn.Module):
    """Weighs pixels by what mean and maximum over the channels say."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(2, 1, 7, padding=3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) gives the weights (N, 1, H, W) in 0…1."""
        return torch.sigmoid(self.conv1(torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], dim=1)))


class _Residual(nn.Module):
    """The residual block without normalisation; convolutions stand at 0 and 3 of `conv_block`."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv_block = nn.ModuleDict(
            {index: nn.Conv2d(channels, channels, 3, padding=1) for index in ("0", "3")}
        )

    def forward(self, x: Tensor) -> Tensor:
        return residual(x, self.conv_block["0"], self.conv_block["3"])


def _conv(inside: int, outside: int, kernel: int, stride: int) -> nn.Sequential:
    conv = nn.Conv2d(inside, outside, kernel, stride=stride, padding=kernel // 2)
    return nn.Sequential(conv, nn.ReLU(inplace=True))


def _double(inside: int, outside: int) -> nn.Sequential:
    conv = nn.ConvTranspose2d(inside, outside, 5, stride=2, padding=2, output_padding=1)
    return nn.Sequential(conv, nn.ReLU(inplace=True))


class LDN(nn.Module):
    """The lightweight deblurring network with the published entry names.

    Args:
        spike_dim: number of spike frames; 21 in the published weights.

    Shapes and ranges of `forward`:
        image: (N, 3, H, W) in 0…1, **BGR**, as stored (not linearised), H and W multiples of 4.
        spikes: (N, spike_dim, H/4, W/4), 0 or 1 (or the expectation of a spike), in order of time, the
            instant in the middle.
        Gives (N, 3, H, W), BGR, not clipped.

    The channel attention takes mean and maximum of the whole picture: tiling changes the result.
    """

    def __init__(self, spike_dim: int = 21) -> None:
        super().__init__()
        self.blur_enc = _conv(3, 16, 5, 2)
        self.blur_enc2 = _conv(16, 32, 5, 2)
        self.spike_enc = _conv(spike_dim, 16, 3, 1)
        self.spike_enc2 = _conv(16, 32, 3, 1)
        self.resBlock1 = _Residual(64)
        self.resBlock2 = _Residual(64)
        self.ca = _ChannelAttention(64)
        self.sa = _SpatialAttention()
        self.decoder1 = _double(64, 32)
        self.decoder2 = _double(32, 16)
        self.pred = nn.Conv2d(19, 3, 1)

    def forward(self, image: Tensor, spikes: Tensor) -> Tensor:
        """The sharp picture; see the class."""
        require_multiple(image, 4, "LDN")
        height, width = image.shape[-2:]
        if spikes.shape[-2:] != (height // 4, width // 4):
            raise ValueError(
                f"LDN takes spikes of a quarter of the picture's size, {width // 4}×{height // 4}, "
                f"not {spikes.shape[-1]}×{spikes.shape[-2]}"
            )
        x = torch.cat([self.blur_enc2(self.blur_enc(image)), self.spike_enc2(self.spike_enc(spikes))], dim=1)
        x = self.ca(x) * x
        x = self.sa(x) * x
        x = self.resBlock2(self.resBlock1(x))
        return self._predict(image, self.decoder2(self.decoder1(x)))

    def _predict(self, image: Tensor, features: Tensor) -> Tensor:
        # A 1×1 convolution of [image, features] is the sum of two: nothing of full size is copied.
        # In float32 always: a value near 1 in bfloat16 is off by up to half a grey level.
        weight = self.pred.weight
        with in_float32(image):
            out = pointwise(widened(features), weight[:, 3:], self.pred.bias)
            return out.add_(pointwise(widened(image), weight[:, :3]))
