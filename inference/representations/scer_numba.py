"""SCER on one CPU core. See `scer`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from capture.compiled import njit
from capture.errors import UsageError
from capture.packets import Events
from inference.representations.coding import Columns, Mode
from inference.representations.scatter_numba import plain, sum_runs
from inference.representations.scer import Bounds, bounds, check_bins, edges


@njit(nogil=True)
def _whole(
    x: NDArray[np.uint16], y: NDArray[np.uint16], p: NDArray[np.uint8], at: Bounds, half: int, shift: int,
    width: int, height: int, sums: NDArray[np.int32], out: NDArray[np.float32],
) -> None:  # fmt: skip
    """SCER of all events at once, from the middle outwards: the sums of one half are one map, never cleared.

    It stays in the cache, and each channel is written once. `sums` comes in as zeros.
    """
    plane = width * height
    bins = 2 * half
    for step in range(bins):
        k = half - 1 - step if step < half else step
        sign = np.int32(-1 if step < half else 1)
        if step == half:
            sums[:] = 0
        for i in range(at[k], at[k + 1]):
            xi = np.int64(x[i])
            yi = np.int64(y[i])
            if xi >= width or yi >= height:
                continue
            sums[yi * width + xi] += sign * (2 * np.int32(p[i] != 0) - 1)
        channel = k if k < half else k + shift
        row = out[channel * plane : (channel + 1) * plane]
        for i in range(plane):
            row[i] = np.float32(sums[i])


@njit(nogil=True)
def _cumulate(parts: NDArray[np.int32], out: NDArray[np.float32], half: int, shift: int) -> None:
    """Channels from parts, both (channels, pixels)."""
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


def _channels(
    parts: NDArray[np.int32], zero_middle: bool, out: NDArray[np.float32] | None
) -> NDArray[np.float32]:
    bins, height, width = parts.shape
    shape = (bins + zero_middle, height, width)
    if out is None:
        out = np.zeros(shape, np.float32)
    elif out.shape != shape or out.dtype != np.float32 or not out.flags.c_contiguous:
        raise UsageError(f"SCER: out must be C-contiguous float32 {shape}, got {out.dtype} {out.shape}")
    elif zero_middle:
        out[bins // 2] = 0
    _cumulate(parts.reshape(bins, -1), out.reshape(len(out), -1), bins // 2, int(zero_middle))
    return out


def from_bounds(events: Events | Columns, at: Bounds, *, zero_middle: bool = False) -> NDArray[np.float32]:
    """SCER of the runs between the indices `at` (ascending, one more than channels).

    Returns:
        (B, height, width) float32, B + 1 channels with `zero_middle`.
    """
    check_bins(len(at) - 1)
    bins, height, width = len(at) - 1, events.height, events.width
    out = np.empty((bins + zero_middle, height, width), np.float32)
    if zero_middle:
        out[bins // 2] = 0
    x, y, p = plain(events.x, events.y, events.p)
    sums = np.zeros(height * width, np.int32)
    _whole(x, y, p, at, bins // 2, int(zero_middle), width, height, sums, out.reshape(-1))
    return out


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

    def result(
        self, out: NDArray[np.float32] | None = None, *, zero_middle: bool = False
    ) -> NDArray[np.float32]:
        """SCER of what has come so far, in `out` when given; more may follow."""
        return _channels(self._parts, zero_middle, out)
