"""Events half-way to their neighbours with torch, on any device. See `halfway`.

As all of `pixel_runs_torch` what is asked of a device depends on nothing but how many events there are.
"""

from __future__ import annotations

import torch
from torch import Tensor

from inference.representations.halfway import FAR_US
from inference.representations.pixel_runs_torch import Placed

_NEVER = torch.iinfo(torch.int32).max


def set_back(e: Placed, since: Tensor, bounds: Tensor, instants: Tensor) -> tuple[Placed, Tensor, Tensor]:
    """The events of an exposure half-way to their neighbours, none before its start, in order of time again.

    Args:
        e: at least one; which are the exposure's is told by `bounds`.
        since: (N,) int32 µs since the exposure's start.
        bounds: (…, K + 2) as `pixel_runs_torch.bounds_of` gives them: of each row the first and the last count.
        instants: (…, K) int32 ascending µs since the exposure's start: of those bounds.

    Returns:
        Events (sorted by pixel, too), times and bounds, as they were given; those of other times do not count
        and lie behind.
    """
    row = bounds.view(-1, bounds.shape[-1])[0]
    index = torch.arange(len(e), device=e.device)
    own = e.seen & (index >= row[0]) & (index < row[-1])
    ordered, order = torch.sort(torch.where(own, e.pixel, e.pixels).int(), stable=True)
    time = since[order]
    gaps = torch.where(ordered[1:] == ordered[:-1], time[1:] - time[:-1], FAR_US)
    near = torch.full_like(time, FAR_US)
    torch.minimum(near[1:], gaps, out=near[1:])
    torch.minimum(near[:-1], gaps, out=near[:-1])
    when = (time - (near >> 1)).clamp_(min=0)
    # Stable: a pixel's events keep their order, those of one time too.
    when, again = torch.sort(torch.where(ordered < e.pixels, when, _NEVER), stable=True)
    order = order[again]
    # A pixel's events were in a row before this sort and are in the same order after it: whoever wants them by
    # pixel need not sort anew.
    by_pixel = index.scatter(0, again, index)
    moved = Placed(e.pixel[order], e.on[order], own[order], e.pixels, by_pixel)
    upto = torch.searchsorted(when, instants, right=True)
    ends = own.sum().expand(*bounds.shape[:-1], 1)
    return moved, when, torch.cat([torch.zeros_like(ends), upto, ends], -1)
