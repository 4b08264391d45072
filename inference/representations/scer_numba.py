"""SCER on one CPU core. See `scer`."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from capture.errors import UsageError
from capture.packets import Events
from inference.representations.coding import Columns, Mode
from inference.representations.scatter_numba import sum_runs
from inference.representations.scer import Bounds, bounds, check_bins, edges


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _cumulate(parts: NDArray[np.int32], out: NDArray[np.float32], half: int, shift: int) -> None:
    """Channels from parts, both (channels, pixels); `out` may be the memory of `parts`."""
    bins, n = parts.shape
    for i in range(n):
        total = np.int32(0)
        for k in range(half - 1, -1, -1):
            total -= parts[k, i]
            out[k, i] = np.float32(total)
    for i in range(n):
        total = np.int32(0)
        for k in range(half, bins):
            total += parts[k, i]
            out[k + shift, i] = np.float32(total)


def _channels(parts: NDArray[np.int32], zero_middle: bool, *, in_place: bool) -> NDArray[np.float32]:
    bins, height, width = parts.shape
    shape = (bins + zero_middle, height, width)
    # A part's cell is read before its channel's cell is written, so both can share memory.
    out = parts.view(np.float32) if in_place and not zero_middle else np.zeros(shape, np.float32)
    _cumulate(parts.reshape(bins, -1), out.reshape(len(out), -1), bins // 2, int(zero_middle))
    return out


def from_bounds(events: Events | Columns, at: Bounds, *, zero_middle: bool = False) -> NDArray[np.float32]:
    """SCER of the runs between the indices `at` (ascending, one more than channels).

    Returns:
        (B, height, width) float32, B + 1 channels with `zero_middle`.
    """
    check_bins(len(at) - 1)
    parts = np.zeros((len(at) - 1, events.height, events.width), np.int32)
    sum_runs(events.x, events.y, events.p, at, parts)
    return _channels(parts, zero_middle, in_place=True)


def scer(
    events: Events | Columns, start_us: int, end_us: int, *, bins: int = 6, mode: Mode = Mode.CORRECTED,
    zero_middle: bool = False,
) -> NDArray[np.float32]:  # fmt: skip
    """SCER of one window.

    Args:
        events: may reach beyond the window.
        start_us, end_us: the window; events with start <= t < end are used.
        bins: number of channels, even.
        mode: see `scer`'s module text.
        zero_middle: the seven-channel form.

    Returns:
        (bins, height, width) float32, whole numbers, not normalised; zeros for an empty window.

    Raises:
        UsageError: a window without length, or an odd number of bins.
    """
    source = Columns.of(events) if isinstance(events, Events) else events
    return from_bounds(source, bounds(source, start_us, end_us, bins, mode), zero_middle=zero_middle)


class Scer:
    """SCER of one window that grows as packets come; the same numbers as `scer` over all of them.

    For the corrected rule, whose edges are known when the exposure is. Packets may come in any order.
    """

    def __init__(self, width: int, height: int, start_us: int, end_us: int, *, bins: int = 6) -> None:
        self._edges = edges(start_us, end_us, bins)
        self._parts = np.zeros((bins, height, width), np.int32)

    def restart(self, start_us: int, end_us: int) -> None:
        """Begin another window in the same memory."""
        self._edges = edges(start_us, end_us, len(self._parts))
        self._parts.fill(0)

    def push(self, events: Events) -> None:
        """Add what of a packet lies inside the window.

        Raises:
            UsageError: the packet is of a sensor of another size.
        """
        if (events.height, events.width) != self._parts.shape[1:]:
            height, width = self._parts.shape[1:]
            raise UsageError(
                f"packet of a {events.width}×{events.height} sensor, the window is {width}×{height}"
            )
        at = np.searchsorted(events.t, self._edges, side="left").astype(np.int64)
        sum_runs(events.x, events.y, events.p, at, self._parts)

    def result(self, *, zero_middle: bool = False) -> NDArray[np.float32]:
        """SCER of what has come so far; more may follow."""
        return _channels(self._parts, zero_middle, in_place=False)
