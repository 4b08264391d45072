"""From a rough clock to a good one by content: which frames to look at, where to look, how sure it is."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.time.content import Pair, pair_of, residual_of
from calibration.time.lines import Line, robust_line
from capture.packets import EventPacket, Events, Frame
from inference.restorers.contrast_learner import light_on_event_grid, stated_contrast
from inference.restorers.picture import picture_of
from sync.rig import Rig
from sync.rolling import moved
from sync.windows import EventStore

F64 = NDArray[np.float64]

PAIRS = 40
MOST_EVENTS = 400_000
"""Of a pair; where there are more, a part of the pixels is looked at."""
MARGIN_US = 32_000
COARSE_US, FINE_US, FINE_REACH_US = 2_000.0, 250.0, 3_000.0
COARSE_PAIRS = 14
BLOCKS = 10
UNEXPLAINED = 0.75
"""Share of the change of light left unexplained from which the events do not fit the frames at all."""
RIVAL = 0.08  # so much worse, at least, must the best place elsewhere be
METHOD_US = 250.0
"""What remains when there is no noise: a pixel's latency grows in the dark, light turns within a threshold
unseen. 95 % of the errors on rigs whose truth is known (`benchmarks.bench_calibration_time`)."""
DRIFT_PPM = 100.0


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Two frames that follow each other, on the event grid, with the events around them."""

    light_a: NDArray[np.float32]
    light_b: NDArray[np.float32]
    exposure_a: tuple[float, float]
    exposure_b: tuple[float, float]
    events: Events


@dataclass(frozen=True, slots=True, eq=False)
class Refined:
    """What content says.

    Attributes:
        shift_us: exposures lie so much later than assumed, at `at_us`.
        drift_ppm: and this much more with every second (ppm).
        uncertainty_us: about 95 %, of the shift within the recording.
        statistical_us: the part of it that more pairs would lower.
        drift_uncertainty_ppm: about 95 %.
        residual: share of the change of light that stays unexplained at the best place, 0…1.
        rival: how much worse the best place elsewhere is (share of the change of light).
        block_us, block_shift_us: (N,) middle of each block of pairs and its shift.
        pairs: how many took part.
    """

    shift_us: float
    at_us: float
    drift_ppm: float
    uncertainty_us: float
    statistical_us: float
    drift_uncertainty_ppm: float
    residual: float
    rival: float
    block_us: F64
    block_shift_us: F64
    pairs: int
    sigma_us: float


