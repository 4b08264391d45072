"""Any size for a network that takes only multiples: the picture goes on beyond its right and lower edge.

Only there, so that a pixel keeps its coordinates and an event grid `k` times as coarse keeps covering blocks of
`k × k` pixels. What is computed on the border is cut off again. Where the size fits nothing is added, and the
result is the one without padding, bit for bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Padding = Literal["reflect", "replicate"]


def round_up(size: int, multiple: int) -> int:
    """The smallest multiple that is not below `size`."""
    return -(-size // multiple) * multiple


def pad_index(size: int, padded: int, mode: Padding) -> NDArray[np.int64]:
    """(padded,) for each place the place of 0 … size − 1 that it repeats.

    "reflect" mirrors at the last pixel without repeating it, back and forth where the border is wider than the
    picture; "replicate" repeats the last pixel.
    """
    at = np.arange(padded, dtype=np.int64)
    if mode == "replicate" or size == 1:
        return np.minimum(at, size - 1)
    period = 2 * (size - 1)
    folded = at % period
    return np.minimum(folded, period - folded)


@lru_cache(maxsize=64)
@torch.inference_mode(False)
def _index(size: int, padded: int, mode: Padding, device: torch.device) -> Tensor:
    return torch.from_numpy(pad_index(size, padded, mode)).to(device)


def pad_to(x: Tensor, height: int, width: int, mode: Padding = "reflect") -> Tensor:
    """(…, H, W) → (…, height, width), each at least as large; `x` itself where nothing is to be added."""
    if height > x.shape[-2]:
        x = x.index_select(-2, _index(x.shape[-2], height, mode, x.device))
    if width > x.shape[-1]:
        x = x.index_select(-1, _index(x.shape[-1], width, mode, x.device))
    return x


def pad_to_multiple(x: Tensor, multiple: int | Sequence[int], mode: Padding = "reflect") -> Tensor:
    """(…, H, W) → the next larger sides that are multiples of `multiple` (one number, or rows and columns)."""
    rows, columns = (multiple, multiple) if isinstance(multiple, int) else multiple
    return pad_to(x, round_up(x.shape[-2], rows), round_up(x.shape[-1], columns), mode)


def crop(x: Tensor, height: int, width: int) -> Tensor:
    """The picture's own part of a padded (…, H, W)."""
    return x[..., :height, :width]
