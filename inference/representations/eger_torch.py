"""EGER with torch, on any device. See `eger`."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from capture.errors import UsageError
from capture.packets import Events
from inference.representations.coding import Columns
from inference.representations.eger import Region, Runs, Spans, runs
from inference.representations.scatter_torch import Uploaded, add, pixel, run_of, upload


def _add(
    out: torch.Tensor,
    e: Uploaded,
    cell: torch.Tensor,
    bin_: torch.Tensor,
    part: Runs,
    plane: int,
    offset: int,
) -> None:
    """Add all events of the blur span: the three groups are runs of indices, each with its channels."""
    first, last = int(part.cut[0]), int(part.cut[-1])
    i0, i1 = part.split
    # Only a reversed target makes the groups overlap, and then both count: as published.
    for group, lo, hi in (
        (0, first, min(last, i0)),
        (1, max(first, i0), min(last, i1)),
        (2, max(first, i1), last),
    ):
        if hi <= lo:
            continue
        here = cell[lo:hi]
        channel = 6 * bin_[lo - first : hi - first] + 2 * group + e.on[lo:hi]
        add(out, torch.where(here < 0, -1, offset + channel * plane + here), 1.0)


@torch.no_grad()
def egers(
    events: Events | Columns | Uploaded, spans: Sequence[Spans], region: Region | None = None, *,
    device: str | torch.device = "cpu",
) -> torch.Tensor:  # fmt: skip
    """(L, 6 N, h, w): EGER for several targets or blurs, of one number of bins, from one upload."""
    e = upload(events, device)
    r = region or Region(0, 0, e.source.height, e.source.width)
    plane, channels = r.height * r.width, 6 * spans[0].bins
    cell = pixel(e, r.width, r.height, left=r.left, top=r.top)
    size = channels * plane
    out = torch.zeros(len(spans) * size + 1, dtype=torch.float32, device=e.device)
    for k, one in enumerate(spans):
        if one.bins != spans[0].bins:
            raise UsageError(f"EGER in one batch: {one.bins} bins beside {spans[0].bins}")
        part = runs(e.source.t, one)
        _add(out, e, cell, run_of(part.cut, e.device), part, plane, k * size)
    return out[:-1].view(len(spans), channels, r.height, r.width)


def eger(
    events: Events | Columns | Uploaded, spans: Spans, region: Region | None = None, *,
    device: str | torch.device = "cpu",
) -> torch.Tensor:  # fmt: skip
    """As `eger_numba.eger`, on the device."""
    return egers(events, [spans], region, device=device)[0]
