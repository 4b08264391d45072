"""The clock from trigger edges: right, honest, and named when it cannot be."""

from __future__ import annotations

import re
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from calibration.check import check
from calibration.field import exposed
from calibration.take import sure_or_rough_clock
from calibration.time.lines import robust_line
from calibration.time.result import AffineClock, TimeResult, Verdict
from calibration.time.solve import calibrate_time, calibrated_clock
from calibration.time.streams import Streams
from calibration.time.trigger import by_triggers, place, segments
from capture.packets import EventPacket, Events, Frame, TriggerEdges
from sync.exposure import ExposureSource
from sync.rig import Rig
from tests.sync.exposures_sim import Setup, packet, simulate, small_rig

RIG = {"frames": 150, "period_us": 66_667.0, "edge_loss": 0.02, "frame_loss": 0.02, "packet_us": 5_000}


def names(result: object) -> set[str]:
    return {t.name for t in result.troubles}  # type: ignore[attr-defined]


@pytest.mark.parametrize("seed", range(6))
def test_clock_of_a_random_rig(seed: int) -> None:
    rng = np.random.default_rng(seed)
    setup = Setup(
        **RIG, exposure_us=float(rng.uniform(5e3, 45e3)), offset_us=float(rng.uniform(-5e4, 5e4)),  # type: ignore[arg-type]
        drift_ppm=float(rng.uniform(-100, 100)), host=bool(seed % 2), seed=seed,
    )  # fmt: skip
    sim = simulate(setup)
    streams = Streams.of(sim.items)
    r = by_triggers(streams, small_rig())
    assert r.clock is not None
    assert r.verdict is Verdict.PASS
    assert "written late" not in names(r)
    error = np.array([abs(r.clock.event_us(sim.device_of[q]) - a) for q, (a, _) in sim.truth.items()])
    assert np.median(error) <= 10
    assert np.percentile(error, 99) <= 30
    assert error.max() <= r.uncertainty_us + 1
    assert r.residual_us == pytest.approx(5.0, abs=2.0)
    assert r.drift_ppm == pytest.approx(setup.drift_ppm, abs=r.drift_uncertainty_ppm + 2)
    # Every exposure is that of its own frame: the next one is 66 ms away.
    placed, _ = place(streams, small_rig())
    known = [p for p in placed if p.exposure is not None]
    assert len(known) >= 0.97 * len(sim.truth)
    assert max(abs(p.exposure.start_us - sim.truth[p.sequence][0]) for p in known if p.exposure) < 60


def test_frames_and_edges_left_over_are_counted_and_placed() -> None:
    sim = simulate(Setup(**RIG, exposure_us=9_000.0, seed=4))  # type: ignore[arg-type]
    r = by_triggers(Streams.of(sim.items), small_rig())
    assert r.frames == sum(isinstance(i, Frame) for i in sim.items)
    assert r.edges == sim.edges
    frames = [u for u in r.unmatched if u.what.startswith("frame")]
    assert len(frames) == r.frames - r.frames_matched > 0
    assert all(u.at_us is not None for u in frames)
    assert any("edge" in u.what for u in r.unmatched)  # of the frames that were lost
    assert [u.at_us for u in r.unmatched] == sorted(u.at_us for u in r.unmatched)  # type: ignore[type-var]


def test_polarity_is_found() -> None:
    sim = simulate(Setup(**RIG, exposure_us=9_000.0, active_high=False))  # type: ignore[arg-type]
    r = by_triggers(Streams.of(sim.items), small_rig(active_high=True))
    assert not r.active_high
    assert "polarity" in names(r)
    assert r.clock is not None
    assert r.verdict is Verdict.PASS


def test_no_triggers() -> None:
    sim = simulate(Setup(**{**RIG, "edge_loss": 1.0}))  # type: ignore[arg-type]
    r = by_triggers(Streams.of(sim.items), small_rig())
    assert names(r) == {"no triggers"}
    assert r.clock is None
    assert r.verdict is Verdict.FAIL


