"""A network's call that never comes back: told after seconds, given up after minutes, not while it prepares."""

from __future__ import annotations

import pytest

from inference.outcomes import Result
from inference.restorers.passthrough import PassThrough
from inference.stalled import JobWatch, StalledError
from tests.inference.stage.toys import Make, Slow, feed, until


class Watched:
    """A watch whose caller looks every tenth of a second."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.jobs = JobWatch(clock=lambda: self.now)

    def works(self, seconds: float, pictures: int = 1, *, preparing: bool = False) -> list[float]:
        """A job of so many seconds; what each look told."""
        self.jobs.begin(pictures)
        told = self.looks(seconds, preparing=preparing)
        self.jobs.end(restored=True)
        return told

    def looks(self, seconds: float, *, preparing: bool = False) -> list[float]:
        told = []
        for _ in range(round(10 * seconds)):
            told.append(self.jobs.look(preparing=preparing))
            self.now += 0.1
        return told


def test_a_first_job_of_many_pictures_has_more_time() -> None:
    w = Watched()
    w.jobs.begin(100)
    assert w.looks(900)
    w.jobs.begin(2)
    with pytest.raises(StalledError):
        w.looks(700)


def test_it_is_told_after_seconds_and_given_up_after_minutes() -> None:
    w = Watched()
    for _ in range(3):
        assert set(w.works(0.2)) == {0.0}
    w.jobs.begin(1)
    told = w.looks(20)
    assert (told[45], told[55]) == (0.0, pytest.approx(5.5))
    w.looks(100)
    with pytest.raises(StalledError, match="has not come back from one exposure for 124 s"):
        w.looks(10)


def test_nothing_to_do_is_no_stall() -> None:
    w = Watched()
    w.works(0.2)
    assert set(w.looks(3000)) == {0.0}


def test_a_slow_network_has_its_own_measure() -> None:
    w = Watched()
    w.works(30.0)
    assert set(w.works(80.0)) == {0.0}, "up to three times as long is usual"
    w = Watched()
    w.works(10.0)
    assert max(w.works(300.0)) == pytest.approx(300, abs=0.2)


def test_a_request_for_many_instants_may_take_as_many_times_longer() -> None:
    w = Watched()
    w.works(1.0)
    assert set(w.works(150.0, pictures=100)) == {0.0}


@pytest.mark.parametrize("known", [False, True])
def test_preparing_and_a_first_job_have_minutes(known: bool) -> None:
    w = Watched()
    if known:
        w.works(0.1)
        w.works(590, preparing=True)
        w.jobs.forget()  # another network
    w.works(590)
    w.jobs.begin(1)
    assert w.looks(20)


def test_a_process_that_was_held_up_gives_nothing_up() -> None:
    w = Watched()
    w.works(0.1)
    w.jobs.begin(1)
    w.looks(1)
    w.now += 3600.0  # it was stopped with its network
    assert set(w.looks(1)) == {0.0}


def test_a_stage_says_who_stalls_and_ends_with_it(
    make: Make, slow: type[Slow], results: list[Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    slow.gate.set()
    stage = make("slow", every_item=True, jobs=JobWatch(slow_s=0.05, stalled_s=0.6, first_s=0.6))
    feed(stage, [0])
    until(lambda: len(results) == 1, "a picture")
    slow.gate.clear()
    feed(stage, [1])

    def told() -> bool:
        stage.tick(None)
        return bool(stage.status()["message"] == "slow has been at one exposure for 0 s")

    until(told, "it is told")

    def ended() -> bool:
        try:
            stage.tick(None)
        except StalledError as e:
            return str(e).startswith("slow has not come back from one exposure for")
        return False

    until(ended, "the end")


def test_a_stage_that_prepares_for_a_new_size_is_left_alone(
    make: Make, slow: type[Slow], results: list[Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    slow.gate.set()
    stage = make("slow", every_item=True, jobs=JobWatch(slow_s=0.05, stalled_s=0.1, first_s=60.0))
    feed(stage, [0])
    until(lambda: len(results) == 1, "a picture")
    stage._switch.engine._prepared = None
    monkeypatch.setattr(Slow, "prepare", lambda self, w, h: slow.gate.wait(20))
    monkeypatch.setattr(Slow, "restore", PassThrough.restore)
    slow.gate.clear()
    feed(stage, [1])
    until(lambda: stage._switch.engine.preparing, "it prepares")
    for _ in range(100):
        stage.tick(None)
        assert stage.status()["message"] == ""
        slow.gate.wait(0.005)
    slow.gate.set()
    until(lambda: len(results) == 2, "the picture")
