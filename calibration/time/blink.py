"""An absolute check of the clock: a light that switches on and off, at once, before both cameras.

The events tell when it switched, to some 0.1 ms: a big step crosses many thresholds at once. A frame tells
which share of its exposure the light was on. So every switch that falls into an exposure says where that
exposure lies, whatever moves elsewhere: the shift is the one under which shares and brightnesses lie on one
line.

A screen is no such light: it is drawn line by line and its pixels take milliseconds, so that the events' time
is that of its first lines and the frames' that of the mean. It is known by how long its bursts last, and
refused.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.time.lines import robust_line
from capture.packets import EventPacket, Events, Frame
from inference.restorers.contrast_learner import light_on_event_grid
from inference.restorers.picture import picture_of
from sync.rig import Rig

F64 = NDArray[np.float64]
Stream = Iterable[EventPacket | Frame]
Items = Callable[[], Stream]

BIN_US = 1_000
MIN_SWITCHES, MOST_SWITCHES = 6, 300
MIN_PIXELS = 40
BURST = 12.0  # times the usual number of events in a bin
LONGEST_US = 1_000.0  # of a burst's events, 5th to 95th percentile: a lamp's last some tenths of that
SAME_SHARE = 0.6  # of the pixels of the strongest switch that take part in each other one
REACH_US, STEP_US = 8_000.0, 100.0
MIN_FRAMES = 6  # with a switch inside
LATENCY_US = 60.0  # of a pixel to a big step, about 95 %
MIN_SWING = 0.02  # of the light


@dataclass(frozen=True, slots=True)
class Blink:
    """What a blinking light says.

    Attributes:
        shift_us: exposures lie so much later than assumed.
        uncertainty_us: about 95 %.
        rate_hz: switches a second.
        frames: with a switch inside.
    """

    shift_us: float
    uncertainty_us: float
    rate_hz: float
    frames: int


def blink_check(items: Items, exposures: dict[int, tuple[float, float]], rig: Rig) -> Blink | None:
    """Look for a light that blinks and compare; None where none does, or none that switches at once.

    Args:
        items: gives both streams in order, from the beginning, each time it is called. Neither is kept.
        exposures: assumed (start, end) µs by the frame's place in the stream.
        rig: geometry and tone.
    """
    bursts = _bursts(_counted(items()))
    if len(bursts) < MIN_SWITCHES:
        return None
    spare = max(0, len(bursts) - MOST_SWITCHES) // 2
    switches = _switches(items(), bursts[spare : spare + MOST_SWITCHES], rig)
    return None if switches is None else _place(switches, items(), exposures, rig)


def _counted(items: Stream) -> dict[int, int]:
    """Events by bin."""
    counts: dict[int, int] = {}
    for item in items:
        if isinstance(item, EventPacket) and len(item.events):
            cells, n = np.unique(item.events.t // BIN_US, return_counts=True)
            for c, k in zip(cells.tolist(), n.tolist(), strict=True):
                counts[c] = counts.get(c, 0) + k
    return counts


def _bursts(counts: dict[int, int]) -> list[tuple[int, int]]:
    """Spans (µs) in which far more events come than usual."""
    if not counts:
        return []
    first, last = min(counts), max(counts)
    if last - first > 10_000_000:
        return []
    n = np.zeros(last - first + 1)
    n[np.fromiter(counts.keys(), np.int64) - first] = list(counts.values())
    usual = float(np.median(n))
    high = n > BURST * usual + 60
    edges = np.flatnonzero(np.diff(np.concatenate([[0], high.astype(np.int8), [0]])))
    spans = [(int(a + first) * BIN_US, int(b + first) * BIN_US) for a, b in edges.reshape(-1, 2)]
    joined: list[tuple[int, int]] = []
    for a, b in spans:
        if joined and a - joined[-1][1] <= 2 * BIN_US:
            joined[-1] = (joined[-1][0], b)
        else:
            joined.append((a, b))
    return joined


@dataclass(frozen=True, slots=True, eq=False)
class _Switches:
    """When a light switched.

    Attributes:
        at: (N,) event time, µs.
        up: (N,) which way.
        unsure_us: how far from `at` the light itself may have switched.
        plus, minus: (h · w,) pixels that went the way of the strongest switch, or the other.
    """

    at: F64
    up: NDArray[np.bool_]
    unsure_us: float
    plus: NDArray[np.bool_]
    minus: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class _Burst:
    """What is kept of a burst.

    Attributes:
        way: (h · w,) of each pixel: 1 brighter, -1 darker, 0 neither.
        net: ON minus OFF events without their sign, the sum over all pixels.
        times: (4,) when its first twentieth of events had come, its last one, and half of those that tell of
            more light, and of less (nan where hardly any do), µs.
    """

    way: NDArray[np.int8]
    net: int
    times: F64


def _burst(parts: list[Events], size: int) -> _Burst:
    net = np.zeros(size, np.int32)
    for e in parts:
        net += np.bincount(e.y.astype(np.int64) * e.width + e.x, np.where(e.p, 1, -1), size).astype(np.int32)
    t, on = np.concatenate([e.t for e in parts]), np.concatenate([e.p for e in parts])
    times = np.array([*np.percentile(t, (5, 95)), *(_half(t[k], len(t)) for k in (on, ~on))])
    return _Burst(np.sign(net).astype(np.int8), int(np.abs(net).sum()), times)


def _half(t: NDArray[np.int64], of: int) -> float:
    return float(np.median(t)) if len(t) > 0.2 * of else math.nan


def _burst_by_burst(items: Stream, spans: list[tuple[int, int]], size: int) -> list[_Burst]:
    """The events of each span; those of one are held at a time."""
    out: list[_Burst] = []
    parts: list[Events] = []
    for item in items:
        if not isinstance(item, EventPacket) or not len(item.events):
            continue
        last = int(item.events.t[-1])
        while spans and last >= spans[0][0]:
            e = item.events.between(*spans[0])
            parts += [e] if len(e) else []
            if last < spans[0][1]:
                break
            spans = spans[1:]
            out += [_burst(parts, size)] if parts else []
            parts = []
    return [*out, _burst(parts, size)] if parts else out


def _switches(items: Stream, spans: list[tuple[int, int]], rig: Rig) -> _Switches | None:
    """Bursts in which the same pixels take part, all at once."""
    bursts = _burst_by_burst(items, spans, rig.events.width * rig.events.height)
    if not bursts:
        return None
    way = max(bursts, key=lambda b: b.net).way
    agreeing = np.array([float(np.sum(way * b.way, dtype=np.int64)) for b in bursts])
    members = max(1, int(np.count_nonzero(way)))
    good = np.abs(agreeing) >= SAME_SHARE * members
    if good.sum() < MIN_SWITCHES or members < MIN_PIXELS:
        return None
    times = np.array([b.times for b, g in zip(bursts, good, strict=True) if g])
    at, last = times[:, 0], times[:, 1]
    up = agreeing[good] > 0
    if float(np.median(last - at)) > LONGEST_US or up.all() or not up.any():
        return None
    return _Switches(at, up, _unsure_us(times), way > 0, way < 0)


def _unsure_us(times: F64) -> float:
    """How much later than the first events a light may have switched; `times` as of `_Burst`, (N, 4)."""
    half = [float(np.median(h)) for h in (t[np.isfinite(t)] for t in (times[:, 2:] - times[:, :1]).T) if len(h)]
    # Pixels go on firing for a while after a switch, alike both ways. Light that takes its time, though,
    # crosses half of the thresholds, steps of its logarithm, early when it rises and late when it falls.
    return float(np.mean(half)) / 2 + (max(half) - min(half))


def _place(s: _Switches, items: Stream, exposures: dict[int, tuple[float, float]], rig: Rig) -> Blink | None:
    spans, light = [], []
    for k, f in enumerate(i for i in items if isinstance(i, Frame)):
        a, b = exposures.get(k, (math.inf, -math.inf))
        if b < s.at[0] - REACH_US or a > s.at[-1] + REACH_US:
            continue
        grid = light_on_event_grid(picture_of(f), rig).reshape(-1)
        value = float(grid[s.plus].mean()) if s.plus.any() else 0.0
        value -= float(grid[s.minus].mean()) if s.minus.any() else 0.0
        spans.append((a, b))
        light.append(value)
    if len(spans) < MIN_FRAMES:
        return None
    start, end = np.array(spans).T
    y = np.array(light)

    def share(shift: float) -> F64:
        lit: F64 = _on(s.at, s.up, end + shift) - _on(s.at, s.up, start + shift)
        return np.asarray(lit / (end - start))

    shifts = np.arange(-REACH_US, REACH_US + 1, STEP_US)
    cost = np.array([_unexplained(share(float(shift)), y) for shift in shifts])
    i = int(cost.argmin())
    # At the rim it is where the search ended, not where the exposures lie.
    if not 0 < i < len(cost) - 1 or cost[i] > 0.05 or float(np.ptp(y)) < MIN_SWING:
        return None
    p, q, r = cost[i - 1 : i + 2]
    bend = p - 2 * q + r
    best = float(shifts[i] + (0.0 if bend <= 0 else 0.5 * (p - r) / bend * STEP_US))
    x = share(best)
    mixed = (x > 0.03) & (x < 0.97)
    n = int(mixed.sum())
    if n < MIN_FRAMES:
        return None
    # From the scatter of brightness to one of times: a switch shifts a share by 1 / length. Only frames with a
    # switch inside tell a time; all others lie on the line wherever it is.
    line = robust_line(x, y, floor=1e-6)
    sigma = 1.4826 * float(np.median(np.abs(y - line.at(x))[mixed]))
    each = sigma / max(abs(line.slope), 1e-9) * float(np.median(end - start))
    uncertainty = np.hypot(2.0 * each / np.sqrt(n), LATENCY_US + s.unsure_us)
    return Blink(best, float(uncertainty), 1e6 / float(np.median(np.diff(s.at))), n)


def _on(at: F64, up: NDArray[np.bool_], until: F64) -> F64:
    """Time (µs) that the light was on from its first switch until each time."""
    steps = np.where(up[:-1], np.diff(at), 0.0)
    total = np.concatenate([[0.0], np.cumsum(steps)])
    i = np.clip(np.searchsorted(at, until, side="right") - 1, -1, len(at) - 1)
    before = np.where(i < 0, 0.0, total[np.maximum(i, 0)])
    lit = np.where(i < 0, ~up[0], up[np.maximum(i, 0)])
    since = np.where(i < 0, until - at[0], until - at[np.maximum(i, 0)])
    return np.asarray(before + np.where(lit, since, 0.0))


def _unexplained(x: F64, y: F64) -> float:
    """Share of the variance of y that a line in x leaves, 0…1."""
    dx, dy = x - x.mean(), y - y.mean()
    xx, yy, xy = float(dx @ dx), float(dy @ dy), float(dx @ dy)
    return 1.0 if xx <= 0 or yy <= 0 or xy <= 0 else 1.0 - xy * xy / (xx * yy)
