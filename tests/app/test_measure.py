"""Figures of a running session: what is noted, what is left out, and what is an error."""

from __future__ import annotations

import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from app import measure as module
from app.following import PipelineError
from app.live import make_session
from app.measure import measure, percentiles
from app.session import Picture, SessionStatus, WorkerStatus
from capture.camera import CameraState
from tests.app.live_watch import ONE_SENSOR


def picture(n: int, *, sharp: bool = True, held: bool = False) -> Picture:
    blurred = np.zeros((6, 8), np.uint8)
    now = time.monotonic_ns()
    return Picture(
        n, blurred, blurred[None] if sharp else None, (0.5,), 0, 1000, "trigger", 1.0, "", "edi", None,
        np.eye(3), now - 5_000_000, now, held=held, restore_s=0.002,
    )  # fmt: skip


class Fake:
    """A session of pictures 10 ms apart; every fourth is refused, every fifth answers a request."""

    def __init__(self, *, pictures: bool = True, state: CameraState = CameraState.RUNNING) -> None:
        self.pictures, self.state = pictures, state
        self.n, self.next, self.stopped = 0, 0.0, False

    def start(self) -> None:
        self.next = time.monotonic()

    def stop(self) -> None:
        self.stopped = True

    def poll(self) -> Picture | None:
        if not self.pictures or time.monotonic() < self.next:
            return None
        self.next += 0.01
        self.n += 1
        return picture(self.n, sharp=self.n % 4 != 0, held=self.n % 5 == 0)

    def status(self) -> SessionStatus:
        worker = WorkerStatus("restore", self.state, "out of paper", pid=None)
        out = self.n - self.n // 4
        return SessionStatus(
            100.0, {}, 1.0, 2.0, self.n, out, 0, {"refused: no_events": self.n // 4, "ring frames": 0}, "", 0.0,
            (worker,), 2e6, runs_on="CPU, float32",
        )  # fmt: skip


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WARM_UP_S", 0.3)


def test_what_a_session_gives_is_summed_up() -> None:
    session, told = Fake(), []
    s = measure(session, 0.6, lambda what, share: told.append((what, share)))  # type: ignore[arg-type]
    assert session.stopped
    assert s.seconds == pytest.approx(0.6, abs=0.3)
    assert 10 <= s.restored < s.exposures
    assert set(s.losses) == {"refused: no_events"}  # what did not grow is not named
    assert s.restored + s.losses["refused: no_events"] == s.exposures
    # Held and refused pictures have no time of their own.
    assert 0 < len(s.restore_ms) <= s.restored
    assert s.restore_ms == pytest.approx([2.0] * len(s.restore_ms))
    assert percentiles(s.chain_ms)["p50"] == pytest.approx(5.0, abs=0.01)
    assert (s.image_size, s.event_size, s.runs_on) == ((8, 6), (0, 0), "CPU, float32")
    assert {what for what, _ in told} >= {"warming up", "measuring"}
    said = s.as_dict()
    assert said["pictures_per_s"] == pytest.approx(s.restored / s.seconds)
    assert set(said["restore_ms"]) == {"p50", "p95", "p99"}


def test_no_picture_and_a_worker_that_is_down_are_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "START_LIMIT_S", 0.2)
    silent = Fake(pictures=False)
    with pytest.raises(PipelineError, match="no picture came"):
        measure(silent, 1.0)  # type: ignore[arg-type]
    assert silent.stopped
    with pytest.raises(PipelineError, match="out of paper"):
        measure(Fake(state=CameraState.FAULTED), 0.1)  # type: ignore[arg-type]


def test_nothing_measured_has_no_percentiles() -> None:
    assert percentiles([]) == {"p50": None, "p95": None, "p99": None}


def test_a_true_session_says_where_it_runs() -> None:
    s = measure(make_session("simulated:davis", "edi", settings=ONE_SENSOR, device="cpu"), 1.0)
    assert s.restored > 0
    assert s.runs_on == "CPU, float32 integral"
    assert (s.image_size, s.event_size) == ((64, 48), (64, 48))
    assert 0 < percentiles(s.restore_ms)["p50"] < percentiles(s.chain_ms)["p95"]
    assert s.memory_mb > 20
    assert s.cores > 0


def test_percentiles_are_the_50th_95th_and_99th() -> None:
    assert percentiles([float(n) for n in range(101)]) == {"p50": 50.0, "p95": 95.0, "p99": 99.0}


class Told:
    """A session whose status is told in advance: at the start of the measurement, and at its end."""

    def __init__(self, *statuses: SessionStatus) -> None:
        self.statuses = list(statuses)
        self.pictures = iter(range(1, 10**6))

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def poll(self) -> Picture:
        n = next(self.pictures)
        return replace(picture(n), restore_s=n / 1e3)

    def status(self) -> SessionStatus:
        return self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]


def counted(items_in: int, items_out: int, waiting: int, losses: dict[str, int]) -> SessionStatus:
    worker = WorkerStatus("restore", CameraState.RUNNING, pid=4711)
    return SessionStatus(
        0.0, {}, 0.0, 0.0, items_in, items_out, waiting, losses, "", 0.0, (worker,), 3e6, runs_on="CPU"
    )


def test_what_came_in_while_it_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waited before was in already, and what waits at the end has not been answered."""
    clock = iter(np.arange(0.0, 1e4, 0.05))
    monkeypatch.setattr(module, "WARM_UP_S", 0.0)
    monkeypatch.setattr(module.time, "monotonic", lambda: float(next(clock)))
    used = iter([30.0, 45.0])
    monkeypatch.setattr(module, "cpu_seconds", lambda: next(used))
    memory = SimpleNamespace(rss=123e6, vms=9e9)
    asked: list[int] = []
    monkeypatch.setattr(
        module.psutil, "Process", lambda pid: asked.append(pid) or SimpleNamespace(memory_info=lambda: memory)
    )
    before = counted(100, 90, 7, {"ring frames": 3, "failed": 1})
    after = counted(150, 131, 2, {"ring frames": 3, "failed": 5, "refused: dark": 2})
    s = measure(Told(before, before, before, after), 5.0)  # type: ignore[arg-type]
    assert (s.exposures, s.restored) == (150 - 100 + 5, 41)
    assert s.losses == {"failed": 4, "refused: dark": 2}
    assert s.cores == pytest.approx(15.0 / s.seconds)
    assert (asked, s.memory_mb, s.event_rate_hz, s.runs_on) == ([4711], 123.0, 3e6, "CPU")
    assert np.diff(s.restore_ms) == pytest.approx([1.0] * (len(s.restore_ms) - 1)), "each picture once"


def test_processor_time_is_that_of_all_processes_in_both_modes(monkeypatch: pytest.MonkeyPatch) -> None:
    def process(user: float, system: float, *children: object) -> SimpleNamespace:
        def cpu_times() -> SimpleNamespace:
            if user < 0:
                raise module.psutil.NoSuchProcess(1)
            return SimpleNamespace(user=user, system=system, children_user=100.0)

        return SimpleNamespace(cpu_times=cpu_times, children=lambda recursive: list(children))

    gone, child = process(-1.0, 0.0), process(4.0, 0.5)
    monkeypatch.setattr(module.psutil, "Process", lambda: process(1.0, 0.25, child, gone))
    assert module.cpu_seconds() == 5.75