@pytest.mark.parametrize("rate_hz", [60.0, 25.0, 100.0])
def test_the_wrong_wire_is_named_with_both_rates(rate_hz: float) -> None:
    sim = simulate(Setup(**{**RIG, "frames": 50, "edge_loss": 1.0}, exposure_us=9_000.0))  # type: ignore[arg-type]
    period = 1e6 / rate_hz
    items: list[EventPacket | Frame] = []
    last = 0
    for i in sim.items:
        if isinstance(i, EventPacket):
            k = np.arange(np.ceil(last / period), np.ceil(i.complete_until_us / period))
            t = np.sort(np.concatenate([k * period, k * period + 3_000])).astype(np.int64)
            up = np.tile([True, False], len(k))
            inside = t < i.complete_until_us
            i, last = packet(
                i.events.t, t[inside], up[inside], i.complete_until_us, i.host_ns
            ), i.complete_until_us  # fmt: skip
        items.append(i)
    r = by_triggers(Streams.of(items), small_rig())
    wrong = next(t for t in r.troubles if t.name == "wrong wire")
    assert f"{rate_hz:.1f}" in wrong.text
    assert "15.0" in wrong.text
    assert r.verdict is Verdict.FAIL


@pytest.mark.parametrize(("jump_us", "name"), [(5_300.0, "clock jumped"), (1.2e6, "clock jumped"),
                                               (-1.2e6, "clock wrapped"), (-9e7, "clock wrapped")])  # fmt: skip
def test_a_clock_that_jumps_or_wraps_is_named_and_placed(jump_us: float, name: str) -> None:
    sim = simulate(
        Setup(**{**RIG, "frames": 160}, vary_exposure=0.2, exposure_us=9_000.0, device_jump=(90, jump_us))
    )  # type: ignore[arg-type]
    r = by_triggers(Streams.of(sim.items), small_rig())
    jumped = [t for t in r.troubles if t.name == name]
    assert len(jumped) == 1
    said = float(re.search(r"by ([\d.]+) ms", jumped[0].text)[1])  # type: ignore[index]
    assert said == pytest.approx(abs(jump_us) / 1e3, abs=0.05)
    assert r.verdict is Verdict.WARN
    assert r.clock is not None
    before = [q for q, (a, _) in sim.truth.items() if a < min(sim.truth.values())[0] + 88 * 66_667]
    error = [abs(r.clock.event_us(sim.device_of[q]) - sim.truth[q][0]) for q in before]
    assert max(error) < 20  # the longer side is right


@pytest.mark.parametrize("jump_us", [5.0e6, -1.2e6])
def test_a_clock_that_jumps_leaves_a_rig_file_that_can_be_read(jump_us: float, tmp_path: Path) -> None:
    setup = {**RIG, "frames": 80, "edge_loss": 0.0, "frame_loss": 0.0}
    sim = simulate(Setup(**setup, vary_exposure=0.2, exposure_us=9_000.0, device_jump=(50, jump_us)))  # type: ignore[arg-type]
    rig = small_rig()
    r = calibrate_time(lambda: sim.items, rig)
    assert r.clock is not None
    clock = calibrated_clock(r, rig)
    assert 0 < clock.host_latency_ms < 8
    assert clock.host_latency_spread_ms < 8
    rig.model_copy(update={"clock": clock}).save(tmp_path / "rig.toml")
    assert Rig.load(tmp_path / "rig.toml").clock == clock
    # Frames of the shorter side would lie seconds away: nothing is asked of them.
    found = list(exposed(sim.items, r.clock, rig))
    assert 45 <= len(found) <= 51
    assert all(abs(e.start_us - sim.truth[e.frame.sequence][0]) < 30 for e in found)


def test_a_latency_that_no_camera_has_is_told_and_the_rig_file_keeps_its_own() -> None:
    sim = simulate(Setup(**{**RIG, "frames": 60, "edge_loss": 0.0}, vary_exposure=0.2, exposure_us=9_000.0))  # type: ignore[arg-type]
    items = [replace(i, host_ns=i.host_ns + 900 * 10**9) if isinstance(i, Frame) else i for i in sim.items]
    rig = small_rig()
    r = calibrate_time(lambda: items, rig)
    assert r.latency_ms is None
    (told,) = [t for t in r.troubles if t.name == "arrival times"]
    assert told.verdict is Verdict.WARN
    assert "+900.0 s" in told.text
    clock = calibrated_clock(r, rig)
    assert clock.host_latency_ms == rig.clock.host_latency_ms
    assert clock.host_latency_spread_ms == rig.clock.host_latency_spread_ms


def test_a_spread_beyond_what_a_rig_file_holds_is_bounded() -> None:
    vague = TimeResult("trigger", AffineClock(0, 0.0, 0.0), 1.0, 1.0, latency_ms=9.0, latency_spread_ms=9e6)
    assert calibrated_clock(vague, small_rig()).host_latency_spread_ms == 2_000


