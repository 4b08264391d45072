from __future__ import annotations

import pytest

from training.recipe import ScheduleEntry
from training.schedule import Length, factor


def test_the_run_ends_by_whichever_comes_first() -> None:
    both = Length(100, 60.0)
    assert both.progress(50, 6.0) == 0.5
    assert both.progress(5, 30.0) == 0.5
    assert both.progress(5, 61.0) == 1.0
    assert Length(None, 60.0).progress(10**6, 15.0) == 0.25
    assert Length(10, None).progress(5, 10**6) == 0.5


def test_cosine_goes_from_one_to_final() -> None:
    schedule = ScheduleEntry(final=0.1)
    assert factor(schedule, 0.0, 0) == 1.0
    assert factor(schedule, 0.5, 0) == pytest.approx(0.55)
    assert factor(schedule, 1.0, 0) == pytest.approx(0.1)
    assert factor(ScheduleEntry(), 1.0, 0) == pytest.approx(0.0, abs=1e-12)


def test_warm_up_rises_to_one() -> None:
    schedule = ScheduleEntry(name="constant", warmup_steps=4)
    assert [factor(schedule, 0.0, step) for step in range(6)] == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]


def test_swing_goes_down_and_up_in_steps_whatever_the_length() -> None:
    schedule = ScheduleEntry(name="swing", period=4)
    found = [factor(schedule, 0.9, step) for step in (0, 2, 4, 6, 8)]
    assert found == pytest.approx([1, 0.5, 0, 0.5, 1])


def test_steps() -> None:
    schedule = ScheduleEntry(name="steps", milestones=(0.5, 0.75), gamma=0.5)
    assert [factor(schedule, p, 0) for p in (0.0, 0.49, 0.5, 0.74, 0.75, 1.0)] == [1, 1, 0.5, 0.5, 0.25, 0.25]
