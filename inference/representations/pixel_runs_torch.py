"""Events of an exposure by pixel, with torch: what happened until an instant, and integrals over time.

What a device is asked to do here depends on nothing but how many events there are: where runs of them begin and
end is told by numbers on the device. So nothing waits for an answer from it, all instants are served together
(with a few hundred thousand events an operation on a GPU takes less time than to ask for it), and what was
asked once can be recorded and replayed for other events. Of those only the ones between bounds count: a list
may be longer than what it is to tell.

Counts are whole numbers and each pixel's run is summed in order, without a floating-point scatter-add, so a
device gives the same result on every run.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from capture.packets import Events
from inference.representations.scatter_torch import Uploaded, pixel, run_in, upload

_TOGETHER = 24
"""Instants that are counted at once, with some hundred bytes a pixel; LDN asks for 23."""

Number = float | Tensor
"""On the host, or one value on the device."""


class Thresholds(Protocol):
    """A `Contrast`, or one whose two values lie on the device."""

    @property
    def on(self) -> Number:
        """Log-intensity step of one ON event."""

    @property
    def off(self) -> Number:
        """Log-intensity step of one OFF event."""


@dataclass(frozen=True, slots=True)
class ThresholdsThere:
    """Contrast thresholds on a device, of no axis each. See `Thresholds`."""

    on: Tensor
    off: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Placed:
    """Events on a device, in order of time.

    Attributes:
        pixel: (N,) int64, row by row; any for those that do not count.
        on: (N,) int64, 1 = brighter, 0 = darker.
        seen: (N,) bool, those that count.
        pixels: of the sensor.
        by_pixel: (N,) int64 indices in order of pixel, each pixel's in order of time, those that do not count
            at the end; where somebody has sorted them already.
    """

    pixel: Tensor
    on: Tensor
    seen: Tensor
    pixels: int
    by_pixel: Tensor | None = None

    @property
    def device(self) -> torch.device:
        """Where they are."""
        return self.pixel.device

    def __len__(self) -> int:
        return len(self.pixel)

    def without(self, pixels: Tensor) -> Placed:
        """Events of some pixels, (pixels,) bool, no longer count."""
        return Placed(self.pixel, self.on, self.seen & ~pixels[self.pixel], self.pixels)


def place(events: Events | Uploaded, device: torch.device) -> Placed:
    """Bring events to a device."""
    e = upload(events, device)
    width, height = e.source.width, e.source.height
    return placed(pixel(e, width, height), e.on, width * height)


def placed(cell: Tensor, on: Tensor, pixels: int) -> Placed:
    """Events on the device.

    Args:
        cell: (N,) int64 pixel, −1 for those that have none.
        on: (N,) 1 = brighter, 0 = darker.
        pixels: of the sensor.
    """
    return Placed(cell.clamp(min=0), on.long(), cell >= 0, pixels)


def since_start(t: NDArray[np.int64], start_us: int) -> NDArray[np.int32]:
    """(N,) µs since an exposure's start: good for 35 minutes, and half as much to send as times."""
    # In 64 bits first: a live clock counts from 1970.
    return (t - start_us).astype(np.int32)


def bounds_of(
    t: NDArray[np.int64], start_us: int, end_us: int, times_us: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Where events begin and end that tell of instants.

    Args:
        t: (N,) times of events, ascending, within the exposure or not.
        start_us, end_us: the exposure.
        times_us: (L,) instants within it, ascending.

    Returns:
        (L + 2,) indices: of the exposure's first event, of the first one after each instant, and of the first
        one after the exposure.
    """
    first, last = np.searchsorted(t, [start_us, end_us])
    upto = np.searchsorted(t, times_us, side="right").clip(first, last)
    return np.asarray([first, *upto, last], np.int64)


def counts_between(e: Placed, bounds: Tensor) -> Tensor:
    """Events of each pixel in runs of indices, from bounds[r] to bounds[r + 1].

    Args:
        e: the events.
        bounds: (R + 1,) int64, not decreasing, on the device.

    Returns:
        (R, 2, pixels) int32 of OFF and ON.
    """
    runs = len(bounds) - 1
    out = torch.zeros(runs * 2 * e.pixels, dtype=torch.int32, device=e.device)
    if runs:
        run, inside = run_in(bounds, len(e))
        cell = (run.clamp_(0, runs - 1) * 2 + e.on) * e.pixels + e.pixel
        # Those that do not count add nothing to cells here and there: in one spare cell they would queue.
        out.index_add_(0, cell, (inside & e.seen).int())
    return out.view(runs, 2, e.pixels)


def counts_until(e: Placed, bounds: Tensor) -> Iterator[Tensor]:
    """Events of each pixel from the first bound to one bound after the other.

    Args:
        e: the events.
        bounds: (L + 1,) int64, not decreasing, on the device.

    Yields:
        (K, 2, pixels) int32 of OFF and ON, the K of all together being L.
    """
    before: Tensor | None = None
    for first in range(0, len(bounds) - 1, _TOGETHER):
        more = counts_between(e, bounds[first : first + _TOGETHER + 1])
        out = more.cumsum(0, dtype=torch.int32)
        out = out if before is None else before + out
        yield out
        before = out[-1]


@dataclass(frozen=True, slots=True, eq=False)
class PixelRuns:
    """Events in order of their pixels, each pixel's in order of time; at the end those that do not count.

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

    def integral(self, values: Tensor, otherwise: Number) -> Tensor:
        """Time integrals over the exposure of what is 1 until a pixel's first event.

        Args:
            values: (N, …) from each event until the pixel's next one.
            otherwise: of a pixel without events.

        Returns:
            (pixels, …).
        """
        shape = (-1,) + (1,) * (values.ndim - 1)
        pieces = values * self.held.view(shape)
        # Lengths are right by their making; checking them would wait for the device. Events that do not count
        # lie behind and have none: a GPU sums a run of vectors with one thread, and theirs may be the longest.
        after = torch.segment_reduce(pieces, "sum", lengths=self.count, unsafe=True)
        return torch.where(self.count.view(shape) > 0, self.wait.view(shape) + after, otherwise)


def pixel_runs(
    e: Placed, since: Tensor, first: Tensor, last: Tensor, length: Number, kind: torch.dtype
) -> PixelRuns:
    """The events of an exposure by pixel.

    Args:
        e: events, at least one.
        since: (N,) int32 µs since the exposure's start.
        first, last: those from index `first` to before `last` are the exposure's; no axis, on the device. Of
            events that are sorted by pixel: all that count.
        length: of the exposure in µs.
        kind: of the times.
    """
    index = torch.arange(len(e), device=e.device)
    own = e.seen & (index >= first) & (index < last)
    count = torch.zeros(e.pixels, dtype=torch.int64, device=e.device).index_add_(0, e.pixel, own.long())
    # As int32, half as many bits are to be sorted.
    ordered, order = torch.where(own, e.pixel, e.pixels).int(), e.by_pixel
    if order is None:
        ordered, order = torch.sort(ordered, stable=True)
    else:
        ordered = ordered[order]
    at = ordered.long()
    after, ups = since[order].to(kind), e.on[order]
    ends = torch.cumsum(count, 0)
    begins = torch.cat([torch.zeros_like(ends[:1]), ends])
    begin = begins[at]
    running = torch.cumsum(ups, 0)
    more = running - (running[begin] - ups[begin])
    less = index + 1 - begin - more
    until = torch.empty_like(after)
    until[:-1] = torch.where(ordered[1:] == ordered[:-1], after[1:], length)
    until[-1:] = length
    return PixelRuns(more, less, until - after, count, after[begins[:-1].clamp(max=len(e) - 1)])
