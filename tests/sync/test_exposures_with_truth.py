"""The synchroniser on streams whose exposures are known: jitter, losses, noise, jumps, clocks far apart."""

from __future__ import annotations

import numpy as np
import pytest

from capture.packets import EventPacket, Frame
from sync.acquisition import Stamp
from sync.exposure import AlignedExposure, ExposureSource, Refusal, RefusedExposure
from sync.matching import TriggerMatcher
from sync.synchroniser import Outcome, Synchroniser
from tests.sync.exposures_sim import Setup, packet, simulate, small_rig
from tests.sync.replaying import LOSSES, aligned, errors_us, refused, replay

NONE = np.empty(0, np.int64), np.empty(0, np.bool_)
VARYING = {"vary_exposure": 0.3, "vary_period": 0.05}


@pytest.mark.parametrize("host", [True, False], ids=["live", "recorded"])
@pytest.mark.parametrize(
    "more",
    [
        {},
        LOSSES,
        {**LOSSES, "silent_loss": 0.02},
        {**LOSSES, **VARYING, "offset_us": 3e6, "drift_ppm": -100},
        {**LOSSES, **VARYING, "offset_us": -50e3, "drift_ppm": 100},
        {**LOSSES, **VARYING, "offset_us": 1.7e15, "drift_ppm": 200},  # Unix time
        {**LOSSES, "stalls": {20: 51_000.0, 90: 300_000.0}},
        {"bounce": 0.1, "extra_edges": 40, "vary_exposure": 0.2},
        {**LOSSES, "active_high": False},
        {**LOSSES, "period_us": 40_000.0, "exposure_us": 36_000.0},
        {**LOSSES, "period_us": 2_500.0, "exposure_us": 200.0, "vary_period": 0.2, "packet_us": 500},
    ],
    ids=["plain", "losses", "silent", "seconds-off", "minus-50ms", "unix", "stalls", "bounce", "inverted",
         "long", "fast"],
)  # fmt: skip
def test_every_frame_finds_its_own_edges(more: dict[str, object], host: bool) -> None:
    y, out, truth = replay(Setup(frames=150, host=host, **more))  # type: ignore[arg-type]
    errors = np.array(errors_us(out, truth))
    assert len(errors) >= 0.97 * len(truth)
    assert np.median(errors) <= 10.0
    assert np.percentile(errors, 99) <= 30.0
    assert errors.max() < 60.0  # not one is a frame off: the shortest period is 2 500
    assert abs(y.status.drift_ppm - Setup(**more).drift_ppm) < 60.0  # type: ignore[arg-type]


def test_the_stated_uncertainty_holds() -> None:
    _, out, truth = replay(Setup(frames=300, **LOSSES, vary_exposure=0.2))  # type: ignore[arg-type]
    within = 0
    for o in map(aligned, out):
        a, b = truth[o.frame.sequence]
        error = max(abs(o.exposure.start_us - a), abs(o.exposure.end_us - b))
        within += error <= o.exposure.uncertainty_us + 1.0
    assert within >= 0.87 * len(out)  # both ends together; 0.95² for each by itself


def test_missing_edges_are_told_by_the_source() -> None:
    _, out, _ = replay(Setup(frames=200, edge_loss=0.1, vary_exposure=0.2))
    sources = [aligned(o).exposure.source for o in out]
    assert 0.05 < sources.count(ExposureSource.CHUNK) / len(sources) < 0.35
    assert sources.count(ExposureSource.TRIGGER) > 100


def test_constant_pattern_joined_midway_is_refused_by_name() -> None:
    # Latencies of 3, 20 or 36 ms are all possible for this rig, and nothing else tells the frames apart.
    y, out, _ = replay(Setup(first_us=5_000, exposure_us=8_000))
    assert {refused(o) for o in out} == {Refusal.UNMATCHED_TRIGGER}
    assert "constant rate and exposure" in out[-1].detail  # type: ignore[union-attr]
    assert y.status.why
    assert not y.status.locked


@pytest.mark.parametrize(
    ("more", "rig"),
    [
        ({}, {"host_latency_ms": 4.0, "host_latency_spread_ms": 3.0}),
        ({"vary_exposure": 0.1}, {}),
        ({"stalls": {k: 7_000.0 + 900 * k for k in range(5, 50, 5)}}, {}),
        ({"first_us": 300_000}, {}),
    ],
    ids=["latency-known", "exposure-varied", "pauses", "start-seen"],
)
def test_what_resolves_a_constant_pattern(more: dict[str, object], rig: dict[str, object]) -> None:
    setup = Setup(**{"first_us": 5_000, "exposure_us": 8_000.0, **more})  # type: ignore[arg-type]
    y, out, truth = replay(setup, **rig)
    errors = errors_us(out, truth)
    assert len(errors) > 30
    assert max(errors) < 60
    assert y.status.how in {"pattern", "arrival", "start-up"}
    assert y.status.odds >= 1e4


@pytest.mark.parametrize("jump_us", [300.0, -300.0, 5_300.0, -5_300.0, 1.2e6, -1.2e6])
def test_a_clock_that_jumps_is_found_anew(jump_us: float) -> None:
    y, out, truth = replay(Setup(frames=120, device_jump=(60, jump_us), vary_exposure=0.2, **LOSSES))  # type: ignore[arg-type]
    errors = errors_us(out, truth)
    assert max(errors) < 60
    assert len(errors) > 90
    assert sum(n for _, n in y.status.resets) >= 1


