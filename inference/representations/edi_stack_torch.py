"""The EDI stack with torch, on any device. See `edi_stack`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from capture.packets import Events
from inference.representations.double_integral import Contrast
from inference.representations.edi_stack import (
    BINS,
    CHANNELS,
    LIMIT,
    MOST,
    MULTIPLES,
    OFFSETS,
    REACH,
    edges,
)
from inference.representations.halfway_torch import set_back
from inference.representations.pixel_runs_torch import (
    Number,
    Placed,
    Thresholds,
    bounds_of,
    counts_until,
    pixel_runs,
    place,
    since_start,
)
from inference.representations.scatter_torch import some, to_device

_RATIOS = len(MULTIPLES)
_NOW = OFFSETS.index(0.0)


def bounds_around(
    t: NDArray[np.int64], start_us: int, end_us: int, times_us: Sequence[int]
) -> NDArray[np.int64]:
    """(L, BINS + 3) indices of events: for each instant the `bounds_of` its intervals' edges.

    Args:
        t: (N,) times of events, ascending, within the exposure or not.
        start_us, end_us, times_us: as at `stacks`.

    Raises:
        ValueError: an instant outside the exposure, or an exposure without length.
    """
    borders = edges(start_us, end_us, times_us)
    return np.stack([bounds_of(t, start_us, end_us, row) for row in borders])


def instants_around(start_us: int, end_us: int, times_us: Sequence[int]) -> NDArray[np.int32]:
    """(L, BINS + 1) µs since the exposure's start: the edges of `bounds_around`."""
    return since_start(edges(start_us, end_us, times_us), start_us)


@torch.no_grad()
def stacks(
    events: Events, start_us: int, end_us: int, times_us: Sequence[int], contrast: Contrast, power: float = 1.0,
    device: str | torch.device = "cpu", halfway: bool = True,
) -> Tensor:  # fmt: skip
    """(L, `CHANNELS`, height, width) float32 on the device: as `edi_stack_numba.EdiStack.stacks`.

    Raises:
        ValueError: an instant outside the exposure, or an exposure without length.
    """
    where = torch.device(device)
    inside = some(events.between(start_us, end_us))
    bounds = to_device(bounds_around(inside.t, start_us, end_us, times_us), where)
    since = to_device(since_start(inside.t, start_us), where)
    e, length = place(inside, where), float(end_us - start_us)
    if halfway:
        instants = instants_around(start_us, end_us, times_us)
        e, since, bounds = set_back(e, since, bounds, to_device(instants, where))
    out = of_placed(e, since, bounds, length, contrast, power)
    return out.view(len(bounds), CHANNELS, events.height, events.width)


@torch.no_grad()
def of_placed(
    e: Placed, since: Tensor, bounds: Tensor, length: Number, contrast: Thresholds, power: float = 1.0
) -> Tensor:
    """As `stacks`, (L, `CHANNELS`, pixels), of events that are on the device already.

    Args:
        e: at least one; which are the exposure's is told by `bounds`.
        since: (N,) int32 µs since the exposure's start, on the device.
        bounds: see `bounds_around`, on the device.
        length: of the exposure in µs.
        contrast, power: as at `stacks`.
    """
    kind = torch.float32 if e.device.type == "mps" else torch.float64
    logs = _logs(e, since, bounds[0], length, contrast, kind)
    out = torch.empty((len(bounds), CHANNELS, e.pixels), dtype=torch.float32, device=e.device)
    for k, row in enumerate(bounds):
        until = torch.cat(list(counts_until(e, row))).clamp_(max=MOST)
        out[k, -1] = torch.asinh(until[-1].sum(0).to(kind)).div_(2)
        off, on = until[: BINS + 1].to(kind).unbind(1)
        level = contrast.on * on - contrast.off * off
        out[k, :_RATIOS] = _multiples(e.device, kind)[:, None] * level[_NOW] - logs
        out[k, _RATIOS:-1] = level[1:] - level[:-1]
    out[:, :-1].mul_(power).clamp_(-LIMIT, LIMIT)
    return out


def event_counts(stack: Tensor) -> Tensor:
    """(h, w) float32: the events of each pixel, whole numbers, out of a stack's last channel."""
    return torch.sinh(2 * stack[-1]).round()


def _logs(
    e: Placed, since: Tensor, row: Tensor, length: Number, contrast: Thresholds, kind: torch.dtype
) -> Tensor:
    """(3, pixels): ln((1/T) ∫ exp(m·S) dt); 0 where a pixel has no events. `row` is one of the bounds."""
    runs = pixel_runs(e, since, row[0], row[-1], length, kind)
    more, less = (n.clamp(max=MOST).to(kind) for n in (runs.more, runs.less))
    multiples = _multiples(e.device, kind)
    rise, fall = (n[:, None] * (multiples * c) for n, c in ((more, contrast.on), (less, contrast.off)))
    level = rise.sub_(fall).clamp_(-REACH, REACH)
    return (runs.integral(level.exp_(), length) / length).log_().t()


@cache
def _multiples(device: torch.device, kind: torch.dtype) -> Tensor:
    with torch.inference_mode(False):
        return torch.tensor(MULTIPLES, dtype=kind, device=device)
