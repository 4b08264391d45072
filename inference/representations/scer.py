"""SCER, the symmetric cumulative event representation of EFNet: where its channels begin and end.

L. Sun et al., "Event-Based Fusion for Motion Deblurring with Cross-modal Attention", ECCV 2022.

`B` channels (6, even). Net polarity per pixel, summed from the middle of the window outwards: channel 0 is the
whole first half, channel B/2 − 1 the last part before the middle, channel B/2 the first part after it,
channel B − 1 the whole second half. The first half is negated, as if time ran backwards there. Values are
whole numbers; opposite events at a pixel cancel. Nothing is normalised here: see `normalise`.

The channels are cumulative sums of B disjoint runs of events, so a window is B + 1 indices ("bounds") and one
pass over the events. Two implementations: `scer_numba` (CPU) and `scer_torch` (any device).

Modes (`coding.Mode`)
    PUBLISHED: limits are the first and the last *event* of the window, times are float32 as they are given, and
        bounds are found by a bisection that stops at the first equal time. Quirks that follow, all
        reproduced: the last event is normally lost (it lies on an upper limit); of several events at the
        first time some can be lost; fewer than two distinct times give zeros; large absolute times collapse.
    RELATIVE: the same after the first time was subtracted.
    CORRECTED (default): limits are the window that was asked for, [start, end), parts are divided in whole
        microseconds, every event inside counts once. Lost events, dependence on two single events and
        collapse are plain faults; they are gone. Bin edges are known in advance, so a live window grows
        packet by packet (`scer_numba.Scer`).
    The seven-channel form (`zero_middle`) is a published variant: an all-zero channel before the second half.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capture.errors import UsageError
from inference.representations.coding import Columns, Mode, check_window

Bounds = NDArray[np.int64]


def find(t: NDArray[Any], v: Any) -> int:
    """The published bisection: any index whose time equals `v`, else the first whose time is greater.

    With distinct times this is a left `searchsorted`; with repeated ones it may return any of the equal
    indices, always the same one for the same list.
    """
    lo, hi = 0, len(t) - 1
    while lo <= hi:
        c = lo + (hi - lo) // 2
        if t[c] == v:
            return c
        if t[c] < v:
            lo = c + 1
        else:
            hi = c - 1
    return lo


def check_bins(bins: int) -> None:
    """Refuse a number of bins that cannot be halved.

    Raises:
        UsageError: it is odd or not positive.
    """
    if bins < 2 or bins % 2:
        raise UsageError(f"SCER with {bins} bins: the number must be even, at least 2")


def published_bounds(t: NDArray[Any], bins: int = 6, *, relative: bool = False) -> Bounds:
    """(bins + 1,) indices that part the events as the published code does.

    Args:
        t: (N,) ascending times of the window's events, any unit and type.
        bins: number of channels, even.
        relative: subtract the first time (in the times' own type) before the conversion to float32.
    """
    check_bins(bins)
    if len(t) == 0:
        return np.zeros(bins + 1, np.int64)
    # float32, and in this order: the last bit decides whether an event on a limit is in.
    f = np.asarray(t - t[0] if relative else t).astype(np.float32)
    first, dt = f[0], f[-1] - f[0]
    step, middle = dt / np.float32(bins), first + dt / np.float32(2)
    half = bins // 2
    before = [find(f, first + step * np.float32(k)) for k in range(half)]
    after = [find(f, first + step * np.float32(k + 1)) for k in range(half, bins)]
    return np.array([*before, find(f, middle), *after], np.int64)


def edges(start_us: int, end_us: int, bins: int = 6) -> Bounds:
    """(bins + 1,) times in µs: an event at t is in part k when edges[k] <= t < edges[k + 1].

    Part k begins at start + k·(end − start)/bins exactly; for whole t that is its ceiling.
    """
    check_bins(bins)
    check_window(start_us, end_us, bins)
    k = np.arange(bins + 1, dtype=np.int64)
    return np.asarray(start_us - (-k * (end_us - start_us)) // bins, np.int64)


def bounds(events: Columns, start_us: int, end_us: int, bins: int, mode: Mode) -> Bounds:
    """The indices of a window's parts in `events`, by the rule of `mode`.

    The window [start, end) is cut out first in every mode; the published rule then looks at the events in it.
    """
    if mode is Mode.CORRECTED:
        return np.searchsorted(events.t, edges(start_us, end_us, bins), side="left").astype(np.int64)
    a, b = np.searchsorted(events.t, [start_us, end_us], side="left")
    inside = events.t[int(a) : int(max(a, b))]
    return published_bounds(inside, bins, relative=mode is Mode.RELATIVE) + int(a)


def exposure_window(t: NDArray[Any], start: Any, end: Any) -> tuple[int, int]:
    """REBlur's window of a frame: indices [first, stop) of the events of its exposure; one at `end` is out."""
    return find(t, start), find(t, end)


def midpoint_windows(t: NDArray[Any], frame_times: NDArray[Any]) -> NDArray[np.int64]:
    """GoPro's windows: (F − 2, 2) indices [first, stop), from midpoint to midpoint between frames.

    The first and the last frame have no window: row j belongs to frame j + 1.
    """
    f = np.asarray(frame_times)
    if len(f) < 3:
        return np.empty((0, 2), np.int64)
    cuts = [find(t, (a + b) / 2) for a, b in itertools.pairwise(f)]
    return np.array(list(itertools.pairwise(cuts)), np.int64)