def test_unplugged_trigger_wire_falls_back_to_the_measured_clock() -> None:
    sim = simulate(Setup(frames=120, vary_exposure=0.2))
    y = Synchroniser(small_rig())
    out: list[Outcome] = []
    for item in sim.items:
        if isinstance(item, Frame):
            y.push_frame(item)
        elif item.complete_until_us > 1_200_000:
            y.push_events(packet(item.events.t, *NONE, item.complete_until_us, item.host_ns))
        else:
            y.push_events(item)
        out += y.take()
    out += y.finish()
    late = [o for o in map(aligned, out) if o.exposure.start_us > 1_300_000]
    assert len(late) > 20
    assert {o.exposure.source for o in late} == {ExposureSource.CHUNK}
    assert max(errors_us(out, sim.truth)) < 60
    assert max(errors_us(late, sim.truth)) <= late[-1].exposure.uncertainty_us + 5


@pytest.mark.parametrize("relation", ["host", "trigger"])
def test_without_edges_arrival_times_estimate(relation: str) -> None:
    sim = simulate(Setup(frames=100, edge_loss=1.0, vary_exposure=0.2, frame_latency_us=(18_000, 24_000)))
    y = Synchroniser(small_rig(relation=relation))
    out: list[Outcome] = []
    for item in sim.items:
        y.push_events(item) if isinstance(item, EventPacket) else y.push_frame(item)
        out += y.take()
    out += y.finish()
    assert {aligned(o).exposure.source for o in out} == {ExposureSource.ESTIMATED}
    for o in map(aligned, out):
        a, b = sim.truth[o.frame.sequence]
        assert abs(o.exposure.start_us - a) <= o.exposure.uncertainty_us
        assert abs(o.exposure.duration_us - (b - a)) < 3
        assert o.exposure.uncertainty_us >= 20_000
        # The least latency is 18 ms and the rig says 20: so far off, and hardly further.
        assert abs(o.exposure.end_us - (b - 2_000)) < 3_500
    # What arrivals scatter by comes on top of what the rig says, and the more of them the less of it is left.
    unsure = [aligned(o).exposure.uncertainty_us for o in out]
    assert unsure[10] > unsure[-1] > 20_500


def test_host_relation_does_not_use_edges() -> None:
    y, out, _ = replay(Setup(frames=30), relation="host")
    assert {aligned(o).exposure.source for o in out} == {ExposureSource.ESTIMATED}
    assert y.counters.edges_unmatched == y.counters.edges_in


def strobe_delay_items(delay: float) -> list[Outcome]:
    sim = simulate(Setup(frames=40, vary_exposure=0.2, jitter_us=0))
    y = Synchroniser(small_rig(delay_us=delay))
    for item in sim.items:
        y.push_events(item) if isinstance(item, EventPacket) else y.push_frame(item)
    return y.finish()


def test_strobe_delay_is_added_to_every_edge() -> None:
    a, b = strobe_delay_items(0.0), strobe_delay_items(-250.0)
    for p, q in zip(map(aligned, a), map(aligned, b), strict=True):
        assert q.exposure.start_us - p.exposure.start_us == -250
        assert q.exposure.end_us - p.exposure.end_us == -250


def test_at_a_low_rate_the_first_frames_wait_until_enough_have_come_to_find_the_clock() -> None:
    for period_us in (125_000.0, 400_000.0):
        slow = Setup(frames=12, period_us=period_us, exposure_us=0.95 * period_us, first_us=2_500)
        _, out, truth = replay(slow)
        assert all(isinstance(o, AlignedExposure) for o in out), period_us
        assert max(errors_us(out, truth)) < 40


@pytest.mark.parametrize("period_s", [2, 5, 10])
def test_frames_that_come_seconds_apart_find_their_clock(period_s: int) -> None:
    """The pattern of a few frames tells it, so their edges are kept until there are so many."""
    slow = Setup(
        frames=14, period_us=period_s * 1e6, exposure_us=20_000.0, first_us=2_500, packet_us=50_000,
        event_rate=200.0,
    )  # fmt: skip
    _, out, truth = replay(slow)
    found = [isinstance(o, AlignedExposure) for o in out]
    assert all(found[6:])
    assert max(errors_us(out[6:], truth)) < 40


def test_a_loss_among_frames_that_come_seconds_apart_is_remembered_as_long_as_their_edges() -> None:
    m = TriggerMatcher()
    for k in range(3):
        m.add_frame(Stamp(k, k * 10**10, k * 10**10 + 20_000_000, k))
    m.covered(0, 2_000_000, [(1_000_000, 1_500_000)])
    m.covered(0, 8_000_000, [(7_000_000, 7_100_000)])
    assert m._holes == ((1_000_000, 1_500_000), (7_000_000, 7_100_000))
    m.covered(0, 70_000_000)
    assert m._holes == ()


def test_frames_that_are_refused_while_the_clock_is_being_found_say_so() -> None:
    """At 1 Hz nothing can wait for that. Their edges cannot be said to miss a clock that is not there yet."""
    _, out, _ = replay(Setup(frames=12, period_us=1e6, exposure_us=40_000.0, first_us=2_500))
    told = [o.detail for o in out if isinstance(o, RefusedExposure)]
    assert 0 < len(told) <= 4
    assert "from 3 frames or more" in told[0]
    assert not any("do not fit" in t for t in told)
    assert any("just being found" in t for t in told)
    assert all(isinstance(o, AlignedExposure) for o in out[len(told) :])
