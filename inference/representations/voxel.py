"""The time-bilinear voxel grid, as EFNet's HighREV readers build it.

A. Z. Zhu et al., "Unsupervised Event-based Learning of Optical Flow, Depth, and Egomotion", CVPR 2019, in the
form of L. Sun et al. for HighREV (NTIRE 2025).

`B` bins over a window. An event of polarity ±1 at scaled time s = (B − 1)(t − first)/(last − first) is shared
between bin ⌊s⌋, which gets 1 − f of it, and the next one, which gets f = s − ⌊s⌋. Two implementations:
`voxel_numba` (CPU) and `voxel_torch` (any device). Normalisation: `normalise.by_deviation`.

Modes (`coding.Mode`)
    PUBLISHED: first and last are the first and last *event* of the window; times are float32 as they are given,
        and so are all sums. Absolute times above 2²⁴ lose whole units. A window at one instant goes to bin 0.
    RELATIVE: the same after the first time was subtracted.
    CORRECTED (default): first and last are the ends of the window that was asked for, [start, end). An event's
        share is the fraction of whole numbers ((B − 1)(t − start) mod D)/D with D = end − start; numerators
        are added as integers and divided once at the end. The grid is therefore the exact sum, rounded once
        to float32, whatever the order of the events, the device, or how they came in packets.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from capture.errors import UsageError
from inference.representations.coding import Columns, check_window


def check_grid(start_us: int, end_us: int, bins: int) -> None:
    """Refuse what cannot be a window or a grid.

    Raises:
        UsageError: no length, fewer than two bins, or a window so long that sums could leave 64 bits.
    """
    check_window(start_us, end_us, bins)
    if bins < 2:
        raise UsageError(f"voxel grid with {bins} bins: at least 2 are needed")
    # 2³² µs are 71 minutes; 2³⁰ events on one pixel then still fit.
    if (bins - 1) * (end_us - start_us) > 1 << 32:
        raise UsageError(f"voxel grid over {(end_us - start_us) / 1e6:.0f} s: too long for exact sums")


def edges(start_us: int, end_us: int, bins: int) -> NDArray[np.int64]:
    """(bins,) times: an event at t lies between bin k and bin k + 1 when edges[k] <= t < edges[k + 1]."""
    k = np.arange(bins, dtype=np.int64)
    return np.asarray(start_us - (-k * (end_us - start_us)) // (bins - 1), np.int64)


def scaled_times(t: NDArray[Any], bins: int, *, relative: bool = False) -> NDArray[np.float32]:
    """The published float32 time of each event, 0 … bins − 1.

    Args:
        t: (N,) ascending times, any unit and type.
        bins: of the grid.
        relative: subtract the first time before the conversion to float32.
    """
    if len(t) == 0:
        return np.empty(0, np.float32)
    f = np.asarray(t - t[0] if relative else t).astype(np.float32)
    span = f[-1] - f[0]
    if span == 0:
        span = np.float32(1)
    return np.asarray(np.float32(bins - 1) * (f - f[0]) / span, np.float32)


def inside(events: Columns, start_us: int, end_us: int) -> Columns:
    """The events with start <= t < end, as views."""
    a, b = np.searchsorted(events.t, [start_us, end_us], side="left")
    return events[int(a) : int(max(a, b))]


def from_stored(grid: NDArray[Any]) -> NDArray[np.float32]:
    """A pre-computed HighREV voxel file's array, (H, W, B), as (B, H, W) float32. Not normalised yet."""
    if grid.ndim != 3:
        raise UsageError(f"stored voxel grid of shape {grid.shape}: expected (H, W, bins)")
    return np.ascontiguousarray(np.moveaxis(grid, 2, 0), np.float32)
