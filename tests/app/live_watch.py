"""A live session as a viewer watches it, for tests."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from app.live import LiveSession
from app.session import Picture, SessionStatus, WorkerStatus
from capture.camera import CameraState

LIMIT_S = 60.0
EVENT_PLACES = {"ring event packets", "camera events", "rejected events"}
ONE_SENSOR = {
    "image_width": 64, "image_height": 48, "event_width": 64, "event_height": 48, "fine": 2, "loop_s": 0.6,
    "cache": False,
}  # fmt: skip
TWO_SENSORS = {
    "image_width": 96, "image_height": 64, "event_width": 24, "event_height": 16, "loop_s": 0.6, "cache": False,
    "rate_hz": 20.0, "exposure_us": 20_000,
}  # fmt: skip


def segments() -> set[str]:
    return {p.name for p in Path("/dev/shm").glob(f"hm{os.getpid()}_*")}


class Watch:
    """Polls a session as a viewer would."""

    def __init__(self, session: LiveSession) -> None:
        self.session = session
        self.pictures: list[Picture] = []
        self.said: list[str] = []  # every message, also those that have gone from the screen
        say = session._say
        session._say = lambda text: (self.said.append(text), say(text))[1]  # type: ignore[func-returns-value]

    def until(self, condition: Callable[[], Any], what: str) -> Any:
        deadline = time.monotonic() + LIMIT_S
        while True:
            p = self.session.poll()
            if p is not None:
                self.pictures.append(p)
            found = condition()
            if found:
                return found
            assert time.monotonic() < deadline, f"never: {what}; said {self.said}; {self.session.status()}"
            if p is None:
                time.sleep(0.003)

    def restored(self, n: int) -> list[Picture]:
        self.until(lambda: len([p for p in self.pictures if p.sharp is not None]) >= n, f"{n} sharp pictures")
        return [p for p in self.pictures if p.sharp is not None]

    def worker(self, name: str) -> WorkerStatus:
        return next(w for w in self.session.status().workers if w.name == name)

    def worker_state(self, name: str) -> CameraState | None:
        """None before the session has such a worker."""
        return next((w.state for w in self.session.status().workers if w.name == name), None)

    def settled(self) -> SessionStatus:
        """A status after the workers have reported once more."""
        end = time.monotonic() + 0.5
        self.until(lambda: time.monotonic() > end, "half a second")
        return self.session.status()
