"""EDI's pictures with torch, on any device: what `edi_pictures` does, without leaving a GPU.

The same steps in the same order. Sums in another order and a range weight that is computed rather than looked
up in a table leave differences of a code here and there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F

from inference.device import without_tf32
from inference.representations.pixel_runs_torch import Number, Thresholds
from inference.restorers.apply_ratio import brightening, overflow
from inference.restorers.placement import sample
from inference.restorers.ratio_filter import (
    DIAMETER,
    FINER_IMAGE,
    HOT_LEAST,
    HOT_TIMES,
    LOG_LIMIT,
    ONE_GRID,
    REFINE,
)
from inference.restorers.refine import refine_tensor, refined
from inference.tone import Tone, encode_tables, to_linear
from sync.rig import Rig
from sync.rig_map import straight_table

_DISC = [
    (y, x)
    for y in range(DIAMETER)
    for x in range(DIAMETER)
    if 0 < (y - DIAMETER // 2) ** 2 + (x - DIAMETER // 2) ** 2 <= (DIAMETER // 2) ** 2
]  # fmt: skip
_AT_ONCE = 1 << 21
"""Values that are smoothed at once; their neighbours take twelve times as much, a few times over."""


def serves(rig: Rig) -> bool:
    """Whether this rig's pictures can be made here: lenses that bend are left to the CPU."""
    return straight_table(rig, REFINE if refined(rig) else 1) is None


def pictures(image: Tensor, logs: Tensor, counts: Tensor, contrast: Thresholds, rig: Rig) -> Tensor:
    """EDI's pictures at the instants of the ratios.

    Args:
        image: blurred, (H, W) or (H, W, 3) uint8 on the device.
        logs: (L, h, w) float32, logarithm of the light at each instant over the exposure's mean.
        counts: (h, w) events of the exposure at each pixel.
        contrast: with which the ratios were made.
        rig: where events lie on the image; `serves` it.

    Returns:
        (L, …) as `image`.
    """
    logs = _filled(logs, hot_pixels(counts)).clamp(-LOG_LIMIT, LOG_LIMIT)
    steps, sigma = FINER_IMAGE if refined(rig) else ONE_GRID
    logs = bilateral(logs, steps * 0.5 * (contrast.on + contrast.off), sigma)
    if refined(rig):
        logs = refine_tensor(logs[:, None])[:, 0]
    # Beyond the event sensor's view `sample` gives 0, and the ratio is to be 1.
    more = logs.expm1()
    return multiplied(image, (more if rig.identity else sample(more, rig)) + 1, rig.image.tone)


def hot_pixels(counts: Tensor) -> Tensor:
    """(h, w) bool: as `ratio_filter.hot_pixels`, from the counts."""
    kernel = torch.ones((1, 1, 3, 3), dtype=torch.float32, device=counts.device)
    both = torch.stack((counts.float(), torch.ones_like(counts, dtype=torch.float32)))[:, None]
    with without_tf32():  # counts are whole numbers and stay so
        # Taken off afterwards: to set one number of the kernel to 0 would be a copy from the host.
        around, n = (F.conv2d(both, kernel, padding=1) - both)[:, 0]
    hot: Tensor = (counts >= HOT_LEAST) & (counts * n > HOT_TIMES * torch.maximum(around, n))
    return hot


def _filled(logs: Tensor, hot: Tensor) -> Tensor:
    """The median ratio of the neighbours that are not hot in place of a hot pixel's; 1 where there is none."""
    spoilt = torch.where(hot, math.inf, logs.exp())
    around = F.pad(spoilt[:, None], (1, 1, 1, 1), value=math.inf)
    h, w = hot.shape
    near = torch.stack(
        [around[:, 0, y : y + h, x : x + w] for y in range(3) for x in range(3) if x != 1 or y != 1]
    )
    ordered = near.sort(0).values
    good = ordered.isfinite().sum(0, keepdim=True)
    low, high = ((good - 1) // 2).clamp(min=0), (good // 2).clamp(max=len(near) - 1)
    median = 0.5 * (ordered.gather(0, low) + ordered.gather(0, high))[0]
    return torch.where(hot, torch.where(good[0] > 0, median, 1.0).log(), logs)


def bilateral(maps: Tensor, reach: Number, sigma: float) -> Tensor:
    """(L, h, w) smoothed within a disc of `DIAMETER`; values some `reach` apart leave each other alone."""
    return torch.cat(
        [_bilateral(m, reach, sigma) for m in torch.split(maps, max(1, _AT_ONCE // maps[0].numel()))]
    )


def _bilateral(maps: Tensor, reach: Number, sigma: float) -> Tensor:
    radius = DIAMETER // 2
    h, w = maps.shape[-2:]
    around = F.pad(maps[:, None], (radius, radius, radius, radius), mode="replicate")[:, 0]
    # All neighbours at once: one after the other they are a hundred operations of some microseconds each.
    near = torch.stack([around[:, y : y + h, x : x + w] for y, x in _DISC])
    share = (near - maps).mul_(math.sqrt(0.5) / reach).square_().add_(_far(sigma, maps.device)).neg_().exp_()
    return (maps + (share * near).sum(0)) / (1 + share.sum(0))


@cache
def _far(sigma: float, device: torch.device) -> Tensor:
    """(neighbours, 1, 1, 1): what distance takes from a neighbour's share, as an exponent."""
    squares = [(y - DIAMETER // 2) ** 2 + (x - DIAMETER // 2) ** 2 for y, x in _DISC]
    with torch.inference_mode(False):
        far = torch.tensor([d / (2 * sigma * sigma) for d in squares], dtype=torch.float32, device=device)
    return far.view(-1, 1, 1, 1)


def multiplied(image: Tensor, ratio: Tensor, tone: Tone) -> Tensor:
    """As `apply_ratio`, with the ratio on the image's pixels.

    Args:
        image: (H, W) or (H, W, 3) uint8.
        ratio: (L, H, W) float32, ≥ 0.
        tone: how codes relate to light.

    Returns:
        (L, …) as `image`.
    """
    light, up, over, borders = _tables(tone, image.device)
    codes = (image[..., None] if image.ndim == 2 else image).long()
    top = codes.amax(-1)
    follow = torch.where(ratio > 1, 1 + up[top] * (ratio - 1), (over[top] * ratio).clamp(max=1))
    values = (light[codes] * follow[..., None]).clamp(max=1)
    out = torch.bucketize(values, borders, right=True, out_int32=True).to(torch.uint8)
    return out[..., 0] if image.ndim == 2 else out


@cache
def _tables(tone: Tone, device: torch.device) -> Sequence[Tensor]:
    """Light of each code, how far a ratio above 1 is followed, light over the code's own, borders of codes."""
    borders = encode_tables(tone)[1][1:256]
    with torch.inference_mode(False):
        return [torch.tensor(t, device=device) for t in (to_linear(tone), brightening(), overflow(), borders)]
