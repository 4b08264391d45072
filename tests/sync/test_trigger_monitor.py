"""The trigger monitor: right wires, wrong wires, and what it calls them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from capture.packets import EventPacket, Events, Frame, FrameClock, PixelLayout, TriggerEdges
from sync.rig import Clock
from sync.trigger_monitor import Finding, TriggerMonitor, TriggerReport

RATE_HZ = 20.0
PERIOD_US = round(1e6 / RATE_HZ)
PACKET_US = 5_000
Wire = Callable[[int, int, int], list[tuple[int, bool]]]


def straight(k: int, start_us: int, end_us: int) -> list[tuple[int, bool]]:
    return [(start_us, True), (end_us, False)]


def run(
    wire: Wire, *, seconds: float = 3.0, exposure_us: int = 12_000, clock: Clock | None = None,
    frames: bool = True, packets: bool = True, device: bool = True, from_ns: int = 10**12, jitter: int = 300,
    first: int = 0, rate_hz: float = RATE_HZ,
) -> TriggerReport:  # fmt: skip
    """Both streams as a live rig gives them; `wire` makes the edges of an exposure."""
    monitor = TriggerMonitor(clock)
    edges: list[tuple[int, bool]] = []
    todo = []
    # Exposures vary a little, as a pattern that can be recognised.
    rng = np.random.default_rng(3)
    for k in range(int(seconds * rate_hz)):
        start = 100_000 + round(k * 1e6 / rate_hz) + int(rng.integers(0, jitter + 1))
        end = start + exposure_us
        edges += wire(k, start, end)
        if k >= first:
            todo.append((end + 1500, k + 40, start, end))
    edges.sort()
    for until in range(PACKET_US, int(seconds * 1e6) + 200_000, PACKET_US):
        if packets:
            now = [e for e in edges if until - PACKET_US <= e[0] < until]
            tr = TriggerEdges(np.array([t for t, _ in now], np.int64), np.array([r for _, r in now], np.bool_))
            monitor.add_packet(EventPacket(Events.empty(16, 16), tr, until, from_ns + until * 1000 + 300_000))
        while frames and todo and todo[0][0] <= until:
            arrival, k, start, end = todo.pop(0)
            offset = 7_000_000_000 if device else 0
            kind = FrameClock.DEVICE if device else FrameClock.EVENT
            monitor.add_frame(
                Frame(
                    np.zeros((4, 4), np.uint8), PixelLayout.GRAY, k, start * 1000 + offset, end * 1000 + offset,
                    kind, from_ns + arrival * 1000,
                )
            )  # fmt: skip
    return monitor.report(from_ns + int(seconds * 1e9) + 200_000_000)


def test_a_right_wire() -> None:
    r = run(straight)
    assert r.finding is Finding.GOOD, r.words
    assert r.good
    assert r.matched is not None
    assert r.matched > 0.95
    for hz in (r.rising_hz, r.falling_hz, r.frames_hz):
        assert hz == pytest.approx(RATE_HZ, rel=0.07)


def test_a_signal_that_lasts_until_the_last_row_is_closed() -> None:
    def late(k: int, start_us: int, end_us: int) -> list[tuple[int, bool]]:
        return [(start_us, True), (end_us + 15_000, False)]

    r = run(late)
    assert r.finding is Finding.LONGER
    assert "lasts 15.0 ms longer than an exposure" in r.words
    assert "longer_us = 15000" in r.words
    assert run(late, clock=Clock(longer_us=15_000.0)).good
    # The whole of it is named, whatever the file says already.
    for stated in (9_000.0, 21_000.0):
        r = run(late, clock=Clock(longer_us=stated))
        assert r.finding is Finding.LONGER
        assert "longer_us = 15000" in r.words
    r = run(straight, clock=Clock(longer_us=15_000.0))
    assert r.finding is Finding.LONGER
    assert "longer_us = 0" in r.words
    # A signal of another length each time is none of that.
    rng = np.random.default_rng(1)
    assert run(lambda k, s, e: [(s, True), (s + int(rng.integers(2_000, 40_000)), False)]).finding is not (
        Finding.LONGER
    )


@pytest.mark.parametrize("rate_hz", [0.8, 1.0, 1.6])
def test_a_slow_camera_is_waited_for(rate_hz: float) -> None:
    """Of which fewer than the frames that are needed come within the usual time."""
    r = run(straight, rate_hz=rate_hz, seconds=12 / rate_hz)
    assert r.finding is Finding.GOOD, r.words
    assert r.frames_hz == pytest.approx(rate_hz, rel=0.25)
    r = run(lambda k, a, b: [], rate_hz=rate_hz, seconds=12 / rate_hz)
    assert r.finding is Finding.NO_EDGES


def test_no_wire() -> None:
    r = run(lambda k, a, b: [])
    assert r.finding is Finding.NO_EDGES
    assert "wire is missing" in r.words
    assert not r.good
    assert r.rising_hz == 0


def test_nothing_is_known_of_the_wire_before_the_first_packet() -> None:
    monitor = TriggerMonitor()
    monitor.lost()
    empty = TriggerEdges.empty()
    for k in range(8):
        start = 10**12 + k * 50_000_000
        gray = np.zeros((4, 4), np.uint8)
        monitor.add_frame(
            Frame(gray, PixelLayout.GRAY, k, start, start + 10_000_000, FrameClock.DEVICE, start + 20_000_000)
        )
    monitor.add_packet(EventPacket(Events.empty(16, 16), empty, 5 * 10**9, 10**12 + 400_000_000))
    assert monitor.report(10**12 + 400_000_000).finding is not Finding.NO_EDGES


def test_wrong_polarity_and_its_remedy() -> None:
    def inverted(k: int, a: int, b: int) -> list[tuple[int, bool]]:
        return [(a, False), (b, True)]

    r = run(inverted)
    assert r.finding is Finding.POLARITY
    assert "active_high = false" in r.words
    assert run(inverted, clock=Clock(active_high=False)).finding is Finding.GOOD
    r = run(straight, clock=Clock(active_high=False))
    assert r.finding is Finding.POLARITY
    assert "active_high = true" in r.words


def test_both_edges_as_one_kind() -> None:
    r = run(lambda k, a, b: [(a, True), (b, True)])
    assert r.finding is Finding.BOTH_EDGES
    assert "rising" in r.words


def test_rising_edges_only() -> None:
    r = run(lambda k, a, b: [(a, True)])
    assert r.finding is Finding.ONE_EDGE, r.words
    assert not r.good
    assert "tell falling edges too" in r.words


@pytest.mark.parametrize(
    ("wire", "why"),
    [
        (lambda k, a, b: straight(k, a, b) if k % 2 else [], "loose"),
        (lambda k, a, b: [*straight(k, a, b), *straight(k, b + 9_000, b + 14_000)], "another signal"),
        (
            lambda k, a, b: [(a + i * 9_000 + d, d == 0) for i in range(5) for d in (0, 4_000)],
            "another signal",
        ),
    ],
)
def test_wrong_rate(wire: Wire, why: str) -> None:
    r = run(wire)
    assert r.finding is Finding.RATE, r.words
    assert why in r.words
    assert "20.0 frames" in r.words or "19." in r.words


def test_one_camera_only() -> None:
    r = run(straight, frames=False)
    assert r.finding is Finding.NO_FRAMES
    assert "40 edges" in r.words or "39 edges" in r.words
    assert run(straight, packets=False).finding is Finding.WAITING
    assert run(lambda k, a, b: [], frames=False).finding is Finding.NO_FRAMES


def test_one_sensor_needs_no_wire() -> None:
    r = run(lambda k, a, b: [], device=False)
    assert r.finding is Finding.ONE_CLOCK
    assert r.good


def test_too_early_to_tell() -> None:
    assert TriggerMonitor().report(1).finding is Finding.WAITING
    assert run(straight, seconds=0.4).finding is Finding.WAITING


def test_edges_at_the_right_rate_that_are_not_these_frames() -> None:
    rng = np.random.default_rng(1)

    def other(k: int, a: int, b: int) -> list[tuple[int, bool]]:
        # Some other machine's pulses: as many, but of another length each time and anywhere.
        start = a + int(rng.integers(0, 20_000))
        return [(start, True), (start + int(rng.integers(2_000, 25_000)), False)]

    r = run(other)
    assert r.finding is Finding.UNMATCHED, r.words
    assert not r.good


def test_a_periodic_pattern_is_a_right_wire_though_matching_is_open() -> None:
    # Frames that come later than the period says nothing about whose edges are whose.
    slow = Clock(host_latency_ms=200.0, host_latency_spread_ms=200.0)
    r = run(straight, clock=slow, jitter=0, first=3)
    assert r.finding is Finding.OPEN, r.words
    assert "wire is right" in r.words
    assert "constant rate" in r.words


def test_edges_lost_on_the_way_here_are_not_blamed_on_the_wire() -> None:
    monitor = TriggerMonitor()
    none = TriggerEdges.empty()
    for until in range(0, 2_000_000, PACKET_US):
        monitor.add_packet(EventPacket(Events.empty(16, 16), none, until, 10**12 + until * 1000))
    monitor.lost()
    r = monitor.report(10**12 + 2 * 10**9)
    assert r.finding is Finding.WAITING
    assert "too busy" in r.words
    assert r.matched is None


def test_an_event_camera_that_is_gone_says_nothing_of_the_wire() -> None:
    monitor = TriggerMonitor()
    for k in range(60):
        start, host = 100_000 + k * PERIOD_US, 10**12 + (150_000 + k * PERIOD_US) * 1000
        if k < 40:
            tr = TriggerEdges(np.array([start, start + 12_000], np.int64), np.array([True, False]))
            monitor.add_packet(EventPacket(Events.empty(16, 16), tr, start + 40_000, host))
        image = np.zeros((4, 4), np.uint8)
        stamps = (7 * 10**9 + start * 1000, 7 * 10**9 + (start + 12_000) * 1000)
        monitor.add_frame(Frame(image, PixelLayout.GRAY, k, *stamps, FrameClock.DEVICE, host))
        r = monitor.report(host)
        if k == 39:
            assert r.rising_hz == pytest.approx(RATE_HZ, rel=0.1)
        assert r.finding is not Finding.NO_EVENTS  # silent for a second only
    r = monitor.report(host + 1_000_000_000)
    assert (r.finding, r.rising_hz, r.matched) == (Finding.NO_EVENTS, 0, None)
    assert r.frames_hz > 0
    assert "event camera" in r.words


def test_frames_that_stop_are_told() -> None:
    monitor = TriggerMonitor()
    for k in range(40):
        ns = 10**12 + k * 50_000_000
        picture = np.zeros((4, 4), np.uint8)
        monitor.add_frame(Frame(picture, PixelLayout.GRAY, k, ns, ns + 1_000, FrameClock.DEVICE, ns))
    last = 10**12 + 39 * 50_000_000
    assert monitor.report(last).frames_hz == pytest.approx(20.0, rel=0.01)
    assert monitor.report(last + 1_500_000_000).frames_hz < 15
    assert monitor.report(last + 4_000_000_000).frames_hz == 0


@pytest.mark.parametrize("noise_us", [140.0, 250.0])
def test_edges_that_scatter_too_much_are_called_that(noise_us: float) -> None:
    rng = np.random.default_rng(5)

    def noisy(k: int, start_us: int, end_us: int) -> list[tuple[int, bool]]:
        late, later = rng.normal(0, noise_us, 2)
        return [(start_us + round(late), True), (end_us + round(later), False)]

    report = run(noisy, seconds=6.0)
    assert report.finding is Finding.UNMATCHED
    assert "edges scatter by" in report.words
    said = float(report.words.split("edges scatter by ")[1].split()[0])
    assert said == pytest.approx(noise_us, rel=0.35)
    assert "noise on the wire" in report.words


def test_edges_that_lack_are_not_said_to_scatter() -> None:
    report = run(lambda k, a, b: straight(k, a, b)[: 1 + (k % 2)], seconds=6.0)
    assert "scatter" not in report.words
