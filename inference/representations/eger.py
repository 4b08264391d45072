"""EGER, the exposure-guided event representation of GEM: which channel each event counts in.

X. Zhang et al., "Generalizing Event-Based Motion Deblurring in Real-World Scenarios", ICCV 2023.

The *blur span* [b0, b1) is the exposure of the image that is given, the *target span* [t0, t1] the exposure
that is wanted (an instant when t0 = t1). The blur span is parted into N bins; in each bin events are counted
by group (before, within, after the target) and polarity. Channel 6·bin + 2·group + polarity, negative first.
Counts are whole numbers, neither signed nor normalised, so 96 channels for N = 16.

Rules: b0 <= t < b1 counts, an event at t0 is within, an event at t1 is after. A target outside the blur span is
allowed: everything is then before or after it.

Modes (`coding.Mode`)
    PUBLISHED: a start b0 that is not whole is truncated before bins are parted (and the last bin takes what
        that pushes out), and a reversed target (t0 > t1) counts the events in [t1, t0) twice, as before and
        as after.
    CORRECTED (default): the same numbers for a whole blur span and a target in order, which is all that real
        data has. Blur spans of fractions and reversed targets are refused; both are plain faults.
    A target may lie between microseconds in both: times are compared with it as it is.

Two implementations: `eger_numba` (CPU; `eger_numba.Eger` grows packet by packet and serves any number of
targets from one count) and `eger_torch` (any device).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capture.errors import UsageError
from inference.representations.coding import Mode

Index = NDArray[np.int64]

BEFORE, WITHIN, AFTER = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Spans:
    """What is wanted of which blur.

    Attributes:
        blur: (b0, b1), the exposure of the image that is given, µs.
        target: (t0, t1), the exposure that is wanted, µs; an instant has t0 = t1.
        bins: N.
        mode: see the module's text.
    """

    blur: tuple[float, float]
    target: tuple[float, float]
    bins: int = 16
    mode: Mode = Mode.CORRECTED

    def __post_init__(self) -> None:
        if self.bins < 1:
            raise UsageError(f"EGER with {self.bins} bins: at least one is needed")
        values = (*self.blur, *self.target)
        if not all(math.isfinite(v) for v in values):
            raise UsageError(f"EGER: blur span {self.blur} and target {self.target} must be finite")
        if self.blur[1] <= self.blur[0]:
            raise UsageError(f"EGER: blur span from {self.blur[0]} to {self.blur[1]} µs has no length")
        if self.mode is Mode.RELATIVE:
            raise UsageError("EGER does not depend on the clock's origin: there is no relative mode")
        if self.mode is Mode.CORRECTED:
            if any(int(v) != v for v in self.blur):
                raise UsageError(f"EGER: the blur span must be whole µs, got {self.blur}")
            if self.target[0] > self.target[1]:
                raise UsageError(f"EGER: target from {self.target[0]} to {self.target[1]} µs runs backwards")


def edges(spans: Spans) -> Index:
    """(N + 1,) whole times: an event at t is in bin k when edges[k] <= t < edges[k + 1]."""
    (b0, b1), n = spans.blur, spans.bins
    first, last = math.ceil(b0), math.ceil(b1)
    if int(b0) == b0 and int(b1) == b1:
        # Whole spans: k = ⌊(t − b0) N / (b1 − b0)⌋, so bin k begins at the ceiling of b0 + k (b1 − b0) / N.
        start, length = int(b0), int(b1) - int(b0)
        inner = [start - (-k * length) // n for k in range(1, n)]
        return np.array([first, *inner, last], np.int64)
    origin, width = int(b0), (b1 - b0) / n
    inner = []
    for k in range(1, n):
        # The smallest whole t whose published float64 bin is k or more; the bin rises with t.
        t = origin + math.floor(k * width) - 2
        while math.floor((t - origin) / width) < k:
            t += 1
        inner.append(min(max(t, first), last))
    return np.array([first, *inner, last], np.int64)


@dataclass(frozen=True, slots=True)
class Runs:
    """Index runs of events and the channel that each goes to (OFF; ON is the next one).

    Attributes:
        cut: (N + 1,) where the bins begin and end.
        split: the index of the first event at or after t0, and at or after t1.
        lo, hi, channel: (R,) the runs.
    """

    cut: Index
    split: tuple[int, int]
    lo: Index
    hi: Index
    channel: Index


def runs(t: NDArray[Any], spans: Spans) -> Runs:
    """Part events by bin and group.

    Args:
        t: (M,) int64, ascending.
        spans: what is wanted.
    """
    at = np.searchsorted(t, edges(spans), side="left").astype(np.int64)
    i0, i1 = (int(np.searchsorted(t, math.ceil(v), side="left")) for v in spans.target)
    begin, end, n = at[:-1], at[1:], spans.bins
    lo = np.stack([begin, np.maximum(begin, i0), np.maximum(begin, i1)], 1)
    hi = np.stack([np.minimum(end, i0), np.minimum(end, i1), end], 1)
    channel = 2 * np.arange(3 * n, dtype=np.int64).reshape(n, 3)
    some = (hi > lo).reshape(-1)
    return Runs(at, (i0, i1), lo.reshape(-1)[some], hi.reshape(-1)[some], channel.reshape(-1)[some])


def whole_times(t: NDArray[Any]) -> Index:
    """Times truncated toward zero to int64, as the published code does before it compares."""
    return np.asarray(np.trunc(t) if np.asarray(t).dtype.kind == "f" else t).astype(np.int64)


@dataclass(frozen=True, slots=True)
class Region:
    """A part of the event grid; events outside of it are left out.

    Attributes:
        top, left: its corner.
        height, width: its size.
    """

    top: int
    left: int
    height: int
    width: int

    def __post_init__(self) -> None:
        if self.height < 1 or self.width < 1:
            raise UsageError(f"region of {self.width}×{self.height} pixels is not a size")
