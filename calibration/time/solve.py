"""The time half of a calibration: triggers where there are any, what both cameras saw where there are none."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np

from calibration.time.arrival import Arrival, by_arrival
from calibration.time.blink import Blink, blink_check
from calibration.time.refine import NoContent, Refined, collect, refine
from calibration.time.result import AffineClock, TimeResult, Trouble, Verdict
from calibration.time.shutter import REACH_US as SHUTTER_REACH_US
from calibration.time.shutter import Rolling, longer_signal, rolling_of, with_rolling
from calibration.time.streams import Streams
from calibration.time.trigger import by_triggers
from capture.packets import EventPacket, Frame, FrameClock, FrameKind
from sync.clock import HostClock
from sync.rig import MOST_LATENCY_MS, Clock, ImageEntry, Rig
from sync.rolling import moved

Items = Callable[[], Iterable[EventPacket | Frame]]
Progress = Callable[[str, float], None]

CHECK_REACH_US = 6_000.0
"""How far content may put exposures elsewhere than the triggers do."""
DISAGREE_US = 400.0
ONE_CLOCK_REACH_US = 100_000.0
"""How far stamps that a driver gave in the host may lie from the events'."""
ONE_SENSOR_REACH_US = 12_000.0
"""How late a sensor's own pixels may be, in the dark."""
APART = 2.0
"""Stamps are moved when they are off by so many times the uncertainty."""
STORED_UNCERTAINTY_US = 100.0  # a strobe delay is stored when it is known this well,
SURELY_US = 1_000.0  # or is so large that anything found is nearer
LEAST_SPREAD_MS = 0.5


def calibrate_time(
    items: Items, rig: Rig, progress: Progress = lambda step, share: None, *, by_driver: bool = False
) -> TimeResult:
    """Measure the clock relation of a rig.

    Args:
        items: gives both streams from the beginning, each time it is called.
        rig: sizes, geometry (as well as it is known) and the clock's settings.
        progress: takes a step's name and the share of it that is done.
        by_driver: stamps on the event clock may be off, on one pixel grid too (`calibration.take.Take`).
    """
    progress("reading stamps and edges", 0.0)
    streams = Streams.of(items())
    if any(f.clock is FrameClock.EVENT for f in streams.frames()):
        return _one_clock(items, streams, rig, progress, by_driver)
    result = by_triggers(streams, rig)
    progress("reading stamps and edges", 1.0)
    arrival = by_arrival(streams, rig.clock)
    if result.clock is not None and result.verdict is not Verdict.FAIL:
        _latency(result, streams)
        _check_by_content(result, streams, items, rig, progress)
        return result
    if arrival is None:
        result.troubles.append(
            Trouble("no arrival times", "nothing tells when frames came: there are neither host times nor "
                    "events between them", Verdict.FAIL)
        )  # fmt: skip
        return result
    seen = _by_content(result, arrival, streams, items, rig, progress)
    if not seen.rolling_us or not streams.edges:
        return seen
    # A signal that lasts until the last row is closed was longer than any exposure; now it may be understood.
    longer = longer_signal(streams, rig, Rolling(seen.rolling_us, seen.rolling_uncertainty_us))
    if longer is None:
        return seen
    # The signal tells the shutter better than pictures do.
    rig = with_rolling(rig, math.copysign(longer.by_us, seen.rolling_us))
    rig = rig.model_copy(update={"clock": rig.clock.model_copy(update={"longer_us": longer.by_us})})
    result = by_triggers(streams, rig)
    if result.clock is None or result.verdict is Verdict.FAIL:
        return seen
    result.rolling_us, result.rolling_uncertainty_us = rig.image.rolling_us, longer.uncertainty_us
    _latency(result, streams)
    _check_by_content(result, streams, items, rig, progress)
    return result


