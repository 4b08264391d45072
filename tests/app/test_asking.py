"""What a session asks of its workers, on a supervisor that only notes it."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any, cast

import pytest

from app.asking import Asking
from app.session import WorkerStatus
from app.supervisor import Supervisor, WorkerGoneError
from capture.camera import CameraState
from capture.errors import CameraError


class Noted:
    def __init__(self) -> None:
        self.state = CameraState.STARTING
        self.asked: list[tuple[str, str, dict[str, Any], str]] = []
        self.replies: list[Future[dict[str, Any]]] = []

    def statuses(self) -> list[WorkerStatus]:
        return [WorkerStatus("restore", self.state)]

    def command(
        self, worker: str, verb: str, arguments: dict[str, Any], *, target: str = ""
    ) -> Future[dict[str, Any]]:
        if worker == "nobody":
            raise CameraError("no worker is called 'nobody'\nat all")
        self.asked.append((worker, verb, arguments, target))
        self.replies.append(Future())
        return self.replies[-1]


@pytest.fixture
def noted() -> Noted:
    return Noted()


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def asking(said: list[str]) -> Asking:
    return Asking(said.append)


def of(noted: Noted) -> Supervisor:
    return cast(Supervisor, noted)


def test_it_waits_in_order_until_all_run_for_the_first_time(asking: Asking, noted: Noted) -> None:
    asking.ask(None, "restore", "hold", {"ordinal": 3})
    asking.ask(of(noted), "events", "set", {"bias": 1}, "events")
    assert asking.waits
    assert not noted.asked
    noted.state = CameraState.RUNNING
    asking.send_early(of(noted))
    assert noted.asked == [
        ("restore", "hold", {"ordinal": 3}, ""), ("events", "set", {"bias": 1}, "events"),
    ]  # fmt: skip
    noted.state = CameraState.FAULTED  # one that has gone holds up no other
    asking.ask(of(noted), "restore", "hold", {"ordinal": None})
    assert not asking.waits
    assert len(noted.asked) == 3


def test_a_camera_that_is_not_there_keeps_no_other_from_being_asked(
    asking: Asking, noted: Noted, monkeypatch: pytest.MonkeyPatch
) -> None:
    states = [WorkerStatus("events", CameraState.FAULTED), WorkerStatus("restore", CameraState.RUNNING)]
    monkeypatch.setattr(noted, "statuses", lambda: states)
    asking.ask(of(noted), "events", "set", {"bias": 1}, "events")
    asking.ask(of(noted), "restore", "network", {"name": "none"})
    assert [a[:2] for a in noted.asked] == [("restore", "network")]
    states[0] = WorkerStatus("events", CameraState.RUNNING)
    asking.send_early(of(noted))
    assert [a[:2] for a in noted.asked] == [("restore", "network"), ("events", "set")]
    assert not asking.waits


def test_a_restarted_worker_is_told_once_again_what_is_kept(asking: Asking, noted: Noted) -> None:
    noted.state = CameraState.RUNNING
    asking.keep("restore", "latents", {"latents": [0.5]})
    asking.keep("restore", "latents", {"latents": [0.2]})
    asking.keep("replay", "loop", {"on": True})
    asking.ask(of(noted), "restore", "network", {"name": "edi"})
    noted.asked.clear()
    for incarnation in (1, 1, 0):
        asking.renew(of(noted), "restore", incarnation)
    assert noted.asked == [("restore", "latents", {"latents": [0.2]}, "")]
    asking.renew(of(noted), "restore", 2)
    assert len(noted.asked) == 2
    asking.renew(of(noted), "replay", 1)
    assert noted.asked[2:] == [("replay", "loop", {"on": True}, "")], "each worker's restarts are its own"


def test_what_fails_is_said_in_a_line(asking: Asking, noted: Noted, said: list[str]) -> None:
    noted.state = CameraState.RUNNING
    asking.ask(of(noted), "nobody", "hold", {})
    assert len(said) == 1
    assert "nobody" in said[0]
    assert "\n" not in said[0]
    said.clear()
    for verb in ("pause", "step", "seek"):
        asking.ask(of(noted), "replay", verb, {})
    asking.settle()
    assert said == [], "nothing has been answered"
    noted.replies[0].set_result({})
    noted.replies[2].set_exception(CameraError("that is behind the end"))
    asking.settle()
    asking.settle()
    assert said == ["seek: that is behind the end"], "once"


def test_a_worker_that_is_gone_is_told_in_plain_words(asking: Asking, noted: Noted, said: list[str]) -> None:
    noted.state = CameraState.RUNNING
    gone = WorkerGoneError("worker 'restore' does not run; 'hold' was not done")
    asking.ask(of(noted), "restore", "hold", {"ordinal": None})
    noted.replies[-1].set_exception(gone)
    asking.settle()
    assert said == [], "nothing is held by a worker that has gone"
    asking.ask(of(noted), "restore", "hold", {"ordinal": 7})
    noted.replies[-1].set_exception(gone)
    asking.settle()
    assert said == ["restore does not run: the frame is not held"]


def test_a_worker_is_told_again_when_another_process_runs_it(asking: Asking, noted: Noted) -> None:
    noted.state = CameraState.RUNNING
    asking.keep("replay", "speed", {"factor": 0.25})
    asking.keep("replay", "pause", {})
    asking.keep("replay", "play", {})
    asking.forget("replay", "pause")
    asking.forget("replay", "step")  # which was never kept
    asking.ask(of(noted), "replay", "speed", {"factor": 0.25})
    noted.asked.clear()
    for process in (700, None, 700):
        asking.meet(of(noted), "replay", process)
    assert noted.asked == []
    asking.meet(of(noted), "replay", 650)  # numbers of processes need not grow
    assert [a[:2] for a in noted.asked] == [("replay", "speed"), ("replay", "play")]
