"""A larger network that begins as a smaller one: the same function, with room to learn more.

After Net2Net (Chen, Goodfellow and Shlens, ICLR 2016), for networks of convolutions whose residual blocks begin
as the identity. Channels that are new are fed by all, with weights as the network was built with, and feed
only one another: what stood in the smaller network's channels stays as it was, but for the order of sums. They
have a gradient from the first step on, since they are not silent themselves. Blocks that are new stay as built,
and have to be the identity then.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import nn

if TYPE_CHECKING:
    from torch import Tensor


_BLOCK = re.compile(r".*?\.\d+\.")
"""What a name begins with that belongs to one of several blocks in a row."""


def fits(network: nn.Module, entries: Mapping[str, Tensor]) -> bool:
    """Whether these are the entries of a smaller network that the larger one can begin as.

    None is unknown or larger, and what lacks are whole blocks. Kernels, what goes in and what comes out are the
    same: a network that differs in them is no smaller one, but another.

    Args:
        network: its entries are in the order in which they are computed with.
        entries: by name.
    """
    own = network.state_dict()
    if not entries or not all(name in own for name in entries):
        return False
    there = {found[0] for name in entries if (found := _BLOCK.match(name))}
    for name in own.keys() - entries.keys():
        if (found := _BLOCK.match(name)) is None or found[0] in there:
            return False
    kernels = [n for n in own if own[n].ndim > 1]
    within = all(
        old.ndim == own[n].ndim
        and all(a <= b for a, b in zip(old.shape, own[n].shape, strict=True))
        and old.shape[2:] == own[n].shape[2:]
        for n, old in entries.items()
    ) and all(
        name in entries and entries[name].shape[side] == own[name].shape[side]
        for name, side in ((kernels[0], 1), (kernels[-1], 0))
    )
    return within and (len(entries) < len(own) or any(e.shape != own[n].shape for n, e in entries.items()))


def grown(network: nn.Module, entries: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The network's state dict with the smaller one in it.

    Args:
        network: as built; its own values are what is new.
        entries: of the smaller network, see `fits`. Its channels are taken to be the first ones of the larger.
    """
    out = {}
    transposed = {f"{n}.weight" for n, m in network.named_modules() if isinstance(m, nn.ConvTranspose2d)}
    for name, own in network.state_dict().items():
        new = own.clone()
        if (old := entries.get(name)) is not None:
            if new.ndim > 1:
                # (to, from, …); a transposed convolution has them the other way round.
                to, source = (1, 0) if name in transposed else (0, 1)
                new.narrow(to, 0, old.shape[to]).narrow(
                    source, old.shape[source], new.shape[source] - old.shape[source]
                ).zero_()
            new[tuple(slice(n) for n in old.shape)] = old.to(new.dtype)
        out[name] = new
    return out
