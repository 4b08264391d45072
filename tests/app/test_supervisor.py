"""The supervisor with real processes: start, death, hang, budget, commands, stop.."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import zmq

from app.session import WorkerStatus
from app.signals import shielded
from app.supervised import NO_GUARD, NO_GUARD_STATUS
from app.supervisor import Supervisor, WorkerPlan
from capture import messages, notices
from capture.camera import CameraState
from capture.errors import CameraError, UsageError
from capture.packets import EventPacket
from capture.ring import RingLayout, RingReader, RingRef
from capture.worker import CameraWorkerSpec, run_camera_worker
from tests.app import worker_targets as targets
from tests.capture.shm import segments
from tests.capture.toy import DRIVERS

GUARD_S = 60.0  # a guard against hangs on a loaded machine, no expectation


@pytest.fixture
def s() -> Iterator[Supervisor]:
    before = segments()
    others = set(psutil.Process().children(recursive=True))  # PyTorch's compiler, for one, keeps its own
    supervisor = Supervisor()
    runtime = supervisor._runtime.path
    yield supervisor
    supervisor.stop()
    assert segments() == before
    assert not runtime.exists()
    # Two helpers of this process outlive what started them: Python's own, and the sandbox's.
    helpers = ("resource_tracker", "sandbox_nursery")
    left = [
        p
        for p in psutil.Process().children(recursive=True)
        if p not in others and not any(name in str(p.cmdline()) for name in helpers)
    ]
    assert left == []


def until(what: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + GUARD_S
    while not (result := what()):
        assert time.monotonic() < deadline, "it does not happen"
        time.sleep(0.01)
    return result


def status(s: Supervisor, name: str) -> WorkerStatus:
    return next(w for w in s.statuses() if w.name == name)


def is_in(s: Supervisor, name: str, state: CameraState) -> Callable[[], bool]:
    return lambda: status(s, name).state is state


def camera(name: str, ring: dict[str, RingRef], **settings: Any) -> WorkerPlan:
    spec = CameraWorkerSpec("toy", settings=settings, drivers=DRIVERS, **ring)
    return WorkerPlan(name, run_camera_worker, spec, joins_epoch=True)


def test_two_cameras_share_an_epoch_and_a_killed_one_comes_back_to_it(s: Supervisor) -> None:
    ring = s.create_ring(RingLayout("events", 1 << 20, 64, ("a", "b")))
    s.add(camera("events", {"events": ring}, period_s=0.002))
    s.add(camera("frames", {"frames": s.create_ring(RingLayout("frames", 1 << 20))}, open_s=0.3))
    s.start()
    a, b = RingReader(ring, "a"), RingReader(ring, "b")
    first = a.read(GUARD_S)
    assert first is not None
    until(is_in(s, "frames", CameraState.RUNNING))
    epochs = [s.command(n, "echo", {"n": n}).result(GUARD_S) for n in ("events", "frames")]
    assert epochs == [{"n": "events", "epoch_ns": s.epoch_ns}, {"n": "frames", "epoch_ns": s.epoch_ns}]
    while a.read() is not None:
        pass
    pid = status(s, "events").pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    got: list[Any] = []

    def next_packet_after_the_gap() -> bool:
        item = a.read(0.1)
        got.extend([item] if item else [])
        return bool(got) and isinstance(p := got[-1].packet(), EventPacket) and p.gap

    until(next_packet_after_the_gap)
    assert [i.sequence for i in got] == list(range(got[0].sequence, got[0].sequence + len(got)))
    until(is_in(s, "events", CameraState.RUNNING))
    w = status(s, "events")
    assert (w.restarts, w.pid != pid) == (1, True)
    assert s.last_error("events") == "killed by SIGKILL"
    assert s.command("events", "echo").result(GUARD_S) == {"epoch_ns": s.epoch_ns}
    assert s.statuses()[0].detail == ""
    assert status(s, "frames").restarts == 0
    # The other reader slept through all this: it lost the old ones and knows how many.
    until(lambda: b.waiting > 64)
    item = b.read()
    assert item is not None
    st = b.stats()
    assert item.lost_before == st.lost > 0
    a.close(), b.close()
    s.stop()
    assert s.ring_stats()[0].reader("b").lost == st.lost


def test_a_camera_that_is_faulted_does_not_hold_up_the_other(s: Supervisor, tmp_path: Path) -> None:
    plug = tmp_path / "plugged"
    s.add(camera("events", {"events": s.create_ring(RingLayout("events", 1 << 20))}))
    s.add(camera("frames", {"frames": s.create_ring(RingLayout("frames", 1 << 20))}, missing=str(plug)))
    s.start()
    until(is_in(s, "events", CameraState.RUNNING))
    w = status(s, "frames")
    assert (w.state, w.detail, w.restarts) == (CameraState.FAULTED, "toy: no such camera; plug it in", 0)
    plug.touch()
    until(is_in(s, "frames", CameraState.RUNNING))
    assert s.command("frames", "echo").result(GUARD_S)["epoch_ns"] == s.epoch_ns


def test_the_budget_is_spent_and_a_person_can_begin_again(s: Supervisor) -> None:
    s.add(WorkerPlan("w", targets.exits, 3, budget=2))
    s.start()
    until(lambda: "given up" in status(s, "w").detail)
    w = status(s, "w")
    assert w.detail == "left with exit status 3 without a word; given up after 2 restarts in 60 s"
    assert (w.state, w.restarts, w.pid) == (CameraState.FAULTED, 2, None)
    s.set_payload("w", "now well")
    s._worker("w").plan = WorkerPlan("w", targets.steady, budget=2)
    s.restart("w")
    until(is_in(s, "w", CameraState.RUNNING))
    [message] = until(s.poll)
    assert (message.worker, message.topic) == ("w", "payload")
    assert message.body == {"payload": "now well", "incarnation": 3}


def test_errors_are_told_by_their_text(s: Supervisor) -> None:
    plans = {
        "camera": WorkerPlan("camera", targets.fails, "camera", budget=0),
        "usage": WorkerPlan("usage", targets.fails, "usage"),
        "bug": WorkerPlan("bug", targets.fails, "", budget=0),
        "unpicklable": WorkerPlan("unpicklable", targets.steady, lambda: None),
        "done": WorkerPlan("done", targets.returns),
        "unguarded": WorkerPlan("unguarded", targets.exits, NO_GUARD_STATUS),
    }
    for p in plans.values():
        s.add(p)
    s.start()
    until(
        lambda: all(w.state in (CameraState.FAULTED, CameraState.STOPPED) and not w.pid for w in s.statuses())
    )
    assert status(s, "camera").detail == "no camera at this port; given up after 0 restarts in 60 s"
    # No use to start it again: that is not tried.
    assert (status(s, "usage").detail, status(s, "usage").restarts) == ("unknown network 'edo'; known: edi", 0)
    assert status(s, "bug").detail.startswith("ZeroDivisionError: of a bug; given up")
    assert "in fails" in s.last_traceback("bug")
    assert s.last_traceback("camera") == ""
    assert status(s, "unpicklable").detail.startswith("cannot be started: ")
    assert (status(s, "unguarded").detail, status(s, "unguarded").restarts) == (NO_GUARD, 0)
    assert (status(s, "done").state, status(s, "done").detail) == (CameraState.STOPPED, "ended by itself")


def test_a_worker_that_hangs_is_killed_and_started_again(s: Supervisor) -> None:
    s.add(WorkerPlan("w", targets.hangs, heartbeat_s=0.5, budget=1))
    s.start()
    until(lambda: status(s, "w").restarts == 1)
    assert s.last_error("w") == "no sign of life for 0.5 s; killed"
    until(lambda: "given up" in status(s, "w").detail)


def test_a_camera_that_hangs_while_opening_is_killed(s: Supervisor) -> None:
    ring = s.create_ring(RingLayout("events", 1 << 16))
    spec = CameraWorkerSpec("toy", settings={"hang_open": True}, events=ring, drivers=DRIVERS)
    s.add(WorkerPlan("events", run_camera_worker, spec, starting_s=2.0, budget=0))
    s.start()
    until(lambda: status(s, "events").state is CameraState.FAULTED)
    assert status(s, "events").detail.startswith("no sign of life for 2 s; killed")


def test_stop_ends_also_those_that_listen_to_nothing(s: Supervisor) -> None:
    s.add(WorkerPlan("deaf", targets.hangs))
    s.add(WorkerPlan("good", targets.steady))
    s.start()
    until(is_in(s, "deaf", CameraState.RUNNING))
    until(is_in(s, "good", CameraState.RUNNING))
    pids = [w.pid for w in s.statuses()]
    s.stop()
    assert [w.state for w in s.statuses()] == [CameraState.STOPPED] * 2
    assert not any(psutil.pid_exists(p) for p in pids if p)
    with pytest.raises(UsageError, match="make a new one"):
        s.start()
    s.stop()


def test_one_worker_can_be_stopped_and_started_while_the_others_run(s: Supervisor) -> None:
    s.add(WorkerPlan("a", targets.steady, "a"))
    s.add(WorkerPlan("b", targets.steady, "b"))
    s.start()
    until(lambda: all(w.state is CameraState.RUNNING for w in s.statuses()))
    pid = status(s, "b").pid
    s.stop_worker("a")
    until(is_in(s, "a", CameraState.STOPPED))
    with pytest.raises(CameraError, match="does not run"):
        s.command("a", "x").result(GUARD_S)
    s.start_worker("a")
    until(is_in(s, "a", CameraState.RUNNING))
    s.restart("a")
    until(lambda: s.report("a") is not None and status(s, "a").state is CameraState.RUNNING)
    assert status(s, "b").pid == pid
    assert (status(s, "a").fps, status(s, "a").backlog) == (25.0, 3)
    assert status(s, "a").restarts == 0


def test_a_worker_that_falls_silent_is_told_before_it_is_given_up(s: Supervisor) -> None:
    s.add(WorkerPlan("a", targets.steady, "a"))
    s.start()
    until(is_in(s, "a", CameraState.RUNNING))
    pid = status(s, "a").pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    until(lambda: status(s, "a").silent_s >= 1)
    assert status(s, "a").state is CameraState.RUNNING
    os.kill(pid, signal.SIGCONT)
    until(lambda: status(s, "a").silent_s == 0)
    assert status(s, "a").pid == pid


def test_commands_that_get_no_answer_fail(s: Supervisor) -> None:
    s._command_timeout_s = 0.3
    s.add(WorkerPlan("w", targets.steady))
    early = s.command("w", "x")
    with pytest.raises(CameraError, match="does not run"):
        early.result(GUARD_S)
    s.start()
    until(is_in(s, "w", CameraState.RUNNING))
    assert s.command("w", "v", {"k": [1]}).result(GUARD_S) == {"verb": "v", "k": [1]}
    with pytest.raises(CameraError, match=r"did not answer within 0\.3 s"):
        s.command("w", "forget").result(GUARD_S)
    s._command_timeout_s = GUARD_S
    with pytest.raises(CameraError, match="ended before it answered"):
        s.command("w", "die").result(GUARD_S)
    with pytest.raises(UsageError, match="no worker 'z'; there are w"):
        s.command("z", "v")
    with pytest.raises(messages.InvalidMessage):
        s.command("w", "v", {"k": object()})


def test_garbage_is_counted_and_harms_nobody(s: Supervisor) -> None:
    s.add(WorkerPlan("w", targets.steady))
    s.start()
    until(is_in(s, "w", CameraState.RUNNING))
    intruder = notices.socket(zmq.DEALER)
    intruder.connect(s._control)
    for data in (b"", b"\xff" * 100, messages.pack(messages.Stop()), os.urandom(1000)):
        intruder.send(data)
    until(lambda: s.refused == 4)
    intruder.close()
    assert s.command("w", "v").result(GUARD_S) == {"verb": "v"}


def test_what_nobody_polls_for_is_counted(s: Supervisor) -> None:
    s.add(WorkerPlan("w", targets.floods, 2500))
    s.start()
    until(lambda: s.overlooked >= 501)
    got = s.poll()
    assert len(got) + s.overlooked >= 2501
    assert got[0].body == {"n": s.overlooked}
    assert s.poll() == []


def test_names_are_unique(s: Supervisor) -> None:
    s.add(WorkerPlan("w", targets.steady))
    with pytest.raises(UsageError, match="'w' already"):
        s.add(WorkerPlan("w", targets.steady))
    s.create_ring(RingLayout("r", 1))
    with pytest.raises(UsageError, match="'r' already"):
        s.create_ring(RingLayout("r", 1))


def test_a_signal_while_tidying_up_waits_until_that_is_done() -> None:
    done = False
    with pytest.raises(KeyboardInterrupt):
        with shielded():
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.05)
            done = True
        raise AssertionError("the signal was swallowed")
    assert done


def test_how_long_a_camera_has_been_away_counts_over_all_tries(s: Supervisor) -> None:
    s.add(WorkerPlan("w", targets.tries, 1.5))
    s.start()
    until(is_in(s, "w", CameraState.FAULTED))
    until(lambda: status(s, "w").state is CameraState.STARTING and status(s, "w").down_s > 0.5)
    until(is_in(s, "w", CameraState.RUNNING))
    assert status(s, "w").down_s == 0


def test_a_camera_that_opens_and_sends_nothing_stays_down(s: Supervisor) -> None:
    s.add(WorkerPlan("w", targets.opens_in_vain))
    s.start()
    until(is_in(s, "w", CameraState.FAULTED))
    until(lambda: status(s, "w").state is CameraState.RUNNING and status(s, "w").down_s > 0.5)