def test_one_wild_pair_is_no_jump() -> None:
    x = np.arange(50, dtype=np.int64) * 40_000_000
    y = x / 1e3 + 17.0
    y[20] += 4_000
    assert segments(x, y) == [(0, 50)]


def test_a_clock_that_bends_is_told() -> None:
    sim = simulate(Setup(frames=300, period_us=66_667.0, exposure_us=9_000.0, jitter_us=1.0, vary_exposure=0.1))
    bent = []
    for i in sim.items:
        if isinstance(i, Frame):
            s = (i.device_start_ns or 0) / 1e9
            add = round(400e3 * (s / 10.0 - 1.0) ** 2)  # 400 µs over ten seconds
            start, end = (i.device_start_ns or 0) + add, (i.device_end_ns or 0) + add
            i = Frame(i.image, i.layout, i.sequence, start, end, i.clock, i.host_ns)
        bent.append(i)
    r = by_triggers(Streams.of(bent), small_rig())
    assert "clock bends" in names(r)
    # Edges are stamped to a microsecond, and the clock is not known that well.
    assert r.p95_us <= r.uncertainty_us < 3 * r.p95_us


@pytest.mark.parametrize(("jitter_us", "verdict"), [(5.0, None), (40.0, Verdict.WARN), (110.0, Verdict.FAIL)])
def test_edges_that_scatter_are_told_and_noise_is_no_clock(jitter_us: float, verdict: Verdict | None) -> None:
    sim = simulate(
        Setup(frames=80, period_us=66_667.0, exposure_us=9_000.0, vary_exposure=0.2, jitter_us=jitter_us)
    )
    r = by_triggers(Streams.of(sim.items), small_rig())
    told = [t for t in r.troubles if t.name == "edges scatter"]
    assert [t.verdict for t in told] == ([] if verdict is None else [verdict])
    assert r.verdict is (verdict or Verdict.PASS)
    for t in told:
        said = float(re.search(r"scatter by (\d+) µs", t.text)[1])  # type: ignore[index]
        assert said == pytest.approx(jitter_us, rel=0.35)
    assert r.held_out_us == pytest.approx(2 * jitter_us, rel=0.5)
    assert "clock jumped" not in names(r)  # what scatters in both directions has not jumped


@pytest.mark.parametrize("sign", [-1, 1])
def test_how_well_the_rest_foretells_the_last_third(sign: int) -> None:
    """The frame camera's clock changes its rate for the last third: too late or too early is the same."""
    sim = simulate(Setup(frames=90, period_us=66_667.0, exposure_us=9_000.0, vary_exposure=0.2, jitter_us=1.0))
    items: list[EventPacket | Frame] = []
    for i in sim.items:
        if isinstance(i, Frame):
            add = sign * 20_000 * max(0, i.sequence - 60)
            i = replace(i, device_start_ns=i.device_start_ns + add, device_end_ns=i.device_end_ns + add)  # type: ignore[operator]
        items.append(i)
    r = by_triggers(Streams.of(items), small_rig())
    assert r.held_out_us == pytest.approx(0.95 * 29 * 20, rel=0.1)


def test_pulses_that_are_longer_than_exposures_are_measured() -> None:
    setup = {**RIG, "frames": 60, "edge_loss": 0.0, "frame_loss": 0.0}
    sim = simulate(Setup(**setup, exposure_us=9_000.0, vary_exposure=0.2, jitter_us=1.0))  # type: ignore[arg-type]
    for longer in (0, 50, -50):
        items: list[EventPacket | Frame] = []
        for i in sim.items:
            if isinstance(i, EventPacket):
                t, up = i.triggers.t, i.triggers.rising
                i = replace(i, triggers=TriggerEdges(np.where(up, t - longer, t), up))
            items.append(i)
        r = by_triggers(Streams.of(items), small_rig())
        assert r.exposure_bias_us == pytest.approx(longer, abs=2.0)


@pytest.mark.parametrize(("residual_us", "told"), [(9.0, False), (30.0, True)])
def test_edges_that_scatter_more_than_when_the_rig_was_calibrated(residual_us: float, told: bool) -> None:
    time = TimeResult(
        "trigger", AffineClock(0, 0.0, 0.0), 1.0, residual_us=residual_us, active_high=True, frames=1
    )
    r = check(lambda: [], small_rig(residual_us=2.0), time=time)
    found = [t for t in r.troubles if t.name == "edges scatter"]
    assert [t.verdict for t in found] == ([Verdict.WARN] if told else [])
    if told:
        assert "30.0 µs, 2.0 when calibrated" in found[0].text