def _one_clock(
    items: Items, streams: Streams, rig: Rig, progress: Progress, by_driver: bool
) -> TimeResult:  # fmt: skip
    """Frames are stamped on the event clock; the pictures tell by how much exposures lie elsewhere.

    Where somebody else put both streams on one clock it is by what the drivers did, on one pixel grid too. Of
    a sensor that stamps itself stamps are exact, but its pixels may be late; where nothing tells of that, it
    is said and nothing is amiss.
    """
    one_sensor = rig.identity and not by_driver
    result = TimeResult("same", AffineClock(0, 0.0, 0.0), 1.0, 0.0, 0.0, 0.0)
    result.frames = sum(1 for _ in streams.frames())
    result.assumed_us, result.by_driver = rig.clock.stamp_delay_us, by_driver
    exposures = _exposures(streams, AffineClock(0, result.assumed_us, 0.0))
    progress("comparing with the pictures", 0.0)
    if not exposures:
        result.uncertainty_us = math.inf
        result.troubles.append(
            Trouble("no exposures", "frames carry no exposure, so nothing can be restored and the clocks are "
                    "not compared; " + _what_to_do(streams))
        )  # fmt: skip
        return result
    reach = ONE_SENSOR_REACH_US if one_sensor else ONE_CLOCK_REACH_US
    if not rig.identity:
        rig = _with_shutter(result, items, exposures, rig, reach)
    try:
        found = refine(collect(items(), exposures, rig, reach), rig, reach)
    except NoContent as e:
        if one_sensor and e.name != "out of reach":
            result.troubles.append(
                Trouble(e.name, f"whether pixels are late was not measured: {e}", Verdict.PASS)
            )  # fmt: skip
            return result
        result.uncertainty_us = math.inf
        result.troubles.append(
            Trouble(e.name, f"nothing tells whether stamps of frames and events agree: {e}")
        )  # fmt: skip
        return result
    result.shift_us, result.shift_uncertainty_us, result.shift_by = (
        found.shift_us,
        found.uncertainty_us,
        "content",
    )
    result.uncertainty_us, result.content_residual = found.uncertainty_us, found.residual
    total = result.assumed_us + found.shift_us
    if one_sensor and total < -max(SURELY_US, APART * found.uncertainty_us):
        result.troubles.append(
            Trouble("early pixels", f"by the pictures, exposures lie {total:+.0f} ± "
                    f"{found.uncertainty_us:.0f} µs from their stamps, which no late pixel explains: "
                    "taken as 0")
        )  # fmt: skip
    progress("comparing with the pictures", 1.0)
    return result


def _what_to_do(streams: Streams) -> str:
    if all(f.kind is not FrameKind.SENSOR for f in streams.frames()):
        return "they were drawn from events: record the sensor's own frames"
    return "state it with --exposure-us"


def _shifted(result: TimeResult) -> bool:
    """The pictures say surely that exposures lie elsewhere."""
    shift = result.shift_us
    return shift is not None and abs(shift) > max(SURELY_US, APART * result.shift_uncertainty_us)


def delay_of_stamps(result: TimeResult, rig: Rig) -> float:
    """What stamps on the event clock are to be moved by, µs: as before, unless they are surely further off."""
    if result.shift_us is None or not _shifted(result):
        return result.assumed_us
    found = round(result.assumed_us + result.shift_us, 1)
    # A pixel may be late, and never early.
    return max(0.0, found) if rig.identity and not result.by_driver else found


