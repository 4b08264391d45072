"""Event-count maps on one CPU core. See `counts`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from capture.errors import UsageError
from capture.packets import Events
from inference.representations.coding import Columns
from inference.representations.counts import edges
from inference.representations.scatter_numba import count_runs


def count_all(events: Columns | Events) -> NDArray[np.float32]:
    """(2, height, width) float32: all of `events` by polarity, negative first; the times do not matter."""
    out = np.zeros((2, events.height, events.width), np.float32)
    zero = np.zeros(1, np.int64)
    count_runs(events.x, events.y, events.p, zero, zero + len(events.x), zero, out)
    return out


def event_counts(
    events: Events | Columns, start_us: int, end_us: int, *, steps: int = 1
) -> NDArray[np.float32]:
    """Counts of one window, corrected.

    Args:
        events: may reach beyond the window; whole µs.
        start_us, end_us: the window; events with start <= t <= end are used.
        steps: parts of time.

    Returns:
        (2, height, width) float32, negative first; (steps, 2, height, width) when steps > 1.

    Raises:
        UsageError: a window that runs backwards, or no step.
    """
    window = Counts(events.width, events.height, start_us, end_us, steps=steps)
    window.push(events)
    return window.result()


class Counts:
    """Counts of one window that grows as packets come; the same numbers as `event_counts` over all of them.

    What was the next window of one frame is the current one of the following frame: keep the result, nothing
    need be counted again.
    """

    def __init__(self, width: int, height: int, start_us: int, end_us: int, *, steps: int = 1) -> None:
        self._edges = edges(start_us, end_us, steps)
        self._maps = np.zeros((steps, 2, height, width), np.float32)

    def push(self, events: Events | Columns) -> None:
        """Add what of a packet lies inside the window.

        Raises:
            UsageError: the packet is of a sensor of another size.
        """
        steps, _, height, width = self._maps.shape
        if (events.height, events.width) != (height, width):
            raise UsageError(
                f"packet of a {events.width}×{events.height} sensor, the window is {width}×{height}"
            )
        at = np.searchsorted(events.t, self._edges, side="left").astype(np.int64)
        channel = 2 * np.arange(steps, dtype=np.int64)
        maps = self._maps.reshape(2 * steps, height, width)
        count_runs(events.x, events.y, events.p, at[:-1], at[1:], channel, maps)

    def result(self) -> NDArray[np.float32]:
        """A copy of the counts of what has come so far; more may follow."""
        return self._maps[0].copy() if len(self._maps) == 1 else self._maps.copy()


def stack(windows: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """SC-Net's event channels from the counts of the previous, the current and the next window.

    Returns:
        (6, height, width); of windows in T steps (6, height, width, T), the layout of the spiking stage.
    """
    if len(windows) != 3 or any(w.shape != windows[0].shape for w in windows):
        raise UsageError(f"SC-Net takes three windows of one shape, got {[w.shape for w in windows]}")
    joined = np.concatenate(windows, axis=-3)
    return joined if joined.ndim == 3 else np.ascontiguousarray(np.moveaxis(joined, 0, -1))
