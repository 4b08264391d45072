"""EGER with torch, on any device. See `eger`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from capture.errors import UsageError
from capture.packets import Events
from inference.representations.coding import Columns
from inference.representations.eger import Index, Region, Runs, Spans, runs
from inference.representations.scatter_torch import Uploaded, pixel, run_in, to_device, upload


def bounds_of(part: Runs) -> Index:
    """(N + 7,) indices of events: where bins begin and end, then first and last of each of the three groups."""
    first, last = int(part.cut[0]), int(part.cut[-1])
    i0, i1 = part.split
    # Only a reversed target makes the groups overlap, and then both count: as published.
    groups = (first, min(last, i0), max(first, i0), min(last, i1), max(first, i1), last)
    return np.concatenate([part.cut, np.array(groups, np.int64)])


@torch.no_grad()
def of_placed(
    cell: torch.Tensor, size: tuple[int, int], on: torch.Tensor, bounds: torch.Tensor
) -> torch.Tensor:
    """(L, 6 N, h, w): EGER of events that are on the device already.

    Args:
        cell: (M,) int64 index into a map of this size, −1 for events outside of it.
        size: height and width.
        on: (M,) 1 = brighter, 0 = darker.
        bounds: (L, N + 7) int64, see `bounds_of`, on the device.
    """
    (height, width), bins = size, bounds.shape[1] - 7
    plane = height * width
    out = torch.zeros(len(bounds), 6 * bins * plane, dtype=torch.float32, device=cell.device)
    index = torch.arange(len(cell), device=cell.device)
    seen, at = cell >= 0, cell.clamp(min=0)
    for maps, told in zip(out, bounds, strict=True):
        run, inside = run_in(told[: bins + 1], len(cell))
        channel, counts = 6 * run.clamp(0, bins - 1) + on, seen & inside
        for group in range(3):
            first, last = told[bins + 1 + 2 * group], told[bins + 2 + 2 * group]
            # What does not count is a zero, at pixels here and there: in one spare cell they would queue.
            one = (counts & (index >= first) & (index < last)).float()
            maps.scatter_add_(0, (channel + 2 * group) * plane + at, one)
    return out.view(len(bounds), 6 * bins, height, width)


@torch.no_grad()
def egers(
    events: Events | Columns | Uploaded, spans: Sequence[Spans], region: Region | None = None, *,
    device: str | torch.device = "cpu",
) -> torch.Tensor:  # fmt: skip
    """(L, 6 N, h, w): EGER for several targets or blurs, of one number of bins, from one upload."""
    e = upload(events, device)
    r = region or Region(0, 0, e.source.height, e.source.width)
    for one in spans:
        if one.bins != spans[0].bins:
            raise UsageError(f"EGER in one batch: {one.bins} bins beside {spans[0].bins}")
    told = np.stack([bounds_of(runs(e.source.t, one)) for one in spans])
    cell = pixel(e, r.width, r.height, left=r.left, top=r.top)
    return of_placed(cell, (r.height, r.width), e.on, to_device(told, e.device))


def eger(
    events: Events | Columns | Uploaded, spans: Spans, region: Region | None = None, *,
    device: str | torch.device = "cpu",
) -> torch.Tensor:  # fmt: skip
    """As `eger_numba.eger`, on the device."""
    return egers(events, [spans], region, device=device)[0]
