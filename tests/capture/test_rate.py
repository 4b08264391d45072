"""Rates of what is frequent, seldom, and over."""

from __future__ import annotations

import pytest

from capture.rate import Rate, per_second


def test_what_comes_every_three_seconds_has_a_rate_at_any_moment() -> None:
    r = Rate(2.0)
    r.tick(0.0)
    assert r.hz(1.0) == 0.0, "one has no rate"
    for k in range(1, 6):
        r.tick(3.0 * k)
        for since in (0.0, 1.0, 1.999, 2.001, 2.999):
            assert r.hz(3.0 * k + since) == pytest.approx(1 / 3)
    assert r.hz(15.0 + 5.0) == pytest.approx(1 / 5), "it is late"
    assert r.hz(15.0 + 6.01) == 0.0, "nothing comes any more"


@pytest.mark.parametrize("hz", [0.4, 0.6, 0.9, 1.5, 25.0])
def test_no_rate_jumps_between_two_of_them(hz: float) -> None:
    r = Rate(2.0)
    for k in range(60):
        r.tick(k / hz)
    for share in (0.0, 0.3, 0.6, 0.99):
        assert r.hz((59 + share) / hz) == pytest.approx(hz)


def test_several_at_once_count_each_and_a_fast_one_that_stops_is_soon_0() -> None:
    r = Rate(1.0)
    for k in range(11):
        r.tick(0.2 * k, 5)
    assert r.hz(2.0) == pytest.approx(25.0)
    assert r.hz(3.01) == 0.0


def test_figures_of_slow_cameras_are_none_of_0() -> None:
    assert [per_second(v) for v in (0.0, 1 / 3, 0.05, 0.999, 1.0, 24.96)] == [
        "0.0", "0.33", "0.05", "1.0", "1.0", "25.0",
    ]  # fmt: skip
