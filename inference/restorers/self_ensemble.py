"""Geometric self-ensemble: the mean of what a network makes of a picture and of turned and mirrored copies.

B. Lim et al., Enhanced Deep Residual Networks for Single Image Super-Resolution, CVPR Workshops 2017,
arXiv 1707.02921, section 3.4. What a network gets wrong at random differs from copy to copy; what it knows does
not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

COUNTS = (1, 2, 4, 8)
"""Copies that can be asked for: as it is; also upside down; the four turns; these mirrored as well."""
# Quarter turns, and whether mirrored before.
_WAYS = ((0, False), (2, False), (1, False), (3, False), (0, True), (2, True), (1, True), (3, True))


def self_ensemble(network: Callable[..., Tensor], maps: Sequence[Tensor], count: int) -> Tensor:
    """The network's mean result over the first `count` ways.

    Args:
        network: of maps to a map of their size, which may be turned with them: no map is a direction.
        maps: (N, C, H, W) each, alike in H and W; both sides bear what the network asks of either.
        count: of `COUNTS`.

    Returns:
        (N, C, H, W).
    """
    if count == 1:
        return network(*maps)
    return torch.stack([_back(network(*(_to(m, *way) for m in maps)), *way) for way in _WAYS[:count]]).mean(0)


def _to(x: Tensor, turns: int, mirrored: bool) -> Tensor:
    turned = torch.rot90(x.flip(3) if mirrored else x, turns, (2, 3))
    return turned.contiguous(memory_format=torch.channels_last)


def _back(x: Tensor, turns: int, mirrored: bool) -> Tensor:
    turned = torch.rot90(x, -turns, (2, 3))
    return turned.flip(3) if mirrored else turned