def test_what_a_recording_wrote_late_is_matched_all_the_same() -> None:
    """Frames that were written a second before their edges: live they would be given up."""
    late = (1.0e6, 1.001e6)
    sim = simulate(
        Setup(**{**RIG, "frames": 60}, vary_exposure=0.2, exposure_us=9_000.0, event_latency_us=late)
    )  # type: ignore[arg-type]
    r = by_triggers(Streams.of([replace(i, host_ns=0) for i in sim.items]), small_rig())
    assert r.frames_matched >= 0.95 * len(sim.truth)
    assert r.verdict is Verdict.PASS
    assert "written late" in names(r), "live does not keep that"


def test_a_clock_that_failed_is_none_to_place_frames_by() -> None:
    setup = {**RIG, "frames": 100, "edge_loss": 0.0}
    sim = simulate(Setup(**setup, vary_exposure=0.2, exposure_us=9_000.0))  # type: ignore[arg-type]
    for lost, sure in ((False, True), (True, False)):
        items = [
            replace(i, triggers=TriggerEdges.empty())
            if lost and isinstance(i, EventPacket) and i.complete_until_us > 1_500_000 else i
            for i in sim.items
        ]  # fmt: skip
        streams = Streams.of(items)
        found = by_triggers(streams, small_rig())
        assert found.clock is not None
        assert (found.verdict is Verdict.FAIL) is lost
        clock, told = sure_or_rough_clock(streams, small_rig())
        assert told is sure
        assert (clock == found.clock) is sure


def test_ends_of_a_longer_signal_are_not_left_over() -> None:
    setup = {**RIG, "frames": 60, "edge_loss": 0.0, "frame_loss": 0.0}
    sim = simulate(Setup(**setup, exposure_us=9_000.0, jitter_us=1.0))  # type: ignore[arg-type]
    items = []
    for i in sim.items:
        if isinstance(i, EventPacket):
            t, up = i.triggers.t, i.triggers.rising
            # Both edges in the packet of the exposure's end.
            i = replace(i, triggers=TriggerEdges(np.where(up, t - 4_000, t), up))
        items.append(i)
    r = by_triggers(Streams.of(items), small_rig(longer_us=4_000.0, delay_us=4_000.0))
    assert r.frames_matched == 60
    assert [u for u in r.unmatched if "edge" in u.what] == []


def test_streams_keep_no_pixels() -> None:
    sim = simulate(Setup(frames=20))
    s = Streams.of(sim.items)
    assert sum(len(p.events) for p in s.packets()) <= 1
    assert s.events == sum(len(i.events) for i in sim.items if isinstance(i, EventPacket))
    assert all(f.image.strides == (0, 0) for f in s.frames())


def test_streams_take_as_many_bytes_as_they_say() -> None:
    def packets() -> Iterator[EventPacket]:
        for k in range(2_000):
            yield EventPacket(Events.empty(96, 64), TriggerEdges.empty(), 10**12 + 5_000 * k, 10**15 + k)

    tracemalloc.start()
    s = Streams.of(packets())
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert held / len(s.items) < 400


def test_exposures_are_those_of_the_live_synchroniser() -> None:
    sim = simulate(Setup(frames=60, exposure_us=9_000.0, vary_exposure=0.1, seed=3))
    placed, y = place(Streams.of(sim.items), small_rig())
    assert y.counters.frames_in == len(placed) == 60
    assert {p.exposure.source for p in placed if p.exposure} <= {ExposureSource.TRIGGER, ExposureSource.CHUNK}


def test_a_robust_line_does_not_follow_wild_points() -> None:
    rng = np.random.default_rng(0)
    x = np.linspace(0, 10, 100)
    y = 3.0 + 0.5 * x + rng.normal(0, 0.1, 100)
    y[::7] += 50.0
    line = robust_line(x, y)
    assert line.slope == pytest.approx(0.5, abs=0.02)
    assert float(line.at(0.0)) == pytest.approx(3.0, abs=0.1)
    assert abs(float(line.at(5.0)) - 5.5) <= line.half_width(5.0) + 0.02
