"""SCER with torch, on any device. See `scer`."""

from __future__ import annotations

import torch

from capture.packets import Events
from inference.representations.coding import Columns, Mode
from inference.representations.scatter_torch import Uploaded, add, pixel, run_of, upload
from inference.representations.scer import Bounds, bounds, check_bins


@torch.no_grad()
def from_bounds(
    events: Events | Columns | Uploaded, at: Bounds, *, zero_middle: bool = False,
    device: str | torch.device = "cpu",
) -> torch.Tensor:  # fmt: skip
    """As `scer_numba.from_bounds`, on the device."""
    check_bins(len(at) - 1)
    e = upload(events, device)
    bins, height, width = len(at) - 1, e.source.height, e.source.width
    plane, half = height * width, bins // 2
    used = slice(int(at[0]), int(at[-1]))
    parts = torch.zeros(bins * plane + 1, dtype=torch.float32, device=e.device)
    cell = pixel(e, width, height)[used]
    run = run_of(at, e.device)
    # The first half is negated here already: 1 − 2p there, 2p − 1 behind.
    sign = (2 * e.on[used] - 1) * torch.where(run < half, -1, 1)
    add(parts, torch.where(cell < 0, -1, run * plane + cell), sign)
    maps = parts[:-1].view(bins, height, width)
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
