"""The clock from trigger edges: every frame's own edge, then one robust line through all of them.

Which edge belongs to which frame is found by the very synchroniser that runs live (`sync.synchroniser`), which
waits as long as it does live, so that live keeps what a calibration promises; where only the patience that
recordings are read with finds it, that is told. What is added here is what one can know only afterwards: one
line through the whole of a recording, how far every edge lies from it, where the clock jumped, what was left
over and where, and which level of the signal means that the shutter is open.
"""

from __future__ import annotations

import itertools
import math
import sys
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from calibration.time.lines import Line, robust_line
from calibration.time.result import AffineClock, TimeResult, Trouble, Unmatched, Verdict
from calibration.time.streams import MAX_EDGES, Streams
from capture.packets import FrameClock, FrameKind
from sync.exposure import AlignedExposure, Exposure, ExposureSource
from sync.rig import Rig
from sync.synchroniser import LIVE_WAIT_US, OFFLINE_WAIT_US, Synchroniser

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

DRIFT_PPM = 100.0  # standard deviation of what two quartzes differ by
EDGE_FLOOR_US = 0.5  # edges are stamped in whole µs
LISTED = 100
ENOUGH = 0.8  # share of frames with edges below which something is wrong
JUMP_US = 200.0
WANTED_PAIRS = 20
PASS_US, WARN_US = 20.0, 100.0  # residual of single edges: 5 µs of jitter is usual


@dataclass(frozen=True, slots=True)
class Placed:
    """A frame and what the synchroniser made of it.

    Attributes:
        place: of the frame in the stream of frames, 0, 1, 2 …
        sequence: the camera's counter.
        start_ns, end_ns: its stamps.
        exposure: None when refused.
        why: of the refusal.
    """

    place: int
    sequence: int
    start_ns: int
    end_ns: int
    exposure: Exposure | None
    why: str = ""


def place(
    streams: Streams, rig: Rig, max_wait_us: int = LIVE_WAIT_US
) -> tuple[list[Placed], Synchroniser]:  # fmt: skip
    """Every frame's exposure, as live would have it; frames of an epoch that was over get none at all.

    Args:
        streams: edges and frames.
        rig: sizes and clock.
        max_wait_us: as `sync.synchroniser.OFFLINE_WAIT_US` says, for what offline would make of it.
    """
    y = Synchroniser(rig, max_wait_us=max_wait_us, retain_us=60_000_000)
    places = {id(f): k for k, f in enumerate(streams.frames())}
    placed = [
        Placed(
            places[id(o.frame)], o.frame.sequence, o.frame.device_start_ns or 0,
            o.frame.device_end_ns or 0, o.exposure, "" if isinstance(o, AlignedExposure) else o.detail,
        )
        for o in y.outcomes(streams.items)
    ]  # fmt: skip
    return placed, y