class NoContent(Exception):
    """Content does not tell; `name` and the message say why."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


def collect(
    items: Iterable[EventPacket | Frame], exposures: dict[int, tuple[float, float]], rig: Rig, reach_us: float,
    *, pairs: int = PAIRS,
) -> list[Sample]:  # fmt: skip
    """Cut pairs of frames that follow each other out of a stream, evenly over it.

    Args:
        items: in order of arrival; read to the end.
        exposures: assumed (start, end) µs by the frame's place in the stream, 0, 1, 2 …
        rig: geometry and tone.
        reach_us: by how much exposures may be wrong.
    """
    order = sorted(k for k in exposures if k + 1 in exposures)
    pick = set(np.unique(np.linspace(0, len(order) - 1, min(pairs, len(order))).astype(int)).tolist())
    wanted = {order[i] for i in pick}
    store = EventStore(rig.events.width, rig.events.height, retain_us=6_000_000, retain_bytes=768 << 20)
    lights: dict[int, NDArray[np.float32]] = {}
    out: list[Sample] = []
    waiting: list[int] = []
    number = -1
    epoch = 0

    def ready(final: bool) -> None:
        mark = store.complete_until_us or 0
        while waiting:
            k = waiting[0]
            a, b = exposures[k], exposures[k + 1]
            until = b[1] + reach_us + MARGIN_US
            if (mark < until and not final) or k + 1 not in lights:
                return
            waiting.pop(0)
            la, lb = lights[k], lights[k + 1]
            for old in [j for j in lights if j <= k and j + 1 not in wanted]:
                del lights[old]
            begin = a[0] - reach_us - MARGIN_US
            if store.gap_in(int(begin), int(until)) is None and la.shape == lb.shape:
                out.append(Sample(la, lb, a, b, _bounded(store.cut(int(begin), int(until)))))

    for item in moved(items, rig):
        if item.epoch != epoch:
            epoch = item.epoch
            store.clear()
            waiting.clear()
        if isinstance(item, EventPacket):
            store.push(item)
        else:
            number += 1
            if number in wanted or number - 1 in wanted:
                lights[number] = light_on_event_grid(picture_of(item), rig)
                if number in wanted:
                    waiting.append(number)
        ready(False)
    ready(True)
    return out


def _bounded(events: Events) -> Events:
    share = MOST_EVENTS / max(1, len(events))
    if share >= 1:
        return events
    # Whole pixels: an integral over some events of a pixel is none.
    y, x = np.arange(events.height, dtype=np.uint32), np.arange(events.width, dtype=np.uint32)
    chosen = (y[:, None] * 2654435761 + x * 40503) % 1000 < share * 1000
    keep = chosen[events.y, events.x]
    return Events(events.t[keep], events.x[keep], events.y[keep], events.p[keep], events.width, events.height)


def refine(samples: list[Sample], rig: Rig, reach_us: float) -> Refined:
    """By how much exposures lie later than assumed.

    Raises:
        NoContent: "no motion", "no fit" (events and frames do not show the same), "ambiguous" (a periodic
            motion), "out of reach" (they fit the better the further away, up to where was looked).
    """
    stated = stated_contrast(rig)
    contrast = (0.2, 0.2) if stated is None else (stated.on, stated.off)
    some = samples[:: max(1, len(samples) // COARSE_PAIRS)]
    centre, rival = 0.0, 1.0
    if reach_us > FINE_REACH_US:
        # One step beyond, so that a place near the end of the reach lies between two others.
        n = math.ceil(reach_us / COARSE_US) + 1
        wide: F64 = np.arange(-n, n + 1, dtype=np.float64) * COARSE_US
        found = _pairs(some, wide, contrast)
        cost = _cost(found, wide)
        best = int(cost.argmin())
        _require(cost[best])
        if not 0 < best < len(wide) - 1:
            raise _beyond(reach_us)
        centre = float(wide[best])
        elsewhere = np.abs(wide - centre) > 4 * COARSE_US
        local = elsewhere[1:-1] & (cost[1:-1] <= cost[:-2]) & (cost[1:-1] <= cost[2:])
        rival = float((cost[1:-1][local] - cost[best]).min()) if local.any() else 1.0
        if rival < RIVAL:
            raise NoContent(
                "ambiguous",
                "the motion repeats itself, so several shifts explain the frames; move freely",
            )
    for _ in range(3):
        fine: F64 = centre + np.arange(-FINE_REACH_US, FINE_REACH_US + 1, FINE_US)
        pairs = _pairs(samples, fine, contrast)
        cost = _cost(pairs, fine)
        best = int(cost.argmin())
        _require(cost[best])
        if 2 <= best <= len(fine) - 3:
            break
        centre = float(fine[best])
    else:
        raise _beyond(max(reach_us, abs(centre)))
    return _solve(pairs, fine, cost, rival)


def _beyond(reach_us: float) -> NoContent:
    return NoContent(
        "out of reach",
        f"within ±{reach_us / 1e3:.0f} ms of where the exposures were taken to be, frames and events fit the "
        "better the nearer to the end of that: stamps, strobe delay or the order of frames are further off",
    )


def _require(cost: float) -> None:
    if cost > UNEXPLAINED:
        raise NoContent(
            "no fit", f"the events explain only {100 * (1 - cost):.0f} % of how the frames change; are both "
            "cameras looking at the same, and is the geometry right?"
        )  # fmt: skip


def _pairs(samples: list[Sample], shifts: F64, contrast: tuple[float, float]) -> list[Pair]:
    found = [
        pair_of(
            s.light_a, s.light_b, s.exposure_a, s.exposure_b, s.events, shifts, contrast=contrast, seed=k
        )
        for k, s in enumerate(samples)
    ]  # fmt: skip
    good = [p for p in found if p is not None]
    if len(good) < 3:
        raise NoContent(
            "no motion",
            f"only {len(good)} of {len(samples)} pairs of frames saw enough move between them; move the rig "
            "by hand before something with texture",
        )
    return good


def _cost(pairs: list[Pair], shifts: F64) -> F64:
    groups = pairs[0].sums.shape[0]
    at = np.broadcast_to(shifts[:, None, None], (len(shifts), len(pairs), groups))
    return residual_of(pairs, shifts, at)


def _lowest(cost: F64, shifts: F64) -> float:
    """Place of the minimum, by the parabola through its neighbours."""
    i = int(np.clip(cost.argmin(), 1, len(cost) - 2))
    a, b, c = cost[i - 1 : i + 2]
    bend = a - 2 * b + c
    off = 0.0 if bend <= 0 else float(np.clip(0.5 * (a - c) / bend, -1.0, 1.0))
    return float(shifts[i] + off * (shifts[1] - shifts[0]))


def _solve(pairs: list[Pair], shifts: F64, cost: F64, rival: float) -> Refined:
    pairs = sorted(pairs, key=lambda p: p.at_us)
    blocks = [b for b in np.array_split(np.arange(len(pairs)), min(BLOCKS, len(pairs) // 3 or 1)) if len(b)]
    at = np.array([np.mean([pairs[i].at_us for i in b]) for b in blocks])
    place = np.array([_lowest(_cost([pairs[i] for i in b], shifts), shifts) for b in blocks])
    middle = float(np.mean(at))
    whole = _lowest(cost, shifts)
    if len(blocks) < 3:
        line = Line(middle, whole, 0.0, FINE_US, float(len(blocks)), 0.0)
    else:
        line = robust_line(at - middle, place, slope_sigma=DRIFT_PPM * 1e-6, floor=10.0)
        line = Line(line.mean_x + middle, line.mean_y, line.slope, line.sigma, line.used, line.spread)
    # To the ends of the recording, where a slope that is wrong tells most.
    ends = (pairs[0].at_us, pairs[-1].at_us)
    statistical = max(line.half_width(x) for x in ends) if len(blocks) >= 3 else 2 * FINE_US
    return Refined(
        shift_us=float(line.at(middle)), at_us=middle, drift_ppm=line.slope * 1e6,
        uncertainty_us=math.hypot(statistical, METHOD_US), statistical_us=statistical,
        drift_uncertainty_ppm=min(line.slope_half_width * 1e6, 2 * DRIFT_PPM), residual=float(cost.min()),
        rival=rival, block_us=at, block_shift_us=place, pairs=len(pairs), sigma_us=line.sigma,
    )  # fmt: skip
