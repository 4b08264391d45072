"""The policy of restarts, driven by made-up times: no process is started."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from app import supervised as module
from app.supervised import Supervised, WorkerPlan
from app.supervisor import Supervisor
from capture import messages
from capture.camera import CameraState
from capture.messages import Status


class Stillborn:
    """A process that is dead, or lives until it is killed."""

    started = 0

    def __init__(self, exitcode: int | None) -> None:
        self.exitcode, self.pid = exitcode, 4711

    def start(self) -> None:
        Stillborn.started += 1

    def kill(self) -> None:
        self.exitcode = -9

    terminate = kill

    def join(self) -> None:
        pass

    close = join


class Made:
    """A supervised worker, its processes of this exit status, and a clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, exitcode: int | None, **plan: Any) -> None:
        Stillborn.started = 0
        context = SimpleNamespace(Process=lambda **_: Stillborn(exitcode))
        monkeypatch.setattr(module.multiprocessing, "get_context", lambda _: context)
        self.now = 1000.0
        self.w = Supervised(WorkerPlan("toy", target=lambda *_: None, **plan), "ipc://nowhere")
        self.w.start(self.now)
        self.w.tick(self.now)

    def tick_until(self, seconds: float, step: float = 0.01) -> None:
        """Tick for so long."""
        end = self.now + seconds
        while self.now < end:
            self.now += step
            self.w.tick(self.now)

    def started_again_after(self) -> float:
        """Seconds from the moment at which its end is settled to the next start."""
        before = Stillborn.started
        while self.w.process is not None:
            self.tick_until(0.01)
        ended = self.now
        while Stillborn.started == before:
            assert self.now < ended + 10, "not started again"
            self.tick_until(0.01)
        return self.now - ended


def test_each_pause_before_a_restart_is_twice_as_long_up_to_two_seconds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = Made(monkeypatch, -11, budget=7)
    pauses = [made.started_again_after() for _ in range(7)]
    assert pauses == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0], abs=0.03)
    assert made.w.restarts == 7


def test_it_is_given_up_when_the_budget_is_spent_within_the_window(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Made(monkeypatch, -11, budget=3, window_s=60.0)
    made.tick_until(30.0)
    s = made.w.status()
    assert (s.state, s.restarts, Stillborn.started) == (CameraState.FAULTED, 3, 4)
    assert "killed by SIGSEGV; given up after 3 restarts in 60 s" in s.detail
    made.tick_until(120.0, 1.0)
    assert Stillborn.started == 4, "the window's end does not bring back who was given up"
    made.w.start(made.now)  # a person does, with a fresh budget
    made.tick_until(30.0)
    assert Stillborn.started == 8


def test_failures_that_lie_far_apart_are_never_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five crashes in a week are no reason to give up, nor to wait longer."""
    made = Made(monkeypatch, None, budget=5, window_s=60.0)
    for n in range(1, 12):
        made.tick_until(0.3)
        assert made.w.process is not None
        made.w.process.kill()
        assert made.started_again_after() == pytest.approx(0.1, abs=0.03)
        assert made.w.restarts == n
        for _ in range(70):  # it lives, and says so
            made.tick_until(1.0, 0.5)
            made.w.heard(Status(state=CameraState.RUNNING), made.now)


def test_who_is_killed_from_outside_again_and_again_says_what_may_help(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system ends who takes too much memory; minutes lie between, so the budget is never spent."""
    made = Made(monkeypatch, None, killed_hint="is the machine out of memory?")
    said = []
    for _ in range(4):
        made.tick_until(0.3)
        assert made.w.process is not None
        made.w.heard(Status(state=CameraState.RUNNING), made.now)
        made.w.process.kill()
        made.started_again_after()
        said.append(made.w.status().detail)
        made.now += 20.0
        made.w.heard(Status(state=CameraState.RUNNING), made.now)
    plain = "started again after: killed by SIGKILL"
    assert said[:2] == [plain, plain]
    assert said[2:] == [f"{plain}, {n} times now: is the machine out of memory?" for n in (3, 4)]


def test_who_says_nothing_is_killed_and_who_starts_has_more_time(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Made(monkeypatch, None, heartbeat_s=5.0, starting_s=20.0)
    made.tick_until(19.0)
    assert Stillborn.started == 1
    made.w.heard(Status(state=CameraState.RUNNING), made.now)
    made.tick_until(4.9)
    assert made.w.status().state is CameraState.RUNNING
    made.w.excuse(made.now)  # the supervisor itself was held up
    made.tick_until(4.9)
    assert made.w.status().state is CameraState.RUNNING
    made.tick_until(0.3)
    assert made.w.last_error == "no sign of life for 5 s; killed"
    assert made.w.restarts == 1


def test_the_common_epoch_lies_so_far_ahead_that_every_worker_hears_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 7_000_000_000
    monkeypatch.setattr("app.supervisor.time.monotonic_ns", lambda: now)
    with Supervisor(epoch_lead_s=0.25) as s:
        s.add(WorkerPlan("toy", target=lambda *_: None, joins_epoch=True))
        w = s._worker("toy")
        s._settle_epoch()
        assert s.epoch_ns is None, "nobody is ready"
        w.report = Status(state=CameraState.STARTING, ready=True)
        monkeypatch.setattr(w, "process", Stillborn(None))
        told: list[object] = []
        monkeypatch.setattr(s, "_send", lambda _, data: told.append(messages.to_worker(data)))
        s._settle_epoch()
        assert s.epoch_ns == now + 250_000_000
        assert told == [messages.Start(epoch_ns=s.epoch_ns)]
        w.process = None
