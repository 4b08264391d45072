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
from inference.representations.pixel_runs_torch import Placed, counts_until, on_sensor, pixel_runs, place

_RATIOS = len(MULTIPLES)
_NOW = OFFSETS.index(0.0)


@torch.no_grad()
def stacks(
    events: Events, start_us: int, end_us: int, times_us: Sequence[int], contrast: Contrast, power: float = 1.0,
    device: str | torch.device = "cpu",
) -> Tensor:  # fmt: skip
    """(L, `CHANNELS`, height, width) float32 on the device: as `edi_stack_numba.EdiStack.stacks`.

    Raises:
        ValueError: an instant outside the exposure, or an exposure without length.
    """
    where = torch.device(device)
    borders = edges(start_us, end_us, times_us)
    inside = on_sensor(events.between(start_us, end_us))
    upto = np.searchsorted(inside.t, borders, side="right")
    e, length = place(inside, where), float(end_us - start_us)
    kind = torch.float32 if where.type == "mps" else torch.float64
    logs = _logs(e, inside.t - start_us, length, contrast, kind)
    out = torch.empty((len(borders), CHANNELS, e.pixels), dtype=torch.float32, device=where)
    for k, row in enumerate(upto):
        # One border more: all events.
        until = torch.cat(list(counts_until(e, np.append(row, len(e))))).clamp_(max=MOST)
        out[k, -1] = torch.asinh(until[-1].sum(0).to(kind)).div_(2)
        off, on = until[: BINS + 1].to(kind).unbind(1)
        level = contrast.on * on - contrast.off * off
        out[k, :_RATIOS] = _multiples(where, kind)[:, None] * level[_NOW] - logs
        out[k, _RATIOS:-1] = level[1:] - level[:-1]
    out[:, :-1].mul_(power).clamp_(-LIMIT, LIMIT)
    return out.view(len(borders), CHANNELS, events.height, events.width)


def event_counts(stack: Tensor) -> Tensor:
    """(h, w) float32: the events of each pixel, whole numbers, out of a stack's last channel."""
    return torch.sinh(2 * stack[-1]).round()


def _logs(e: Placed, since: NDArray[np.int64], length: float, contrast: Contrast, kind: torch.dtype) -> Tensor:
    """(3, pixels): ln((1/T) ∫ exp(m·S) dt); 0 where a pixel has no events."""
    if not len(e):
        return torch.zeros((_RATIOS, e.pixels), dtype=kind, device=e.device)
    runs = pixel_runs(e, since, length, kind)
    more, less = (n.clamp(max=MOST).to(kind) for n in (runs.more, runs.less))
    multiples = _multiples(e.device, kind)
    rise, fall = (
        (n[:, None] * (multiples * c)).clamp_(max=REACH)
        for n, c in ((more, contrast.on), (less, contrast.off))
    )  # fmt: skip
    return (runs.integral(rise.sub_(fall).exp_(), length) / length).log_().t()


@cache
def _multiples(device: torch.device, kind: torch.dtype) -> Tensor:
    with torch.inference_mode(False):
        return torch.tensor(MULTIPLES, dtype=kind, device=device)
