"""Clock relations against clocks whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sync.clock import ClockFit, HostClock


def pairs(
    n: int, *, offset_us: float, ppm: float, jitter: float = 5.0, seed: int = 0, period: float = 16_667.0
) -> list[tuple[int, int]]:
    rng = np.random.default_rng(seed)
    event = 1e6 + period * np.arange(n)
    device = (offset_us + event * (1 - ppm * 1e-6)) * 1e3
    return [(int(d), round(e)) for d, e in zip(device, event + rng.normal(0, jitter, n), strict=True)]


@settings(max_examples=25, deadline=None)
@given(
    offset=st.sampled_from([0.0, -5e4, 3e6, 1.7e15]), ppm=st.floats(-200, 200), seed=st.integers(0, 1000),
    n=st.integers(30, 400),
)  # fmt: skip
def test_offset_and_drift_are_found(offset: float, ppm: float, seed: int, n: int) -> None:
    fit = ClockFit()
    given_pairs = pairs(n, offset_us=offset, ppm=ppm, seed=seed)
    for d, e in given_pairs:
        assert fit.add(d, e)
    span_s = min(n, 256) * 0.016667
    assert abs(fit.drift_ppm - ppm) < 5.0 + 60.0 / span_s**1.5
    middle = given_pairs[-min(n, 256) // 2][0]
    truth = (middle / 1e3 - offset) / (1 - ppm * 1e-6)
    assert abs(fit.event_us(middle) - truth) < 5.0
    assert abs(fit.device_ns(fit.event_us(middle)) - middle) < 5_000
    assert 2.0 < fit.residual_us < 9.0
    assert fit.resets == {}


def test_memory_is_bounded() -> None:
    fit = ClockFit(max_pairs=50, max_span_s=2.0)
    for d, e in pairs(300, offset_us=0, ppm=20):
        fit.add(d, e)
    assert len(fit) == 50
    for d, e in pairs(20, offset_us=0, ppm=20, period=500_000.0):
        fit.add(d + 10**10, e + 10**7)
    assert len(fit) <= 6


def test_single_outliers_do_not_move_it() -> None:
    fit, clean = ClockFit(), ClockFit()
    for k, (d, e) in enumerate(pairs(120, offset_us=5e4, ppm=80)):
        clean.add(d, e)
        if k % 17 == 16:
            assert not fit.add(d, e + (-1) ** k * 5_000)
        else:
            fit.add(d, e)
    at = pairs(120, offset_us=5e4, ppm=80)[-1][0]
    assert abs(fit.event_us(at) - clean.event_us(at)) < 4.0
    assert fit.resets == {}


def test_many_small_outliers_do_not_tilt_it() -> None:
    fit = ClockFit()
    ps = pairs(200, offset_us=0, ppm=40)
    for k, (d, e) in enumerate(ps):
        fit.add(d, e + (120 if k >= 150 and k % 3 == 0 else 0))  # a third of the last fifty, late by a bounce
    truth = ps[-1][0] / 1e3 / (1 - 40e-6)
    assert abs(fit.event_us(ps[-1][0]) - truth) < 6.0


def test_a_jump_resets_by_name() -> None:
    fit = ClockFit()
    ps = pairs(60, offset_us=0, ppm=50)
    for d, e in ps:
        fit.add(d, e)
    later = [(d + 7_000_000 + 10**9, e + 10**6) for d, e in ps[:20]]  # 7 ms off
    taken = [fit.add(d, e) for d, e in later]
    assert taken[:3] == [False, False, False]
    assert all(taken[3:])
    assert fit.resets == {"device clock jumped": 1}
    assert abs(fit.event_us(later[-1][0]) - later[-1][1]) < 25


def test_time_that_runs_back_resets_by_name() -> None:
    fit = ClockFit()
    for d, e in pairs(60, offset_us=4e6, ppm=0):
        fit.add(d, e)
    fit.add(1_000, 5_000_000)  # a counter of 32 bits has wrapped
    assert fit.resets == {"device clock ran back": 1}
    assert len(fit) == 1


def test_uncertainty_grows_away_from_the_pairs() -> None:
    fit = ClockFit()
    ps = pairs(100, offset_us=0, ppm=30)
    for d, e in ps:
        fit.add(d, e)
    inside, soon, late = (fit.uncertainty_us(ps[-1][0] + x) for x in (-(10**9) // 2, 10**9, 10**11))
    assert inside < soon < late
    assert inside < 5
    with pytest.raises(ValueError, match="no pairs"):
        ClockFit().event_us(0)


def test_uncertainty_covers_the_error() -> None:
    covered = 0
    for seed in range(100):
        fit = ClockFit()
        ps = pairs(40, offset_us=0, ppm=90, seed=seed)
        for d, e in ps:
            fit.add(d, e)
        at = ps[-1][0] + 200_000_000
        truth = at / 1e3 / (1 - 90e-6)
        covered += abs(fit.event_us(at) - truth) <= fit.uncertainty_us(at)
    assert covered >= 90


def arrivals(n: int, *, ppm: float = 0.0, seed: int = 0, rate_us: int = 2_000) -> list[tuple[int, int]]:
    rng = np.random.default_rng(seed)
    source = rate_us * np.arange(1, n + 1)
    late = 300_000 + rng.exponential(800_000, n)
    host = 10**12 + source * 1000 * (1 + ppm * 1e-6) + late
    return [(int(s), int(h)) for s, h in zip(source, host, strict=True)]


@pytest.mark.parametrize("ppm", [0.0, 80.0, -150.0])
def test_host_clock_follows_the_least_late(ppm: float) -> None:
    clock = HostClock()
    given_arrivals = arrivals(15_000, ppm=ppm)
    for s, h in given_arrivals:
        clock.add(s, h)
    for s in (10_000_000, 29_000_000):
        truth = 10**12 + s * 1000 * (1 + ppm * 1e-6) + 300_000
        assert abs(clock.host_ns_of(s) - truth) < 150_000
        assert abs(clock.source_us_of(clock.host_ns_of(s)) - s) <= 1
    assert 500 < clock.uncertainty_us < 5_000
    assert clock.steady
    assert clock.resets == {}


def test_unknown_host_times_are_ignored() -> None:
    clock = HostClock()
    clock.add(1_000, 0)
    assert not clock.ready
    with pytest.raises(ValueError, match="no arrivals"):
        clock.host_ns_of(0)


def test_a_pause_of_the_source_moves_the_envelope_after_a_while() -> None:
    clock = HostClock()
    for s, h in arrivals(2_000):
        clock.add(s, h)
    for s, h in arrivals(2_000):
        clock.add(s + 4_000_000, h + 4 * 10**9 + 7 * 10**9)  # paused for 7 s
    assert clock.resets == {"host time ran on": 1}
    truth = 10**12 + 7 * 10**9 + 7_000_000 * 1000 + 300_000
    assert abs(clock.host_ns_of(7_000_000) - truth) < 300_000


def test_a_short_stall_does_not_move_it() -> None:
    clock = HostClock()
    for s, h in arrivals(3_000):
        stalled = 2_000_000 < s < 2_600_000
        clock.add(s, max(h, 10**12 + 2_900_000_000) if stalled else h)
    assert clock.resets == {}


def test_jumps_back_and_ahead_reset_by_name() -> None:
    clock = HostClock()
    for s, h in arrivals(500):
        clock.add(s + 10_000_000, h)
    clock.add(1_000, 10**12 + 2 * 10**9)
    assert clock.resets == {"time ran back": 1}
    for s, h in arrivals(500):
        clock.add(s, h + 10**10)
    clock.add(60_000_000, 10**12 + 13 * 10**9)
    assert clock.resets["time jumped ahead"] == 1


@pytest.mark.parametrize(
    ("speed", "steady"), [(1.0, True), (2.0, False), (8.0, False), (0.5, False), (0.1, False)]
)
def test_replay_at_another_speed_is_noticed(speed: float, steady: bool) -> None:
    clock = HostClock()
    assert clock.steady is None
    for s, h in arrivals(100):
        clock.add(s, 10**12 + round((h - 10**12) / speed))
    assert clock.steady is steady
