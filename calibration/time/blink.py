"""An absolute check of the clock: a light (or a screen) that switches on and off before both cameras.

The events tell when it switched, to some 0.1 ms: a big step crosses many thresholds at once. A frame tells
which share of its exposure the light was on. So every switch that falls into an exposure says where that
exposure lies, whatever moves elsewhere: the shift is the one under which shares and brightnesses lie on one
line.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.time.lines import robust_line
from capture.packets import EventPacket, Frame
from inference.restorers.contrast_learner import light_on_event_grid
from inference.restorers.picture import picture_of
from sync.rig import Rig

F64 = NDArray[np.float64]

BIN_US = 1_000
MIN_SWITCHES = 6
MIN_PIXELS = 40
BURST = 12.0  # times the usual number of events in a bin
SAME_SHARE = 0.6  # of the pixels of the first switch that take part in each other one
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


def blink_check(
    items: Iterable[EventPacket | Frame], exposures: dict[int, tuple[float, float]], rig: Rig
) -> Blink | None:
    """Look for a light that blinks and compare; None where none does.

    Args:
        items: both streams in order.
        exposures: assumed (start, end) µs by the frame's place in the stream.
        rig: geometry and tone.
    """
    packets: list[EventPacket] = []
    counts: dict[int, int] = {}
    frames: list[tuple[int, Frame]] = []
    number = -1
    for item in items:
        if isinstance(item, EventPacket):
            if len(item.events):
                packets.append(item)
                cells, n = np.unique(item.events.t // BIN_US, return_counts=True)
                for c, k in zip(cells.tolist(), n.tolist(), strict=True):
                    counts[c] = counts.get(c, 0) + k
        else:
            number += 1
            if number in exposures:
                frames.append((number, item))
    bursts = _bursts(counts)
    if len(bursts) < MIN_SWITCHES:
        return None
    switches = _switches(packets, bursts, rig)
    if switches is None:
        return None
    at, up, plus, minus = switches
    return _place(at, up, plus, minus, frames, exposures, rig)


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


def _switches(
    packets: list[EventPacket], bursts: list[tuple[int, int]], rig: Rig
) -> tuple[F64, NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]] | None:
    """When the light switched, which way, and which pixels went the way of the first switch, or the other."""
    size = rig.events.width * rig.events.height
    nets, times = [], []
    ends = [int(p.events.t[-1]) for p in packets]
    for a, b in bursts:
        net = np.zeros(size, np.int32)
        t_all = []
        i = int(np.searchsorted(ends, a))
        while i < len(packets) and int(packets[i].events.t[0]) < b:
            e = packets[i].events.between(a, b)
            flat = e.y.astype(np.int64) * rig.events.width + e.x
            net += np.bincount(flat, np.where(e.p, 1, -1), size).astype(np.int32)
            t_all.append(e.t)
            i += 1
        nets.append(net)
        times.append(np.concatenate(t_all) if t_all else np.empty(0, np.int64))
    strongest = int(np.argmax([np.abs(n).sum() for n in nets]))
    sign = np.sign(nets[strongest]).astype(np.int32)
    agreeing = np.array([float(sign @ np.sign(n)) for n in nets])
    members = max(1, int(np.count_nonzero(sign)))
    good = np.abs(agreeing) >= SAME_SHARE * members
    if good.sum() < MIN_SWITCHES or members < MIN_PIXELS:
        return None
    # The first events of a burst: pixels that see a big step fire at once, the rest is their tail.
    at = np.array([np.percentile(t, 5) for t, g in zip(times, good, strict=True) if g])
    up = agreeing[good] > 0
    if up.all() or not up.any():
        return None
    return at, up, sign > 0, sign < 0


def _place(
    at: F64, up: NDArray[np.bool_], plus: NDArray[np.bool_], minus: NDArray[np.bool_],
    frames: list[tuple[int, Frame]], exposures: dict[int, tuple[float, float]], rig: Rig,
) -> Blink | None:  # fmt: skip
    spans, light = [], []
    for k, f in frames:
        a, b = exposures[k]
        if b < at[0] - REACH_US or a > at[-1] + REACH_US:
            continue
        grid = light_on_event_grid(picture_of(f), rig).reshape(-1)
        value = float(grid[plus].mean()) if plus.any() else 0.0
        value -= float(grid[minus].mean()) if minus.any() else 0.0
        spans.append((a, b))
        light.append(value)
    if len(spans) < MIN_FRAMES:
        return None
    start, end = np.array(spans).T
    y = np.array(light)

    def share(shift: float) -> F64:
        lit: F64 = _on(at, up, end + shift) - _on(at, up, start + shift)
        return np.asarray(lit / (end - start))

    shifts = np.arange(-REACH_US, REACH_US + 1, STEP_US)
    cost = np.empty(len(shifts))
    for i, s in enumerate(shifts):
        x = share(s)
        cost[i] = _unexplained(x, y)
    inside = share(0.0)
    mixed = int(((inside > 0.03) & (inside < 0.97)).sum())
    i = int(np.clip(cost.argmin(), 1, len(cost) - 2))
    if mixed < MIN_FRAMES or cost[i] > 0.05 or float(np.ptp(y)) < MIN_SWING:
        return None
    p, q, r = cost[i - 1 : i + 2]
    bend = p - 2 * q + r
    best = float(shifts[i] + (0.0 if bend <= 0 else 0.5 * (p - r) / bend * STEP_US))
    # From the scatter of brightness to one of times: a switch shifts a share by 1 / length.
    line = robust_line(share(best), y, floor=1e-6)
    each = line.sigma / max(abs(line.slope), 1e-9) * float(np.median(end - start))
    uncertainty = 2.0 * each / np.sqrt(mixed)
    period = float(np.median(np.diff(at)))
    return Blink(best, float(np.hypot(uncertainty, LATENCY_US)), 1e6 / period, mixed)


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
