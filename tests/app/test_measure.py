"""Figures of a running session: what is noted, what is left out, and what is an error."""

from __future__ import annotations

import time

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