def by_triggers(streams: Streams, rig: Rig) -> TimeResult:
    """The clock from edges; both polarities are tried, and how long live and offline wait for what is late.

    Returns:
        `clock` is None, with the reason in `troubles`, where edges and frames do not belong together:
        "no triggers", "wrong wire", "no clock".
    """
    frames = [f for f in streams.frames() if f.clock is FrameClock.DEVICE and f.kind is FrameKind.SENSOR]
    result = TimeResult(
        "trigger", frames=len(frames), edges=streams.edges, active_high=rig.clock.active_high,
        longer_us=rig.clock.longer_us,
    )  # fmt: skip
    if not streams.edges:
        result.troubles.append(
            Trouble("no triggers", "not one edge came on the trigger input: is the wire in, and the strobe "
                    "output of the frame camera switched on?", Verdict.FAIL)
        )  # fmt: skip
        return result
    if not frames:
        result.troubles.append(Trouble("no frames", "no frame came from the frame camera", Verdict.FAIL))
        return result
    if streams.edges > MAX_EDGES:
        result.troubles.append(
            Trouble("noisy wire", f"{streams.edges} edges came, far more than frames: the trigger input is "
                    "open, or carries noise; only the first million were looked at")
        )  # fmt: skip
    tried = []
    # Waiting longer finds what was written late, and finds a clock that jumped later: it comes second.
    levels = rig.clock.active_high, not rig.clock.active_high
    for wait_us, high in itertools.product((LIVE_WAIT_US, OFFLINE_WAIT_US), levels):
        clock = rig.clock.model_copy(update={"active_high": high, "relation": "trigger"})
        placed, y = place(streams, rig.model_copy(update={"clock": clock}), wait_us)
        tried.append((_matched(placed), high, placed, y, wait_us))
        if _matched(placed) >= ENOUGH * len(frames):
            break
    matched, high, placed, y, waited_us = max(tried, key=lambda v: v[0])
    if waited_us > LIVE_WAIT_US and matched >= ENOUGH * len(frames):
        result.troubles.append(
            Trouble("written late", "frames find their edges only when these are waited for longer than the "
                    f"{LIVE_WAIT_US / 1e3:.0f} ms of live: one camera's stream was written late; in a "
                    "recording that does no harm, live such frames would be given up", Verdict.PASS)
        )  # fmt: skip
    if high != rig.clock.active_high and matched:
        level = "high" if high else "low"
        result.troubles.append(
            Trouble("polarity", f"the shutter is open while the signal is {level}, not as the rig says; the "
                    "calibrated rig has it right", Verdict.PASS)
        )  # fmt: skip
    result.active_high, result.frames_matched = high, matched
    _judge_matching(result, streams, rig, placed, y, frames_n=len(frames))
    starts, device, places = _pairs(placed, streams, high, rig.clock.delay_us)
    if len(starts) >= 2:
        _fit(result, device, starts, places)
        result.exposure_bias_us = _bias(placed, result)
    elif not result.troubles or result.verdict is not Verdict.FAIL:
        result.troubles.append(
            Trouble("no clock", "fewer than two frames found their edges: record longer", Verdict.FAIL)
        )
    _left_over(result, placed, streams, high, rig.clock.delay_us)
    return result


def _matched(placed: list[Placed]) -> int:
    return sum(p.exposure is not None and p.exposure.source is ExposureSource.TRIGGER for p in placed)


def _judge_matching(
    r: TimeResult, streams: Streams, rig: Rig, placed: list[Placed], y: Synchroniser, *, frames_n: int
) -> None:
    r.edges_matched = y.counters.edges_matched
    edge_hz, frame_hz = _rate(streams.edge_times(r.active_high)), _frame_rate(placed)
    share = r.frames_matched / frames_n
    off = frame_hz > 0 and edge_hz > 0 and not 0.8 <= edge_hz / frame_hz <= 1.25
    if share < ENOUGH and off:
        r.troubles.append(
            Trouble("wrong wire", f"pulses come at {edge_hz:.1f} a second, frames at {frame_hz:.1f}: the "
                    "signal on the trigger input is not this camera's exposure", Verdict.FAIL)
        )  # fmt: skip
    elif share < ENOUGH:
        why = y.status.why or next((p.why for p in placed if p.why), "")
        detail = f" ({why})" if why else ""
        r.troubles.append(
            Trouble("frames without edges", f"only {r.frames_matched} of {frames_n} frames have both their "
                    f"edges{detail}", Verdict.FAIL if share < 0.5 else Verdict.WARN)
        )  # fmt: skip
    elif off and edge_hz > frame_hz:
        r.troubles.append(
            Trouble("extra edges", f"pulses come at {edge_hz:.1f} a second, frames at {frame_hz:.1f}: every "
                    "frame has its edges, but something else is on the wire as well, or frames are lost")
        )  # fmt: skip
    for cause, n in y.status.resets:
        name = "clock wrapped" if "back" in cause else "clock jumped" if "jump" in cause else "clock lost"
        if "events:" in cause or "frames:" in cause:
            continue
        r.troubles.append(Trouble(name, f"{cause} ({n} times); it was found anew each time"))


def _rate(t: I64) -> float:
    # By the median interval: losses and bounces do not move it.
    return 1e6 / float(np.median(np.diff(t))) if len(t) > 2 and np.median(np.diff(t)) > 0 else 0.0


def _frame_rate(placed: list[Placed]) -> float:
    starts = np.array([p.start_ns for p in placed], np.int64)
    steps = np.diff(starts)
    steps = steps[steps > 0]
    return 1e9 / float(np.median(steps)) if len(steps) else 0.0


