"""Events added to pixels on one CPU core: the loop that SCER, EGER and the count maps share.

What decides the channel of an event is its time alone, and events come sorted by time. So every channel is a
run of indices that a few binary searches find, and the loop itself never looks at a time: it reads 5 bytes an
event (column, row, polarity) and adds into the two maps that are in turn, which stay in the cache.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from capture.compiled import njit

Index = NDArray[np.int64]


@njit(nogil=True)
def _count(
    x: NDArray[np.uint16], y: NDArray[np.uint16], p: NDArray[np.uint8],
    lo: Index, hi: Index, channel: Index, left: int, top: int, width: int, height: int,
    out: NDArray[np.float32],
) -> int:  # fmt: skip
    """Add 1 in channel `channel[r] + p` for every event of run r. Gives the events outside the region."""
    plane = width * height
    outside = 0
    for r in range(len(lo)):
        base = channel[r] * plane
        for i in range(lo[r], hi[r]):
            xi = np.int64(x[i]) - left
            yi = np.int64(y[i]) - top
            if xi < 0 or xi >= width or yi < 0 or yi >= height:
                outside += 1
                continue
            out[base + np.int64(p[i] != 0) * plane + yi * width + xi] += np.float32(1.0)
    return outside


@njit(nogil=True)
def _sum(
    x: NDArray[np.uint16], y: NDArray[np.uint16], p: NDArray[np.uint8],
    lo: Index, hi: Index, width: int, height: int, out: NDArray[np.int32],
) -> int:  # fmt: skip
    """Add ±1 in map r for every event of run r. Gives the events outside."""
    plane = width * height
    outside = 0
    for r in range(len(lo)):
        base = r * plane
        for i in range(lo[r], hi[r]):
            xi = np.int64(x[i])
            yi = np.int64(y[i])
            if xi >= width or yi >= height:
                outside += 1
                continue
            out[base + yi * width + xi] += 2 * np.int32(p[i] != 0) - 1
    return outside


def plain(x: NDArray[Any], y: NDArray[Any], p: NDArray[Any]) -> tuple[Any, Any, Any]:
    """Contiguous columns, polarity as bytes: one compiled form of the loops serves all.

    The loops ask whether a byte is zero: a bool array that was viewed from foreign memory can hold other bytes
    than 0 and 1, and must not become an index.
    """
    return np.ascontiguousarray(x), np.ascontiguousarray(y), np.ascontiguousarray(p).view(np.uint8)


def count_runs(
    x: NDArray[np.uint16], y: NDArray[np.uint16], p: NDArray[np.bool_], lo: Index, hi: Index, channel: Index,
    out: NDArray[np.float32], *, left: int = 0, top: int = 0,
) -> int:  # fmt: skip
    """Count events by polarity.

    Run r (indices lo[r] … hi[r] − 1) goes to channels channel[r] (OFF) and channel[r] + 1 (ON).

    Args:
        x, y, p: the events' columns.
        lo, hi, channel: (R,) int64. Runs may overlap; an empty one has hi <= lo.
        out: (C, h, w) float32, C-contiguous, added to. Whole numbers up to 2²⁴ are exact in it.
        left, top: the region's corner on the event grid; events outside the region are left out.

    Returns:
        How many were left out.
    """
    height, width = out.shape[-2:]
    return int(_count(*plain(x, y, p), lo, hi, channel, left, top, width, height, out.reshape(-1)))


def sum_runs(
    x: NDArray[np.uint16], y: NDArray[np.uint16], p: NDArray[np.bool_], bounds: Index, out: NDArray[np.int32]
) -> int:
    """Add polarities (±1): run r is indices bounds[r] … bounds[r + 1] − 1 and goes to map r.

    Args:
        x, y, p: the events' columns.
        bounds: (R + 1,) int64, ascending.
        out: (R, h, w) int32, C-contiguous, added to.

    Returns:
        How many events lay outside the maps and were left out.
    """
    height, width = out.shape[-2:]
    return int(_sum(*plain(x, y, p), bounds[:-1], bounds[1:], width, height, out.reshape(-1)))
