"""Event-count maps with torch, on any device. See `counts`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from capture.errors import UsageError
from capture.packets import Events
from inference.representations.coding import Columns
from inference.representations.counts import Index, edges
from inference.representations.scatter_torch import Uploaded, add, pixel, run_of, upload


@torch.no_grad()
def _count(e: Uploaded, at: Index) -> torch.Tensor:
    height, width = e.source.height, e.source.width
    plane, steps = height * width, len(at) - 1
    used = slice(int(at[0]), int(at[-1]))
    cell = pixel(e, width, height)[used]
    channel = 2 * run_of(at, e.device) + e.on[used]
    out = torch.zeros(2 * steps * plane + 1, dtype=torch.float32, device=e.device)
    add(out, torch.where(cell < 0, -1, channel * plane + cell), 1.0)
    maps = out[:-1].view(steps, 2, height, width)
    return maps[0] if steps == 1 else maps


def count_all(events: Events | Columns | Uploaded, *, device: str | torch.device = "cpu") -> torch.Tensor:
    """As `counts_numba.count_all`, on the device."""
    e = upload(events, device)
    return _count(e, np.array([0, len(e)], np.int64))


def event_counts(
    events: Events | Columns | Uploaded, start_us: int, end_us: int, *, steps: int = 1,
    device: str | torch.device = "cpu",
) -> torch.Tensor:  # fmt: skip
    """As `counts_numba.event_counts`, on the device."""
    e = upload(events, device)
    return _count(e, np.searchsorted(e.source.t, edges(start_us, end_us, steps), side="left").astype(np.int64))


def stack(windows: Sequence[torch.Tensor]) -> torch.Tensor:
    """As `counts_numba.stack`."""
    if len(windows) != 3 or any(w.shape != windows[0].shape for w in windows):
        raise UsageError(f"SC-Net takes three windows of one shape, got {[tuple(w.shape) for w in windows]}")
    joined = torch.cat(list(windows), dim=-3)
    return joined if joined.ndim == 3 else joined.movedim(0, -1).contiguous()