def _pairs(placed: list[Placed], streams: Streams, high: bool, delay_us: float) -> tuple[F64, I64, I64]:
    """Start edges that were really seen, and stamps (ns) and places of their frames, in order."""
    seen = streams.edge_times(high) + round(delay_us)
    out = [
        (p.exposure.start_us, p.start_ns, p.place)
        for p in placed
        if p.exposure is not None and p.exposure.source in (ExposureSource.TRIGGER, ExposureSource.CHUNK)
    ]
    starts, stamps, places = np.array(out, np.int64).reshape(-1, 3).T
    real = np.isin(starts, seen)
    return starts[real].astype(np.float64), stamps[real], places[real]


def _fit(r: TimeResult, device_ns: I64, start_us: F64, places: I64) -> None:
    parts = segments(device_ns, start_us)
    a, b = max(parts, key=lambda s: s[1] - s[0])
    named = {t.name for t in r.troubles}
    for (_, end), (begin, _) in itertools.pairwise(parts):
        back = device_ns[begin] < device_ns[end - 1]
        name = "clock wrapped" if back else "clock jumped"
        by = (start_us[begin] - start_us[end - 1]) - (device_ns[begin] - device_ns[end - 1]) / 1e3
        if name in named:  # the synchroniser has seen it; here is the place
            r.troubles = [t for t in r.troubles if t.name != name]
        r.troubles.append(
            Trouble(name, f"the frame camera's clock {'ran back' if back else 'jumped'} by {abs(by) / 1e3:.3f} "
                    f"ms at {start_us[begin] / 1e6:.3f} s; exposures on both sides are right, the fit is that "
                    "of the longer side")
        )  # fmt: skip
    line, clock, rest = fit_line(device_ns[a:b], start_us[a:b])
    if len(parts) > 1:
        # Frames before the first pair and after the last one go with these.
        first = 0 if a == 0 else int(places[a])
        clock = replace(clock, frames=(first, sys.maxsize if b == len(places) else int(places[b - 1]) + 1))
    r.clock = clock
    r.at_us, r.residuals_us = start_us[a:b], rest
    r.residual_us = line.sigma
    r.p95_us = float(np.percentile(np.abs(rest), 95))
    r.drift_uncertainty_ppm = line.slope_half_width * 1e6
    r.held_out_us = _held_out(device_ns[a:b], start_us[a:b])
    ends = line.mean_x - float(np.ptp(device_ns[a:b])) / 2e3
    bend = _bend(rest)
    # A bend is no scatter: more edges do not make it smaller, and towards the ends it is half as large again.
    r.uncertainty_us = math.hypot(line.half_width(ends), 1.5 * bend) + EDGE_FLOOR_US
    if b - a < WANTED_PAIRS:
        r.troubles.append(Trouble("short", f"only {b - a} frames with edges; record longer"))
    scatter = _scatter(rest)
    if scatter > WARN_US:
        r.troubles.append(
            Trouble(
                "edges scatter",
                f"edges scatter by {scatter:.0f} µs, {PASS_US:.0f} are usual: noise on the "
                "wire, or an output with slow edges",
                Verdict.FAIL,
            )
        )
    elif scatter > PASS_US:
        r.troubles.append(
            Trouble("edges scatter", f"edges scatter by {scatter:.0f} µs; {PASS_US:.0f} are usual")
        )
    if bend > max(5.0, 3.0 * scatter):
        r.troubles.append(
            Trouble("clock bends", f"the rate of the clocks changes by {bend:.0f} µs over the recording: let "
                    "the cameras warm up; live follows it")
        )  # fmt: skip


