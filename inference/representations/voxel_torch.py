"""The voxel grid with torch, on any device. See `voxel`."""

from __future__ import annotations

import numpy as np
import torch

from capture.packets import Events
from inference.representations.coding import Columns, Mode, check_window
from inference.representations.scatter_torch import Uploaded, add, pixel, run_of, to_device, upload
from inference.representations.voxel import check_grid, edges, inside, scaled_times


@torch.no_grad()
def published(
    events: Events | Columns, *, bins: int = 6, relative: bool = False, device: str | torch.device = "cpu"
) -> torch.Tensor:
    """As `voxel_numba.published`, on the device. float32 sums: the last bits depend on the device's order."""
    e = upload(events, device)
    width, height = e.source.width, e.source.height
    scaled = to_device(scaled_times(e.source.t, bins, relative=relative), e.device)
    return of_placed(pixel(e, width, height), (height, width), e.on, scaled, bins=bins)


@torch.no_grad()
def of_placed(
    cell: torch.Tensor, size: tuple[int, int], on: torch.Tensor, scaled: torch.Tensor,
    count: torch.Tensor | None = None, *, bins: int = 6,
) -> torch.Tensor:  # fmt: skip
    """As `published`, of events that are on the device already.

    Args:
        cell: (N,) int64 index into a map of this size, −1 for events outside of it.
        size: height and width.
        on: (N,) 1 = brighter, 0 = darker.
        scaled: (N,) float32, see `voxel.scaled_times`.
        count: (1,) int64 on the device: the first so many count; None: all.
        bins: of the grid.
    """
    height, width = size
    plane, k = height * width, scaled.long()
    f = scaled - k
    seen = cell >= 0
    if count is not None:
        seen = seen & (torch.arange(len(cell), device=cell.device) < count)
    # What does not count is a zero, at pixels here and there: in one spare cell they would queue.
    sign = (2 * on.int() - 1) * seen
    out = torch.zeros(bins * plane, dtype=torch.float32, device=cell.device)
    for bin_, share in ((k, 1 - f), (k + 1, f)):
        at = bin_.clamp(0, bins - 1) * plane + cell.clamp(min=0)
        out.scatter_add_(0, at, torch.where(bin_ < bins, sign * share, 0.0))
    return out.view(bins, height, width)


@torch.no_grad()
def voxel_grid(
    events: Events | Columns | Uploaded, start_us: int, end_us: int, *, bins: int = 6,
    mode: Mode = Mode.CORRECTED, device: str | torch.device = "cpu",
) -> torch.Tensor:  # fmt: skip
    """As `voxel_numba.voxel_grid`, on the device; the corrected grid is the same bit for bit.

    On a device without float64 (mps) the last division is in float32, and the grid is off by a rounding.
    """
    if mode is not Mode.CORRECTED:
        check_window(start_us, end_us, bins)
        source = _source(events)
        where = events.device if isinstance(events, Uploaded) else device
        window = inside(source, start_us, end_us)
        return published(window, bins=bins, relative=mode is Mode.RELATIVE, device=where)
    check_grid(start_us, end_us, bins)
    e = upload(events, device)
    width, height = e.source.width, e.source.height
    plane, length = width * height, int(end_us - start_us)
    at = np.searchsorted(e.source.t, edges(start_us, end_us, bins), side="left").astype(np.int64)
    used = slice(int(at[0]), int(at[-1]))
    # Relative times fit 32 bits (the window is checked); that is what travels.
    t = to_device((e.source.t[used] - start_us).astype(np.uint32).view(np.int32), e.device).long()
    k = run_of(at, e.device)
    share = (bins - 1) * (t & 0xFFFFFFFF) - k * length
    cell = pixel(e, width, height)[used]
    sign = 2 * e.on[used].long() - 1
    out = torch.zeros(bins * plane + 1, dtype=torch.int64, device=e.device)
    at_k = torch.where(cell < 0, -1, k * plane + cell)
    add(out, at_k, sign * (length - share))
    add(out, torch.where(at_k < 0, -1, at_k + plane), sign * share)
    wide = torch.float32 if e.device.type == "mps" else torch.float64
    return (out[:-1].to(wide) / length).to(torch.float32).view(bins, height, width)


def _source(events: Events | Columns | Uploaded) -> Columns:
    if isinstance(events, Uploaded):
        return events.source
    return Columns.of(events) if isinstance(events, Events) else events
