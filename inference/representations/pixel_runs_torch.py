"""Events of an exposure by pixel, with torch: what happened until an instant, and integrals over time.

What a device is asked to do here does not depend on what the events are like, so nothing waits for an answer
from it, and all instants are served together: with a few hundred thousand events an operation on a GPU takes
less time than to ask for it.

Counts are whole numbers and each pixel's run is summed in order, without a floating-point scatter-add, so a
device gives the same result on every run.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from capture.packets import Events
from inference.representations.scatter_torch import Index, run_of, to_device, upload

_TOGETHER = 24
"""Instants that are counted at once, with some hundred bytes a pixel; LDN asks for 23."""


@dataclass(frozen=True, slots=True, eq=False)
class Placed:
    """Events on a device, in order of time.

    Attributes:
        pixel: (N,) int64, row by row.
        on: (N,) int64, 1 = brighter, 0 = darker.
        pixels: of the sensor.
    """

    pixel: Tensor
    on: Tensor
    pixels: int

    @property
    def device(self) -> torch.device:
        """Where they are."""
        return self.pixel.device

    def __len__(self) -> int:
        return len(self.pixel)

    def __getitem__(self, part: slice) -> Placed:
        """Some of them, in order."""
        return Placed(self.pixel[part], self.on[part], self.pixels)


def on_sensor(events: Events) -> Events:
    """Those that have a pixel."""
    if not len(events) or (events.x.max() < events.width and events.y.max() < events.height):
        return events
    seen = (events.x < events.width) & (events.y < events.height)
    t, x, y, p = events.t[seen], events.x[seen], events.y[seen], events.p[seen]
    return Events(t, x, y, p, events.width, events.height)


def place(events: Events, device: torch.device) -> Placed:
    """Bring events to a device, which all have a pixel (`on_sensor`)."""
    e = upload(events, device)
    return Placed(e.y.long() * events.width + e.x, e.on.long(), events.width * events.height)


def counts_between(e: Placed, bounds: Index) -> Tensor:
    """Events of each pixel in runs of indices, from bounds[r] to bounds[r + 1].

    Args:
        e: the events.
        bounds: (R + 1,) not decreasing, on the host.

    Returns:
        (R, 2, pixels) int32 of OFF and ON.
    """
    part, runs = e[int(bounds[0]) : int(bounds[-1])], len(bounds) - 1
    cell = (run_of(bounds, e.device) * 2 + part.on) * e.pixels + part.pixel
    out = torch.zeros(runs * 2 * e.pixels, dtype=torch.int32, device=e.device)
    out.index_add_(0, cell, torch.ones_like(cell, dtype=torch.int32))
    return out.view(runs, 2, e.pixels)


def counts_until(e: Placed, upto: Index) -> Iterator[Tensor]:
    """Events of each pixel among the first so many, for one number after another.

    Args:
        e: the events.
        upto: (L,) how many, not decreasing.

    Yields:
        (K, 2, pixels) int32 of OFF and ON, the K of all together being L.
    """
    before, done = torch.zeros((2, e.pixels), dtype=torch.int32, device=e.device), 0
    for first in range(0, len(upto), _TOGETHER):
        ends = upto[first : first + _TOGETHER]
        more = counts_between(e, np.concatenate(([done], ends)))
        out = before + more.cumsum(0, dtype=torch.int32)
        yield out
        before, done = out[-1], int(ends[-1])


@dataclass(frozen=True, slots=True, eq=False)
class PixelRuns:
    """Events in order of their pixels, each pixel's in order of time.

    Attributes:
        more, less: (N,) int64, ON and OFF events of the pixel until each event and with it.
        held: (N,) time until the pixel's next event or the exposure's end.
        count: (pixels,) int64 events.
        wait: (pixels,) time until the first event; of a pixel without one it means nothing.
    """

    more: Tensor
    less: Tensor
    held: Tensor
    count: Tensor
    wait: Tensor

    def integral(self, values: Tensor, otherwise: float) -> Tensor:
        """Time integrals over the exposure of what is 1 until a pixel's first event.

        Args:
            values: (N, …) from each event until the pixel's next one.
            otherwise: of a pixel without events.

        Returns:
            (pixels, …).
        """
        shape = (-1,) + (1,) * (values.ndim - 1)
        pieces = values * self.held.view(shape)
        # lengths are right by their making; checking them would wait for the device
        after = torch.segment_reduce(pieces, "sum", lengths=self.count, unsafe=True)
        return torch.where(self.count.view(shape) > 0, self.wait.view(shape) + after, otherwise)


def pixel_runs(e: Placed, since: NDArray[np.int64], length: float, kind: torch.dtype) -> PixelRuns:
    """The events by pixel; there is at least one.

    Args:
        e: the events.
        since: (N,) µs since the exposure's start, on the host.
        length: of the exposure in µs.
        kind: of the times.
    """
    # As int32 they are good for 35 minutes, and half as much goes to the device.
    t = to_device(since.astype(np.int32), e.device)
    count = torch.zeros(e.pixels, dtype=torch.int64, device=e.device)
    count.index_add_(0, e.pixel, torch.ones_like(e.pixel))
    pixel, order = torch.sort(e.pixel, stable=True)
    after, ups = t[order].to(kind), e.on[order]
    first = torch.cumsum(count, 0) - count
    begin = first[pixel]
    running = torch.cumsum(ups, 0)
    more = running - (running[begin] - ups[begin])
    less = torch.arange(1, len(e) + 1, device=e.device) - begin - more
    until = torch.full_like(after, length)
    until[:-1] = torch.where(pixel[1:] == pixel[:-1], after[1:], until[:-1])
    return PixelRuns(more, less, until - after, count, after[first.clamp(max=len(e) - 1)])