def fit_line(device_ns: I64, start_us: F64) -> tuple[Line, AffineClock, F64]:
    """Robust line; the clock; (N,) residuals in µs."""
    middle = int(device_ns[len(device_ns) // 2])
    x = (device_ns - middle) / 1e3
    y = start_us - start_us[len(start_us) // 2] - x
    line = robust_line(x, y, slope_sigma=DRIFT_PPM * 1e-6, floor=EDGE_FLOOR_US)
    clock = AffineClock(
        middle, float(start_us[len(start_us) // 2] + line.at(0.0)), line.slope * 1e6
    )  # fmt: skip
    return line, clock, np.asarray(y - line.at(x))


def segments(device_ns: I64, start_us: F64) -> list[tuple[int, int]]:
    """Where the relation holds without a step: index ranges [a, b)."""
    if len(device_ns) < 2:
        return [(0, len(device_ns))]
    dx, dy = np.diff(device_ns) / 1e3, np.diff(start_us)
    # What edges scatter by is no jump, however often it is as much.
    scatter = 1.48 * float(np.median(np.abs(dy - dx - np.median(dy - dx))))
    jump = (dx < 0) | (np.abs(dy - dx) > max(JUMP_US, 5.0 * scatter) + 300e-6 * np.abs(dx))
    cuts = [0, *(np.flatnonzero(jump) + 1).tolist(), len(device_ns)]
    parts = [(a, b) for a, b in itertools.pairwise(cuts) if b > a]
    # A single wild pair cuts twice: join what goes on behind it as if nothing had been.
    joined: list[tuple[int, int]] = []
    for a, b in parts:
        if joined and b - a > 1:
            la, lb = joined[-1]
            gap_x, gap_y = (device_ns[a] - device_ns[lb - 1]) / 1e3, start_us[a] - start_us[lb - 1]
            if gap_x >= 0 and abs(gap_y - gap_x) <= JUMP_US + 300e-6 * abs(gap_x):
                joined[-1] = (la, b)
                continue
        if b - a > 1 or not joined:
            joined.append((a, b))
    return joined


def _held_out(device_ns: I64, start_us: F64) -> float:
    """See `TimeResult.held_out_us`."""
    n = 2 * len(device_ns) // 3
    if n < 10:
        return math.nan
    _, clock, _ = fit_line(device_ns[:n], start_us[:n])
    foretold = np.array([clock.event_us(int(d)) for d in device_ns[n:]])
    return float(np.percentile(np.abs(start_us[n:] - foretold), 95))


def _scatter(residual: F64) -> float:
    """Standard deviation (µs) from edge to edge; a slow bend of the clock is not in it."""
    return float(np.median(np.abs(np.diff(residual)))) * 1.4826 / math.sqrt(2.0)


def _bend(residual: F64) -> float:
    """How far the medians of thirds lie from a straight line, µs."""
    n = len(residual) // 3
    if n < 10:
        return 0.0
    a, b, c = (float(np.median(residual[k * n : (k + 1) * n])) for k in range(3))
    return abs(b - (a + c) / 2)


def _bias(placed: list[Placed], r: TimeResult) -> float:
    """Pulses longer than exposures, by so many µs."""
    over = [
        p.exposure.duration_us - (p.end_ns - p.start_ns) / 1e3
        for p in placed
        if p.exposure is not None and p.exposure.source is ExposureSource.TRIGGER
    ]
    return float(np.median(over)) if over else 0.0


def _left_over(r: TimeResult, placed: list[Placed], streams: Streams, high: bool, delay_us: float) -> None:
    """List frames without edges and edges without frames."""
    out: list[Unmatched] = []
    used: set[int] = set()
    for p in placed:
        x = p.exposure
        if x is not None and x.source is ExposureSource.TRIGGER:
            used |= {x.start_us, x.end_us}
        elif x is not None:
            used |= {x.start_us, x.end_us}  # one of them may be an edge; the other is calculated
            out.append(Unmatched(x.start_us, f"frame {p.sequence}", "an edge is missing"))
        else:
            clock = r.clock if r.clock is not None and r.clock.holds(p.place) else None
            at = None if clock is None else round(clock.event_us(p.start_ns))
            out.append(Unmatched(at, f"frame {p.sequence}", p.why))
    for rising in (True, False):
        word = "opening" if rising == high else "closing"
        # As the synchroniser takes them: the exposure is over before a signal that lasts longer.
        by_us = round(delay_us) - (0 if rising == high else round(r.longer_us))
        for t in (streams.edge_times(rising) + by_us).tolist():
            if t not in used:
                out.append(Unmatched(t, f"{word} edge"))
                if len(out) > 50 * LISTED:
                    break
    out.sort(key=lambda u: -math.inf if u.at_us is None else u.at_us)
    r.unmatched = out[:LISTED]