def calibrated_clock(result: TimeResult, rig: Rig) -> Clock:
    """The rig file's settings by what was measured; unchanged where nothing was."""
    c = rig.clock
    if result.relation == "same":
        delay = delay_of_stamps(result, rig)
        same = c.model_copy(update={"relation": "same", "delay_us": delay})
        if result.shift_us is None:
            return same
        unsure = round(result.shift_uncertainty_us, 1)
        update_ = {
            "delay_measured_us": round(result.assumed_us + result.shift_us, 1), "delay_uncertainty_us": unsure,
            # Stamps of one sensor are exact, as long as its pixels are not known to be late.
            "uncertainty_us": unsure if delay or result.by_driver or not rig.identity else None,
        }  # fmt: skip
        return same.model_copy(update=update_)
    if result.clock is None:
        return c
    update: dict[str, object] = {
        "relation": result.relation, "residual_us": round(result.residual_us, 3),
        "drift_ppm": round(result.drift_ppm, 3), "uncertainty_us": round(result.uncertainty_us, 1),
        "active_high": result.active_high,
    }  # fmt: skip
    if result.relation == "trigger":
        update["longer_us"] = result.longer_us
    if result.relation == "trigger" and result.shift_us is not None:
        update["delay_measured_us"] = round(c.delay_us + result.shift_us, 1)
        update["delay_uncertainty_us"] = round(result.shift_uncertainty_us, 1)
        exact = result.shift_uncertainty_us <= STORED_UNCERTAINTY_US < abs(result.shift_us)
        if exact or abs(result.shift_us) > max(SURELY_US, APART * result.shift_uncertainty_us):
            update["delay_us"] = delay = round(c.delay_us + result.shift_us, 1)
            result = with_delay(result, delay - c.delay_us)
    if result.latency_ms is not None:
        spread = result.latency_spread_ms or LEAST_SPREAD_MS
        update["host_latency_ms"] = round(min(max(0.0, result.latency_ms), MOST_LATENCY_MS), 3)
        update["host_latency_spread_ms"] = round(min(spread, MOST_LATENCY_MS), 3)
    return c.model_copy(update=update)


def with_delay(result: TimeResult, more_us: float) -> TimeResult:
    """The same measurement under a strobe delay that is `more_us` longer: the edges' clock is later by it."""
    if result.relation != "trigger" or result.clock is None or not more_us:
        return result
    shift = None if result.shift_us is None else result.shift_us - more_us
    latency = None if result.latency_ms is None else result.latency_ms - more_us / 1e3
    return replace(result, clock=result.clock.shifted(more_us), shift_us=shift, latency_ms=latency)


def calibrated_image(result: TimeResult, rig: Rig) -> ImageEntry:
    """The frame camera by what was measured: with the shutter that the pictures tell."""
    if result.rolling_us is None or result.verdict is Verdict.FAIL:
        return rig.image
    return rig.image.model_copy(update={"rolling_us": result.rolling_us})


def _exposures(streams: Streams, clock: AffineClock) -> dict[int, tuple[float, float]]:
    """Assumed exposures by the frame's place in the stream, of the frames for which the clock holds."""
    return {
        k: (clock.event_us(f.device_start_ns), clock.event_us(f.device_end_ns))
        for k, f in enumerate(streams.frames())
        if clock.holds(k)
        and f.device_start_ns is not None and f.device_end_ns is not None and f.kind is FrameKind.SENSOR
        and f.device_end_ns > f.device_start_ns
    }  # fmt: skip


