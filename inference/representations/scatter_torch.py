"""Events added to pixels with torch, on any device. See `scatter_numba` for the idea.

Events go to the device once (`upload`), 5 bytes each, 9 with their times; every representation and every
latent instant is then one scatter-add over them. Only whole numbers are added, so the sums do not depend on
the order in which a device adds them: the result is the same bit for bit on every run and every device.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from capture.packets import Events
from inference.representations.coding import Columns

Index = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Uploaded:
    """Events whose pixels lie on a device.

    Attributes:
        source: the events on the host; binary searches over times are done there.
        x, y: (N,) int32 on the device.
        on: (N,) int32 on the device, 1 = brighter, 0 = darker.
    """

    source: Columns
    x: torch.Tensor
    y: torch.Tensor
    on: torch.Tensor

    @property
    def device(self) -> torch.device:
        """Where the pixels are."""
        return self.x.device

    def __len__(self) -> int:
        return len(self.source)


def to_device(a: NDArray[Any], device: torch.device) -> torch.Tensor:
    """A copy on the device.

    On CUDA through pinned memory on a stream of its own: neither the host waits, nor the copy for kernels that
    are queued already. What is queued afterwards waits for the copy.
    """
    # A writable copy: torch has no read-only tensors and warns of them.
    if device.type != "cuda":
        return torch.from_numpy(np.array(a, order="C")).to(device)
    pinned = torch.empty(a.shape, dtype=torch.from_numpy(np.empty(0, a.dtype)).dtype, pin_memory=True)
    pinned.numpy()[...] = a
    with torch.cuda.device(device):
        current, aside = torch.cuda.current_stream(), _upload_stream(device)
        with torch.cuda.stream(aside):
            there = pinned.to(device, non_blocking=True)
        current.wait_stream(aside)
    # It was allocated for the other stream: its memory must not be given away while this one reads it.
    there.record_stream(current)
    return there


def to_host(there: torch.Tensor) -> NDArray[Any]:
    """A copy on the host.

    From CUDA into pinned memory that is kept for the next one: other memory is filled by way of a small pinned
    buffer, piece by piece, after the kernel has cleared its pages.
    """
    if there.device.type != "cuda":
        return np.asarray(there.contiguous().cpu().numpy())
    here = torch.empty(there.shape, dtype=there.dtype, pin_memory=True)
    here.copy_(there.contiguous(), non_blocking=True)
    torch.cuda.current_stream(there.device).synchronize()
    # The array keeps the tensor, and so its memory, as long as it lives.
    return np.asarray(here.numpy())


@cache
def _upload_stream(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


def upload(events: Events | Columns | Uploaded, device: str | torch.device = "cpu") -> Uploaded:
    """Bring events to a device, once for any number of representations.

    What has been uploaded before is handed back as it is, wherever it lies.
    """
    if isinstance(events, Uploaded):
        return events
    source = Columns.of(events) if isinstance(events, Events) else events
    where = torch.device(device)
    # Not every device has uint16; as int16 the bits travel, and the mask restores the value there.
    x = to_device(source.x.view(np.int16), where).to(torch.int32) & 0xFFFF
    y = to_device(source.y.view(np.int16), where).to(torch.int32) & 0xFFFF
    on = (to_device(source.p.view(np.uint8), where) != 0).to(torch.int32)
    return Uploaded(source, x, y, on)


def some(events: Events) -> Events:
    """The events, or where there is none one that lies beside the sensor: a device is given at least one."""
    if len(events):
        return events
    zero, off = np.zeros(1, np.int64), np.zeros(1, np.bool_)
    x, y = (np.array([n], np.uint16) for n in (events.width, events.height))
    return Events(zero, x, y, off, events.width, events.height)


def pixel(e: Uploaded, width: int, height: int, *, left: int = 0, top: int = 0) -> torch.Tensor:
    """(N,) int64 index into a (height, width) map, `-1` for events outside of it."""
    return pixel_of(e.x - left if left else e.x, e.y - top if top else e.y, width, height)


def pixel_of(x: torch.Tensor, y: torch.Tensor, width: int, height: int) -> torch.Tensor:
    """As `pixel`, of columns and rows (N,) int32."""
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    return torch.where(inside, y.long() * width + x.long(), -1)


def run_of(bounds: Index, device: torch.device) -> torch.Tensor:
    """(M,) int64: the run r of each index, bounds[r] <= index < bounds[r + 1], from bounds[0] on."""
    lengths = torch.from_numpy(np.diff(bounds)).to(device)
    runs = torch.arange(len(bounds) - 1, device=device)
    return torch.repeat_interleave(runs, lengths, output_size=int(bounds[-1] - bounds[0]))


def run_in(bounds: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """For each of `count` indices the run in which it lies, and whether it lies in one.

    As `run_of`, from bounds that only the device knows: what is asked of it depends on nothing but sizes.

    Args:
        bounds: (R + 1,) int64, not decreasing.
        count: of indices.

    Returns:
        (count,) int64 from −1 (before the first run) to R (behind the last one), and (count,) bool.
    """
    index = torch.arange(count, device=bounds.device)
    run = torch.searchsorted(bounds, index, right=True) - 1
    return run, (run >= 0) & (run < len(bounds) - 1)


def add(out: torch.Tensor, cell: torch.Tensor, value: torch.Tensor | float) -> None:
    """`out[cell] += value`. The last cell of `out` (1-D) is a bin for what lies outside: `-1` goes there."""
    at = torch.where(cell < 0, len(out) - 1, cell)
    if not isinstance(value, torch.Tensor):
        value = torch.full((1,), value, dtype=out.dtype, device=out.device).expand(len(at))
    out.scatter_add_(0, at, value.to(out.dtype))
