"""First weights with which a network gives its input back, so that training begins at the blurred picture.

With the published first weights GEM, CDVD-TSP and LDN begin by destroying the picture, and the first hundreds
or thousands of steps only bring it back; SC-Net and STRA begin deaf to the events. Where the published length
is trained that is no matter; in a short run on a small set it is most of the time. **Ours**, off by default:
`network.start = "input"` in a recipe. BSN begins at the mean of a value's neighbours, EDSR at interpolation. It
changes values alone: entries and shapes stay the published ones.

Where there is a way around the network, its last layer begins at zero, as is usual for branches that are
added to something (T. Bachlechner et al., ReZero is All You Need, UAI 2021, arXiv 2003.04887): its own values
learn in the first step, all others from the second on.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

_FAINT, _OPEN = 1e-3, 0.1
# Of the two pixels that one becomes, each a quarter of a pixel off: what its neighbours and itself count.
_BETWEEN = torch.tensor([[0.25, 0.75, 0.0], [0.0, 0.75, 0.25]])


@torch.no_grad()
def gem(network: nn.Module) -> None:
    """A ratio of about one: softplus(ln(e - 1)) = 1, and the last layer's own values begin small enough.

    Not set to zero as the others' are: tried so, 300 steps closed all its last ReLUs, and for good.
    """
    network.get_parameter("dec.conv.bias").fill_(math.log(math.e - 1))


@torch.no_grad()
def ldn(network: nn.Module) -> None:
    """The last 1×1 convolution takes the picture as it is, and nothing of the 16 features."""
    weight = network.get_parameter("pred.weight")
    weight.zero_()
    weight[:, :3, 0, 0] = torch.eye(3)
    network.get_parameter("pred.bias").zero_()


@torch.no_grad()
def bsn(network: nn.Module) -> None:
    """Each value begins as the mean of its four neighbours, as near as a network can be that is blind to it.

    Each half-plane's first feature is the picture itself, one row off; at the border zeros are neighbours, too.
    """
    for k in range(1, 5):
        weight = network.get_parameter(f"unet.dec1.conv{k}.conv.weight")
        # The picture is the last of what enters. A blind convolution's last row is the pixel's own.
        enters = weight.shape[1] - 1 if k == 1 else 0
        weight[0] = 0
        weight[0, enters, 2, 1] = 1
    join, pass_on, leave = (network.get_parameter(f"nin_{n}.weight") for n in "ABC")
    join[0] = 0
    join[0, :: join.shape[1] // 4] = 1 / 4
    pass_on[0] = 0
    pass_on[0, 0] = 1
    leave.zero_()
    leave[:, 0] = 1


@torch.no_grad()
def edsr(network: nn.Module) -> None:
    """The first features are the picture's channels, and twice twice as large by bilinear interpolation."""
    head, tail = network.get_submodule("head.0"), network.get_submodule("tail")
    channels = _values(head)[0].shape[1]
    _carry(head, first=0, count=channels)
    _zero(network.get_submodule("body.16"))
    for doubling in (tail.get_submodule("0.0"), tail.get_submodule("0.2")):
        weight, bias = _values(doubling)
        weight[: 4 * channels], bias[: 4 * channels] = 0, 0
        for c in range(channels):
            for row in range(2):
                for column in range(2):
                    kernel = torch.outer(_BETWEEN[row], _BETWEEN[column])
                    weight[4 * c + 2 * row + column, c] = kernel
    last = tail.get_submodule("1")
    _zero(last)
    _carry(last, first=0, count=channels)


@torch.no_grad()
def sc_net(network: nn.Module) -> None:
    """Nothing is added to the picture, and the fusions' γ is one: events are heard from the first step on."""
    _zero(network.get_submodule("feat_extract.5.main.0"))
    for fusion in ("sfb1.0", "sfb2.0"):
        network.get_parameter(f"{fusion}.gamma").fill_(1.0)


@torch.no_grad()
def cdvd_tsp(network: nn.Module, flow: bool) -> None:
    """Three of the features carry the middle frame through all stages, nearly undisturbed.

    Args:
        network: a `CDVDTSP`.
        flow: let the flow begin at zero, so that neighbours come unmoved; False: it has weights already.
    """
    enter, double, leave = (
        network.get_submodule(f"recons_net.{n}") for n in ("inBlock", "decoder_first", "outBlock")
    )
    # What enters: previous, centre and following frame of three channels each, and the prior.
    _carry(enter.get_submodule("0.0"), first=3)
    for block in (*enter.children(), *leave.children()):
        if hasattr(block, "conv2"):
            for value in _values(block.get_submodule("conv2")):
                value[:3] = 0
    # Faint, not zero: behind a ReLU nothing that is zero everywhere ever learns.
    for part in double.modules():
        if isinstance(part, nn.ConvTranspose2d):
            weight, bias = _values(part)
            weight[:, :3] *= _FAINT
            bias[:3] = _OPEN  # so that the ReLU is, and stays so for more than a few steps
    *_, last = leave.children()
    _zero(last)
    _carry(last, first=0, offset=-_OPEN)
    if flow:
        for name, part in network.named_modules():
            if name.endswith("moduleSix.0") and isinstance(part, nn.Conv2d):
                _zero(part)
            elif name.endswith("moduleMain") and isinstance(part, nn.Sequential):
                _zero(part[-1])


def _values(conv: nn.Module) -> tuple[Tensor, Tensor]:
    return conv.get_parameter("weight"), conv.get_parameter("bias")


def _zero(conv: nn.Module) -> None:
    for value in _values(conv):
        value.zero_()


def _carry(conv: nn.Module, first: int, offset: float = 0.0, count: int = 3) -> None:
    """The first `count` outputs of a convolution are its inputs from `first` on, and an offset."""
    weight, bias = _values(conv)
    middle = weight.shape[-1] // 2
    weight[:count], bias[:count] = 0, offset
    for i in range(count):
        weight[i, first + i, middle, middle] = 1
