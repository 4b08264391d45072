"""The policy of one worker, without a process: how long it has to stop, when it is given up."""

from __future__ import annotations

from typing import Any

import pytest

from app.supervised import Supervised, WorkerPlan
from capture.camera import CameraState
from capture.messages import Status


def test_a_worker_that_never_runs_is_given_up_however_long_each_try_takes() -> None:
    w = Supervised(WorkerPlan("restore", lambda link, payload: None), "ipc:///nowhere")
    w.wanted = True
    for n in range(6):
        assert w.wanted
        assert w.restarts == n
        w._killed_for = "no sign of life for 120 s; killed"
        w._failed(-9, None, 121.0 * n)
    assert not w.wanted
    assert w.detail == "no sign of life for 120 s; killed; given up after 5 restarts, all in vain"


def test_a_worker_that_runs_in_between_is_started_again_for_ever() -> None:
    w = Supervised(WorkerPlan("events", lambda link, payload: None), "ipc:///nowhere")
    w.wanted = True
    for n in range(20):
        w.heard(Status(state=CameraState.RUNNING), 121.0 * n)
        w._failed(-9, None, 121.0 * n + 100)
    assert w.wanted
    w._failed(-9, None, 121.0 * 20)
    assert w.wanted


class Process:
    """Listens to nothing."""

    exitcode: int | None = None
    pid = 1

    def __init__(self) -> None:
        self.told: list[str] = []

    def terminate(self) -> None:
        self.told.append("terminate")

    def kill(self) -> None:
        self.told.append("kill")


def running() -> tuple[Supervised, Process]:
    w, process = Supervised(WorkerPlan("toy", lambda link, payload: None), "ipc:///nowhere"), Process()
    w.process, w.wanted = process, True  # type: ignore[assignment]
    w.heard(Status(state=CameraState.RUNNING), 0.0)
    return w, process


@pytest.mark.parametrize(("given_s", "killed_s"), [(2.0, 1.6), (60.0, 59.6)])
def test_a_worker_has_the_time_it_is_given_to_stop(given_s: float, killed_s: float) -> None:
    w, process = running()
    asked: list[Any] = []
    w.stop(0.0, given_s, asked.append)
    w.tick(0.0)
    w.tick(given_s / 2)
    assert (asked, process.told) == ([killed_s], [])  # it knows by when it has to be done
    w.tick(killed_s - 0.01)
    assert process.told == ["terminate"]
    w.tick(killed_s)
    assert process.told == ["terminate", "kill"]
