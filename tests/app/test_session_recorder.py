"""Recording out of a running session: nothing is started anew, what came before can belong to it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from app.live import LiveSession, make_session
from app.recorder import RECORDER, RecorderWatch, RecordingState, RecordRequest
from app.session import WorkerStatus
from app.session_recorder import SessionRecorder
from app.supervisor import FromWorker
from capture.camera import CameraState
from capture.errors import UsageError
from capture.packets import EventPacket, Frame
from recordings.open import open_recording
from recordings.recorder.take import Limits
from recordings.recorder.worker import COUNTERS, DONE, TOPIC
from tests.app.live_watch import ONE_SENSOR


@pytest.fixture
def session() -> Iterator[LiveSession]:
    s = make_session("simulated:davis", "none", settings=ONE_SENSOR, device="cpu")
    s.start()
    until(s, lambda: s.poll() is not None)
    yield s
    s.stop()


def until(s: LiveSession, true: Callable[[], bool], limit_s: float = 60.0) -> None:
    deadline = time.monotonic() + limit_s
    while not true():
        status = s.status()
        assert time.monotonic() < deadline, (status, s.recording.state, s.recording.problem)
        time.sleep(0.02)


def pids(s: LiveSession) -> dict[str, int | None]:
    return {w.name: w.pid for w in s.status().workers if w.name != RECORDER}


def recorded(s: LiveSession, folder: Path, seconds: float, limits: Limits | None = None) -> None:
    s.begin_recording(RecordRequest(folder, limits=limits or Limits(reserve=0), network="none"))
    until(s, lambda: s.recording.state is not RecordingState.BEGINNING)
    assert s.recording.problem == ""
    if limits is None:
        time.sleep(seconds)
        s.finish_recording()
    until(s, lambda: s.recording.state is RecordingState.OFF)
    assert s.recording.problem == ""


class Workers:
    """As much of a supervisor as a recorder needs, without one process."""

    def __init__(self) -> None:
        self.worker = WorkerStatus(RECORDER, CameraState.STOPPED)
        self.told: list[tuple[object, ...]] = []

    def statuses(self) -> list[WorkerStatus]:
        return [self.worker]

    def add(self, plan: object) -> None:
        pass

    def start_worker(self, name: str) -> None:
        self.worker = WorkerStatus(RECORDER, CameraState.RUNNING, pid=4000)

    def command(self, *what: object) -> Future[dict[str, Any]]:
        self.told.append(what)
        return Future()

    def last_error(self, name: str) -> str:
        return self.worker.detail


def test_what_the_cameras_count_reaches_every_recorder_and_who_else_listens() -> None:
    workers: Any = Workers()
    watch = RecorderWatch()
    body = {"events": {"limited_tenths_of_s": 3}}
    assert not watch.hear(workers, FromWorker("events", COUNTERS, body)), "the strip wants it, too"
    assert workers.told == []
    workers.start_worker(RECORDER)
    watch.pass_on(workers)
    watch.pass_on(workers)
    assert workers.told == [(RECORDER, COUNTERS, body)]
    newer = {"events": {"limited_tenths_of_s": 4}}
    watch.hear(workers, FromWorker("events", COUNTERS, newer))
    assert workers.told[1:] == [(RECORDER, COUNTERS, newer)]


def test_reports_of_earlier_requests_are_not_kept(tmp_path: Path) -> None:
    workers: Any = Workers()
    watch = RecorderWatch()
    for n in range(3):
        folder = tmp_path / str(n)
        watch.begun(RecordRequest(folder))
        assert not watch.done
        watch.hear(workers, FromWorker(RECORDER, DONE, {"folder": str(folder), "health": {"frames": n}}))
        assert watch.health == {str(folder): {"frames": n}}
        assert watch.state is RecordingState.OFF


def test_what_was_kept_goes_with_its_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.session_recorder.armed_plan", lambda *_: None)
    monkeypatch.setattr("app.session_recorder.STARTING_S", 0.0)
    workers: Any = Workers()
    source: Any = SimpleNamespace(live=True)
    recorder = SessionRecorder(None)
    rings: Any = (None, None)
    recorder.assemble(workers, source, *rings)
    recorder.arm(3.0)
    for _ in range(2):
        recorder.look_after(workers)
    told = {"armed": True, "held_s": 3.0, "held": 1000}
    recorder.watch.hear(workers, FromWorker(RECORDER, TOPIC, told))
    recorder.look_after(workers)
    assert recorder.watch.figures == told
    workers.worker = WorkerStatus(RECORDER, CameraState.FAULTED, "killed by SIGKILL")
    recorder.look_after(workers)
    assert recorder.watch.figures == {}


def test_two_recordings_while_pictures_go_on(session: LiveSession, tmp_path: Path) -> None:
    """The cameras' and the network's processes stay; the second one can be shorter than the first."""
    before = pids(session)
    recorded(session, tmp_path / "a", 1.0)
    recorded(session, tmp_path / "b", 0.0, Limits(frames=5, reserve=0))
    assert pids(session) == before
    assert session.poll() is not None
    for name, least in (("a", 10), ("b", 5)):
        health = json.loads((tmp_path / name / "health.json").read_text())
        assert health["state"] == "finished"
        with open_recording(tmp_path / name) as r:
            items = list(r.items())
            assert r.about.network == "none"  # type: ignore[attr-defined]
            assert r.about.events.serial  # type: ignore[attr-defined]
        frames = [i.sequence for i in items if isinstance(i, Frame)]
        assert len(frames) >= least
        # On a machine that is busy with other tests the recorder may get no processor for seconds. What is
        # lost by that is missing in one place of the numbers, and counted; nothing else is.
        lost = {what: n for what, n in health["losses"].items() if n}
        assert set(lost) <= {"ring frames", "ring event packets"}
        assert frames == sorted(set(frames))
        assert frames[-1] - frames[0] + 1 - len(frames) <= lost.get("ring frames", 0)
        assert health["frames"] == len(frames)
    assert len(frames) == 5
    # Nothing is kept and nothing is recorded, so the recorder's process goes.
    until(session, lambda: any(w.name == RECORDER and not w.pid for w in session.status().workers))
    assert session.status().workers[-1].state is CameraState.STOPPED


def test_the_seconds_before_belong_to_it(session: LiveSession, tmp_path: Path) -> None:
    session.arm_recorder(1.5)
    until(session, lambda: session.recording.figures.get("held_s", 0) > 1.2)
    time.sleep(1.0)  # more comes than is kept
    session.begin_recording(RecordRequest(tmp_path / "r", limits=Limits(reserve=0)))
    until(session, lambda: session.recording.state is RecordingState.RECORDING)
    session.finish_recording()
    until(session, lambda: session.recording.state is RecordingState.OFF)
    health = json.loads((tmp_path / "r" / "health.json").read_text())
    assert health["state"] == "finished"
    assert 1.2 < health["preroll_s"] <= 1.5
    length = (health["until_us"] - health["first_us"]) / 1e6
    assert health["preroll_s"] - 0.1 < length < health["preroll_s"] + health["elapsed_s"] + 0.3
    assert sum(health["losses"].values()) == 0
    with open_recording(tmp_path / "r") as r:
        packets = [i for i in r.items() if isinstance(i, EventPacket)]
        assert r.info.frames == health["frames"] >= 20
    times = [p.complete_until_us for p in packets]
    assert times == sorted(times)
    assert not any(p.gap for p in packets)
    # Armed again, until nobody wants it.
    until(session, lambda: session.recording.figures.get("armed") is True)
    session.arm_recorder(0)
    until(session, lambda: not next(w for w in session.status().workers if w.name == RECORDER).pid)


def test_a_taken_folder_is_refused_at_once_and_a_second_one_meanwhile(
    session: LiveSession, tmp_path: Path
) -> None:
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "x").write_text("mine")
    with pytest.raises(UsageError, match="exists already"):
        session.begin_recording(RecordRequest(tmp_path / "r"))
    session.begin_recording(RecordRequest(tmp_path / "s", limits=Limits(reserve=0)))
    with pytest.raises(UsageError, match="being made already"):
        session.begin_recording(RecordRequest(tmp_path / "t"))
    session.finish_recording()
    until(session, lambda: session.recording.state is RecordingState.OFF)


def test_a_folder_taken_meanwhile_and_a_killed_recorder_are_told(session: LiveSession, tmp_path: Path) -> None:
    session.begin_recording(RecordRequest(tmp_path / "r", limits=Limits(reserve=0)))
    (tmp_path / "r").write_text("in the way")
    until(session, lambda: session.recording.state is RecordingState.OFF)
    assert "exists already" in session.recording.problem
    recorded_to = tmp_path / "s"
    session.begin_recording(RecordRequest(recorded_to, limits=Limits(reserve=0)))
    until(session, lambda: session.recording.figures.get("frames", 0) > 3)
    supervisor = session._supervisor
    assert supervisor is not None
    supervisor._worker(RECORDER).kill()
    until(session, lambda: session.recording.state is RecordingState.OFF)
    assert "killed by SIGKILL" in session.recording.problem
    recorded(session, tmp_path / "t", 0.3)  # and the next one is none the worse
