"""When the shutter was open, told by what both cameras saw: no wire, no arrival times.

Between two frames the events say how the light of each pixel went on. With S(t) the sum of signed thresholds
since some instant, the frames' lights of one pixel obey (the double integral of `inference`'s EDI, twice)

    ln B₂ − ln B₁ = ln mean_{exposure 2} exp S(t) − ln mean_{exposure 1} exp S(t),

in words: the sharp picture of one frame, carried on by the events and blurred again over the next exposure,
is the next frame. Shift both exposures against the events, and the equation holds best at the true place.
What is minimised over the shift is the residual of the right side, scaled by one common gain (the thresholds
need not be known), over all pixels with events and many pairs of frames.

Each event marks a level that the light has reached, so between events the light is taken as a straight line in
the logarithm: a staircase would run half a threshold behind it. What is left is a pixel's own latency, which
grows in the dark (Lichtsteiner et al., JSSC 2008), and is part of the stated uncertainty.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from capture.compiled import njit
from capture.packets import Events

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

GROUPS = 4
"""Pixels are parted by their light, to tell a late pixel from a late frame."""
DARKEST, BRIGHTEST = 0.02, 0.6
MIN_EVENTS = 3  # of a pixel in the window of a pair
MIN_PIXELS = 60

AROUND_US = 30_000  # events before and after, that end the lines which begin or end inside
MOST_PIXELS = 3_000  # below 65,536: see the sort in `pair_of`


@njit(nogil=True)
def _under(level: float, slope: float, length: float) -> float:
    """∫ exp(level + slope · u) du from 0 to length."""
    rise = slope * length
    if abs(rise) < 1e-4:
        return math.exp(level) * length * (1.0 + 0.5 * rise)
    return math.exp(level) * length * (math.exp(rise) - 1.0) / rise


@njit(nogil=True)
def _integrals(
    at: F64, step: F64, first: NDArray[np.int64], asked: F64, rank: NDArray[np.int64], out: F64
) -> None:
    """∫ exp S from the first time asked for up to each one, exactly: (Q, P) float64.

    `at`, `step`: events in order of pixel, then time; those of pixel k lie from first[k] to first[k + 1].
    `asked`: (Q,) ascending; the result of asked[q] goes to row rank[q].
    """
    for k in range(len(first) - 1):
        i, last = first[k], first[k + 1]
        # Log light at `since`, and its slope from there on.
        level, slope = (-0.5 * step[i], 0.0) if i < last else (0.0, 0.0)
        total, since = 0.0, asked[0]
        reached = 0.0
        while i < last and at[i] <= since:
            reached += step[i]
            slope = step[i + 1] / (at[i + 1] - at[i]) if i + 1 < last and at[i + 1] > at[i] else 0.0
            level = reached + slope * (since - at[i])
            i += 1
        for q in range(len(asked)):
            while i < last and at[i] <= asked[q]:
                total += _under(level, slope, at[i] - since)
                reached += step[i]
                level, since = reached, at[i]
                slope = 0.0
                if i + 1 < last and at[i + 1] > at[i]:
                    slope = step[i + 1] / (at[i + 1] - at[i])
                i += 1
            total += _under(level, slope, asked[q] - since)
            level += slope * (asked[q] - since)
            since = asked[q]
            out[rank[q], k] = total


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """How well one pair of frames is explained, for every shift on a grid and every group of pixels.

    Attributes:
        at_us: middle of the pair on the event clock, by the assumed exposures.
        sums: (G, D, 5) float64: n·var of the events' side, covariance, n·var of the frames' side, n, and the
            mean of 1 / light, per group and shift.
    """

    at_us: float
    sums: F64


def pair_of(
    light_a: F32, light_b: F32, exposure_a: tuple[float, float], exposure_b: tuple[float, float],
    events: Events, shifts_us: F64, *, contrast: tuple[float, float], groups: int = GROUPS,
    seed: int = 0,
) -> Pair | None:  # fmt: skip
    """Look at one pair of frames.

    Args:
        light_a, light_b: (h, w) float32 linear light 0…1 of both frames on the event grid, 0 where unknown.
        exposure_a, exposure_b: (start, end) µs as assumed.
        events: all events of both exposures and the largest shift around them.
        shifts_us: (D,) ascending, what is added to both exposures.
        contrast: (on, off) thresholds, natural log; only their size matters little.
        groups: pixels are parted into so many by their light.
        seed: of the choice of pixels, where there are more than needed.

    Returns:
        None when too few pixels saw enough events.
    """
    h, w = light_a.shape
    start = int(min(exposure_a[0], exposure_b[0]) + shifts_us[0]) - 1
    end = int(max(exposure_a[1], exposure_b[1]) + shifts_us[-1]) + 1
    inside = events.between(start - AROUND_US, end + AROUND_US)
    flat = inside.y.astype(np.int32) * w + inside.x
    count = np.bincount(flat, minlength=h * w)
    a, b = light_a.reshape(-1), light_b.reshape(-1)
    low, high = np.minimum(a, b), np.maximum(a, b)
    typical = float(np.median(count[count > 0])) if (count > 0).any() else 0.0
    usable = (count >= MIN_EVENTS) & (low > DARKEST) & (high < BRIGHTEST) & (count < 30 * typical + 50)
    chosen = np.flatnonzero(usable)
    if len(chosen) < MIN_PIXELS:
        return None
    if len(chosen) > MOST_PIXELS:
        chosen = np.sort(np.random.default_rng(seed).choice(chosen, MOST_PIXELS, replace=False))
    row = np.full(h * w, -1, np.int32)
    row[chosen] = np.arange(len(chosen), dtype=np.int32)
    keep = row[flat] >= 0
    t, k, p = inside.t[keep], row[flat[keep]], inside.p[keep]
    # Of small numbers numpy's stable sort is a radix sort.
    order = np.argsort(k.astype(np.uint16), kind="stable")
    first = np.searchsorted(k[order], np.arange(len(chosen) + 1))
    ends = np.array([*exposure_a, *exposure_b])
    asked = (ends[:, None] + shifts_us[None, :]).reshape(-1)
    rank = np.argsort(asked, kind="stable")
    integral = np.empty((len(asked), len(chosen)))
    _integrals(
        t[order] - float(start),
        np.where(p, contrast[0], -contrast[1])[order],
        first,
        asked[rank] - start,
        rank,
        integral,
    )
    until = integral.reshape(4, len(shifts_us), -1)
    change = np.log((until[3] - until[2]) / (until[1] - until[0]))

    y = np.log(b[chosen] / a[chosen]).astype(np.float64)
    mean_light = np.sqrt(a[chosen].astype(np.float64) * b[chosen])
    edges = np.quantile(mean_light, np.linspace(0, 1, groups + 1)[1:-1])
    group = np.searchsorted(edges, mean_light)
    sums = np.zeros((groups, len(shifts_us), 5))
    for g in range(groups):
        m = np.flatnonzero(group == g)
        if len(m) < 8:
            continue
        x, yg = change[:, m], y[m] - y[m].mean()
        x -= x.mean(axis=1, keepdims=True)
        sums[g, :, 0], sums[g, :, 1] = np.einsum("dm,dm->d", x, x), x @ yg
        sums[g, :, 2:] = yg @ yg, len(m), (1.0 / mean_light[m]).mean()
    return Pair((exposure_a[0] + exposure_b[1]) / 2, sums)


def residual_of(pairs: list[Pair], shifts_us: F64, offsets: F64) -> F64:
    """Residual of all pairs together, 1 = nothing explained.

    Args:
        pairs: of one grid of shifts.
        shifts_us: (D,) the grid.
        offsets: (K, N, G): for each of K hypotheses the shift of every pair and group.

    Returns:
        (K,) float64.
    """
    out = np.empty(len(offsets))
    step = float(shifts_us[1] - shifts_us[0])
    all_sums = np.stack([q.sums for q in pairs])  # N G D 5
    n, g = all_sums.shape[:2]
    ni, gi = np.meshgrid(np.arange(n), np.arange(g), indexing="ij")
    for k, o in enumerate(offsets):
        x = np.clip((o - shifts_us[0]) / step, 0, len(shifts_us) - 1.000001)
        i = x.astype(np.int64)
        f = (x - i)[..., None]
        s = all_sums[ni, gi, i] * (1 - f) + all_sums[ni, gi, i + 1] * f
        xx, xy, yy = (float(s[..., c].sum()) for c in range(3))
        out[k] = 1.0 if xx <= 0 or yy <= 0 or xy <= 0 else 1.0 - xy * xy / (xx * yy)
    return out
