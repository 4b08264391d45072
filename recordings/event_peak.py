"""The highest event rate of a recording: one definition, for `health.json` and for `recordings info`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PEAK_US = 10_000


class EventPeak:
    """Most events within 10 ms, which begin at whole multiples of 10 ms of the time axis.

    Across a jump of the axis nothing is added up: times on either side of it have no span.

    Attributes:
        events: most events within one such window.
        at_us: where it begins.
    """

    def __init__(self) -> None:
        self.events = self.at_us = 0
        self._window, self._in_window = 0, 0
        self._epoch, self._last_us = 0, -(2**63)

    @property
    def hz(self) -> float:
        """Events per second in the busiest 10 ms."""
        return self.events * 1e6 / PEAK_US

    def add(self, packet: Windows | None, epoch: int = 0) -> None:
        """The next packet's; `epoch` of the time axis: another one than before, and it has jumped."""
        if packet is None:
            return
        numbers, counts = packet.numbers, packet.counts.copy()
        goes_on = epoch == self._epoch and packet.first_us >= self._last_us
        if goes_on and int(numbers[0]) == self._window:
            counts[0] += self._in_window
        k = int(np.argmax(counts))
        if counts[k] > self.events:
            self.events, self.at_us = int(counts[k]), int(numbers[k]) * PEAK_US
        self._window, self._in_window = int(numbers[-1]), int(counts[-1])
        self._epoch, self._last_us = epoch, packet.last_us


@dataclass(frozen=True, slots=True, eq=False)
class Windows:
    """How a packet's events lie on the windows of 10 ms: all that the peak needs of them.

    Attributes:
        numbers: (W,) int64 of the windows that hold events, rising; each begins at its number times 10 ms.
        counts: (W,) int64 events in each.
        first_us, last_us: of the packet's events.
    """

    numbers: NDArray[np.int64]
    counts: NDArray[np.int64]
    first_us: int
    last_us: int

    @classmethod
    def of(cls, t: NDArray[np.int64]) -> Windows | None:
        """Of times (N,) in µs, non-decreasing; None: there are none. Keeps no view of them."""
        if not len(t):
            return None
        begins, numbers = _windows(t)
        return cls(numbers, np.diff(np.append(begins, len(t))), int(t[0]), int(t[-1]))


def _windows(t: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where each window that holds events begins in `t`, and its number.

    The recorder asks this of every packet, so that a few windows are looked up and not every event divided. One
    wild time must not ask for memory for all windows between.
    """
    first, last = int(t[0]) // PEAK_US, int(t[-1]) // PEAK_US
    if 0 <= last - first < len(t):
        edges = np.arange(first + 1, last + 1, dtype=np.int64) * PEAK_US
        begins = np.append(np.int64(0), np.searchsorted(t, edges)).astype(np.int64)
        held = np.append(begins[1:], len(t)) > begins
        return begins[held], np.arange(first, last + 1, dtype=np.int64)[held]
    windows = t // PEAK_US
    starts = np.append(0, np.flatnonzero(np.diff(windows)) + 1).astype(np.int64)
    return starts, windows[starts]