def _latency(result: TimeResult, streams: Streams) -> None:
    """Least latency of frames, when both streams carry host times."""
    events, late = HostClock(), []
    clock = result.clock
    assert clock is not None
    for item in streams.items:
        if isinstance(item, EventPacket):
            events.add(item.complete_until_us, item.host_ns)
    if not events.ready:
        return
    late = [
        (f.host_ns - events.host_ns_of(clock.event_us(f.device_end_ns))) / 1e6
        for k, f in enumerate(streams.frames())
        if clock.holds(k) and f.host_ns > 0 and f.device_end_ns is not None
    ]
    if len(late) < 10:
        return
    blocks = [float(np.min(b)) for b in np.array_split(np.array(late), max(1, len(late) // 10))]
    _tell_latency(result, float(np.median(blocks)), max(LEAST_SPREAD_MS, 2.0 * float(np.ptp(blocks))))


def _tell_latency(result: TimeResult, latency_ms: float, spread_ms: float) -> None:
    """Note it, unless no camera is so slow: then arrivals, or the clock, are those of something else."""
    if abs(latency_ms) <= MOST_LATENCY_MS:
        result.latency_ms, result.latency_spread_ms = latency_ms, spread_ms
        return
    result.troubles.append(
        Trouble("arrival times", f"by their host times frames come {latency_ms / 1e3:+.1f} s after their "
                "exposure: frames and events were not stamped by one host clock; the latency in the rig file "
                "stays")
    )  # fmt: skip


def _check_by_content(result: TimeResult, streams: Streams, items: Items, rig: Rig, progress: Progress) -> None:
    """Do the pictures agree with the triggers? The strobe delay is what they differ by."""
    assert result.clock is not None
    exposures = _exposures(streams, result.clock)
    progress("comparing with the pictures", 0.0)
    if result.rolling_us is None:
        rig = _with_shutter(result, items, exposures, rig, CHECK_REACH_US)
    seen = _blink(items, exposures, rig)
    try:
        found = refine(collect(items(), exposures, rig, CHECK_REACH_US), rig, CHECK_REACH_US)
    except NoContent as e:
        far = e.name == "out of reach"
        if far and seen is not None and abs(seen.shift_us) < CHECK_REACH_US:
            result.troubles.append(_at_odds(seen, f"more than ±{CHECK_REACH_US:.0f} µs"))
            seen = None
        if seen is None:
            # Where nothing moves, nothing speaks against the edges.
            how_bad = Verdict.WARN if far else Verdict.PASS
            result.troubles.append(Trouble(e.name, f"the pictures do not check the triggers: {e}", how_bad))
            return
    else:
        result.shift_us, result.shift_by, result.content_residual = found.shift_us, "content", found.residual
        seen, result.shift_uncertainty_us = _agreeing(result, seen, found.shift_us, found.uncertainty_us)
    if seen is not None:
        result.shift_us, result.shift_uncertainty_us = seen.shift_us, seen.uncertainty_us
        result.shift_by = "blinking light"
    assert result.shift_us is not None
    progress("comparing with the pictures", 1.0)
    if abs(result.shift_us) > max(DISAGREE_US, 2.0 * result.shift_uncertainty_us):
        result.troubles.append(
            Trouble("strobe delay", f"by the pictures, exposures lie {result.shift_us:+.0f} ± "
                    f"{result.shift_uncertainty_us:.0f} µs from where the edges put them: check strobe delay "
                    "and polarity of the frame camera's output; or pixels are late in the dark")
        )  # fmt: skip


def _blink(items: Items, exposures: dict[int, tuple[float, float]], rig: Rig) -> Blink | None:
    return blink_check(lambda: moved(items(), rig), exposures, rig)


def _agreeing(
    result: TimeResult, seen: Blink | None, shift_us: float, uncertainty_us: float
) -> tuple[Blink | None, float]:
    """The blinking light, if it is surer than motion and does not contradict it; a contradiction is told.

    Returns:
        the light; how sure motion is then, µs.
    """
    if seen is None or seen.uncertainty_us >= uncertainty_us:
        return None, uncertainty_us
    apart = abs(seen.shift_us - shift_us)
    if apart <= seen.uncertainty_us + uncertainty_us:
        return seen, uncertainty_us
    result.troubles.append(_at_odds(seen, f"{shift_us:+.0f} ± {uncertainty_us:.0f} µs"))
    # One of both is wrong by so much, and nothing tells which.
    return None, max(uncertainty_us, apart)


def _at_odds(seen: Blink, moves: str) -> Trouble:
    return Trouble(
        "blinking light",
        f"a light that blinks puts the exposures {seen.shift_us:+.0f} ± {seen.uncertainty_us:.0f} µs from "
        f"where they were taken to be, what moves {moves}; the light was passed over: let a lamp or an LED "
        "blink by itself, or nothing",
    )


def _with_shutter(
    result: TimeResult, items: Items, exposures: dict[int, tuple[float, float]], rig: Rig, reach_us: float
) -> Rig:
    """The rig with the shutter that the pictures tell; noted in the result."""
    # The second look sees bands that a shutter no longer smears over time.
    for reach in (reach_us + SHUTTER_REACH_US, reach_us + CHECK_REACH_US):
        found = rolling_of(collect(items(), exposures, rig, reach), rig, reach)
        if found is None:
            break
        first = result.rolling_us is None
        result.rolling_us, result.rolling_uncertainty_us = rig.image.rolling_us, found.uncertainty_us
        if first and not found.clear:
            break
        result.rolling_us = round(rig.image.rolling_us + found.by_us, -1)
        rig = with_rolling(rig, result.rolling_us)
    return rig


def _by_content(
    result: TimeResult, arrival: Arrival, streams: Streams, items: Items, rig: Rig, progress: Progress
) -> TimeResult:  # fmt: skip
    out = TimeResult("host", frames=result.frames, edges=result.edges, active_high=rig.clock.active_high)
    # What was wrong with the edges is no reason to fail once the pictures have told; and where the rig file
    # knows of no wire, nothing is.
    out.troubles = [
        Trouble(t.name, "no edge came, and the rig file says that there is no wire", Verdict.PASS)
        if t.name == "no triggers" and rig.clock.relation == "host"
        else Trouble(t.name, t.text, Verdict.WARN)
        for t in result.troubles
    ]
    out.what = "block of frames"
    progress("looking for the exposures in the events", 0.0)
    exposures = _exposures(streams, arrival.clock)
    rig = _with_shutter(out, items, exposures, rig, arrival.reach_us)
    try:
        found = refine(collect(items(), exposures, rig, arrival.reach_us), rig, arrival.reach_us)
    except NoContent as e:
        out.troubles.append(Trouble(e.name, f"no clock without triggers: {e}", Verdict.FAIL))
        return out
    clock, uncertainty = _corrected(arrival.clock, found), found.uncertainty_us
    seen = _blink(items, _exposures(streams, clock), rig)
    progress("looking for the exposures in the events", 1.0)
    seen, uncertainty = _agreeing(out, seen, 0.0, uncertainty)
    if seen is not None:
        clock, uncertainty = clock.shifted(seen.shift_us), seen.uncertainty_us
        out.shift_us, out.shift_uncertainty_us, out.shift_by = (
            seen.shift_us,
            seen.uncertainty_us,
            "blinking light",
        )
    out.clock, out.uncertainty_us = clock, uncertainty
    out.frames_matched = 0
    out.at_us = found.block_us
    line = found.shift_us + found.drift_ppm * 1e-6 * (found.block_us - found.at_us)
    out.residuals_us = found.block_shift_us - line
    out.residual_us, out.p95_us = found.sigma_us, float(np.percentile(np.abs(out.residuals_us), 95))
    out.drift_uncertainty_ppm, out.content_residual = found.drift_uncertainty_ppm, found.residual
    latency = arrival.latency_ms(clock)
    if latency is not None:
        _tell_latency(out, latency, max(LEAST_SPREAD_MS, uncertainty / 1e3))
    if not math.isfinite(uncertainty) or uncertainty > 1_000.0:
        out.troubles.append(
            Trouble("vague", f"exposures are known to ±{uncertainty / 1e3:.1f} ms only; record longer, with "
                    "more motion")
        )  # fmt: skip
    return out


def _corrected(clock: AffineClock, found: Refined) -> AffineClock:
    """The clock with shift and drift added."""
    ref = clock.event_us(clock.ref_ns)
    shift = found.shift_us + found.drift_ppm * 1e-6 * (ref - found.at_us)
    return replace(clock, ref_us=clock.ref_us + shift, drift_ppm=clock.drift_ppm + found.drift_ppm)
