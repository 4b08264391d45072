"""SCER with torch, on any device. See `scer`."""

from __future__ import annotations

import torch

from capture.packets import Events
from inference.representations.coding import Columns, Mode
from inference.representations.scatter_torch import Uploaded, pixel, run_in, to_device, upload
from inference.representations.scer import Bounds, bounds, check_bins


@torch.no_grad()
def from_bounds(
    events: Events | Columns | Uploaded, at: Bounds, *, zero_middle: bool = False,
    device: str | torch.device = "cpu",
) -> torch.Tensor:  # fmt: skip
    """As `scer_numba.from_bounds`, on the device."""
    check_bins(len(at) - 1)
    e = upload(events, device)
    height, width = e.source.height, e.source.width
    told = to_device(at, e.device)
    return of_placed(pixel(e, width, height), (height, width), e.on, told, zero_middle=zero_middle)


@torch.no_grad()
def of_placed(
    cell: torch.Tensor, size: tuple[int, int], on: torch.Tensor, at: torch.Tensor, *, zero_middle: bool = False
) -> torch.Tensor:
    """As `from_bounds`, of events that are on the device already.

    Args:
        cell: (N,) int64 index into a map of this size, −1 for events outside of it.
        size: height and width.
        on: (N,) 1 = brighter, 0 = darker.
        at: (bins + 1,) int64, on the device.
    """
    (height, width), bins = size, len(at) - 1
    plane, half = height * width, bins // 2
    run, inside = run_in(at, len(cell))
    parts = torch.zeros(bins * plane, dtype=torch.float32, device=cell.device)
    # The first half is negated here already: 1 − 2p there, 2p − 1 behind. What does not count is a zero, at
    # pixels here and there: in one spare cell they would queue.
    sign = (2 * on.int() - 1) * torch.where(run < half, -1, 1) * (inside & (cell >= 0))
    parts.scatter_add_(0, run.clamp(0, bins - 1) * plane + cell.clamp(min=0), sign.float())
    maps = parts.view(bins, height, width)
    # Cumulative sums of whole numbers: exact in float32 up to 2²⁴ in any order.
    before = maps[:half].flip(0).cumsum(0).flip(0)
    after = maps[half:].cumsum(0)
    middle = [torch.zeros_like(maps[:1])] if zero_middle else []
    return torch.cat([before, *middle, after])


def scer(
    events: Events | Columns | Uploaded, start_us: int, end_us: int, *, bins: int = 6,
    mode: Mode = Mode.CORRECTED, zero_middle: bool = False, device: str | torch.device = "cpu",
) -> torch.Tensor:  # fmt: skip
    """As `scer_numba.scer`, on the device; `device` counts for events that were not uploaded yet."""
    e = upload(events, device)
    return from_bounds(e, bounds(e.source, start_us, end_us, bins, mode), zero_middle=zero_middle)
