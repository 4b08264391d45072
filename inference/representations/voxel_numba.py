"""The voxel grid on one CPU core. See `voxel`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from capture.compiled import njit
from capture.errors import UsageError
from capture.packets import Events
from inference.representations.coding import Columns, Mode, check_window
from inference.representations.scatter_numba import plain
from inference.representations.voxel import check_grid, edges, inside, scaled_times


@njit(nogil=True)
def _add(
    t: NDArray[np.int64], x: NDArray[np.uint16], y: NDArray[np.uint16], p: NDArray[np.uint8],
    at: NDArray[np.int64], start: int, length: int, width: int, height: int, out: NDArray[np.int64],
) -> int:  # fmt: skip
    """Add numerators over `length`; events at[k] … at[k + 1] − 1 lie between bins k and k + 1."""
    plane = width * height
    scale = len(at) - 1
    outside = 0
    for k in range(scale):
        offset = scale * start + k * length
        for i in range(at[k], at[k + 1]):
            xi = np.int64(x[i])
            yi = np.int64(y[i])
            if xi >= width or yi >= height:
                outside += 1
                continue
            share = scale * t[i] - offset
            sign = 2 * np.int64(p[i] != 0) - 1
            cell = k * plane + yi * width + xi
            out[cell] += sign * (length - share)
            out[cell + plane] += sign * share
    return outside


@njit(nogil=True)
def _whole(
    t: NDArray[np.int64], x: NDArray[np.uint16], y: NDArray[np.uint16], p: NDArray[np.uint8],
    at: NDArray[np.int64], start: int, length: int, width: int, height: int, sums: NDArray[np.int64],
    out: NDArray[np.float32],
) -> None:  # fmt: skip
    """The same for all events at once: only two bins are open at a time, so their sums stay in the cache.

    `sums` (2, pixels) comes in as zeros and is left so.
    """
    plane = width * height
    scale = len(at) - 1
    for k in range(scale + 1):
        here, there = sums[k % 2], sums[1 - k % 2]
        if k < scale:
            offset = scale * start + k * length
            for i in range(at[k], at[k + 1]):
                xi = np.int64(x[i])
                yi = np.int64(y[i])
                if xi >= width or yi >= height:
                    continue
                share = scale * t[i] - offset
                sign = 2 * np.int64(p[i] != 0) - 1
                cell = yi * width + xi
                here[cell] += sign * (length - share)
                there[cell] += sign * share
        row = out[k * plane : (k + 1) * plane]
        for i in range(plane):
            # Division, not a product with 1/length: only that rounds correctly.
            row[i] = np.float32(np.float64(here[i]) / np.float64(length))
            here[i] = 0


@njit(nogil=True)
def _divide(numerators: NDArray[np.int64], length: int, out: NDArray[np.float32]) -> None:
    for i in range(len(numerators)):
        out[i] = np.float32(np.float64(numerators[i]) / np.float64(length))


@njit(nogil=True)
def _add_published(
    s: NDArray[np.float32], x: NDArray[np.uint16], y: NDArray[np.uint16], p: NDArray[np.uint8],
    bins: int, width: int, height: int, out: NDArray[np.float32],
) -> int:  # fmt: skip
    plane = width * height
    outside = 0
    for i in range(len(s)):
        xi = np.int64(x[i])
        yi = np.int64(y[i])
        if xi >= width or yi >= height:
            outside += 1
            continue
        k = np.int64(s[i])
        f = s[i] - np.float32(k)
        sign = np.float32(2 * np.int32(p[i] != 0) - 1)
        cell = k * plane + yi * width + xi
        if k < bins:
            out[cell] += sign * (np.float32(1) - f)
        if k + 1 < bins:
            out[cell + plane] += sign * f
    return outside


def published(events: Columns | Events, *, bins: int = 6, relative: bool = False) -> NDArray[np.float32]:
    """The grid of all of `events` by the published rule, in its float32. For files of data sets.

    Returns:
        (bins, height, width) float32.
    """
    out = np.zeros((bins, events.height, events.width), np.float32)
    s = scaled_times(events.t, bins, relative=relative)
    x, y, p = plain(events.x, events.y, events.p)
    _add_published(s, x, y, p, bins, events.width, events.height, out.reshape(-1))
    return out


def voxel_grid(
    events: Events | Columns, start_us: int, end_us: int, *, bins: int = 6, mode: Mode = Mode.CORRECTED
) -> NDArray[np.float32]:
    """The voxel grid of one window.

    Args:
        events: may reach beyond the window; whole microseconds.
        start_us, end_us: the window; events with start <= t < end are used.
        bins: at least 2.
        mode: see `voxel`'s module text.

    Returns:
        (bins, height, width) float32, not normalised; zeros for an empty window.

    Raises:
        UsageError: a window without length or too long, or fewer than two bins.
    """
    source = Columns.of(events) if isinstance(events, Events) else events
    if mode is not Mode.CORRECTED:
        check_window(start_us, end_us, bins)
        return published(inside(source, start_us, end_us), bins=bins, relative=mode is Mode.RELATIVE)
    check_grid(start_us, end_us, bins)
    out = np.empty((bins, events.height, events.width), np.float32)
    at = np.searchsorted(source.t, edges(start_us, end_us, bins), side="left").astype(np.int64)
    x, y, p = plain(source.x, source.y, source.p)
    sums = np.zeros((2, events.width * events.height), np.int64)
    _whole(
        np.ascontiguousarray(source.t), x, y, p, at, int(start_us), int(end_us - start_us),
        events.width, events.height, sums, out.reshape(-1),
    )  # fmt: skip
    return out


class VoxelGrid:
    """The corrected grid of one window that grows as packets come; exact, so the same bit for bit in any order.

    Working memory: 8 bytes a cell.
    """

    def __init__(self, width: int, height: int, start_us: int, end_us: int, *, bins: int = 6) -> None:
        check_grid(start_us, end_us, bins)
        self._window = (int(start_us), int(end_us))
        self._numerators = np.zeros((bins, height, width), np.int64)

    def restart(self, start_us: int, end_us: int) -> None:
        """Begin another window in the same memory."""
        check_grid(start_us, end_us, len(self._numerators))
        self._window = (int(start_us), int(end_us))
        self._numerators.fill(0)

    def push(self, events: Events | Columns) -> None:
        """Add what of a packet lies inside the window.

        Raises:
            UsageError: the packet is of a sensor of another size.
        """
        bins, height, width = self._numerators.shape
        if (events.height, events.width) != (height, width):
            raise UsageError(
                f"packet of a {events.width}×{events.height} sensor, the window is {width}×{height}"
            )
        start, end = self._window
        at = np.searchsorted(events.t, edges(start, end, bins), side="left").astype(np.int64)
        x, y, p = plain(events.x, events.y, events.p)
        t = np.ascontiguousarray(events.t)
        _add(t, x, y, p, at, start, end - start, width, height, self._numerators.reshape(-1))

    def result(self, out: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """The grid of what has come so far, in `out` when given; more may follow."""
        if out is None:
            out = np.empty(self._numerators.shape, np.float32)
        _divide(self._numerators.reshape(-1), self._window[1] - self._window[0], out.reshape(-1))
        return out
