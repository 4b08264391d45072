"""A preview without cameras: what a test says they see, and what they answer."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import asdict
from typing import Any

import numpy as np

from app.preview import Pick, View
from app.session import WorkerStatus
from capture.camera import CameraRole, CameraState, Control
from capture.errors import CameraError
from capture.registry import RigFacts
from sync.rig import Clock

EVENTS, FRAMES = CameraRole.EVENTS, CameraRole.FRAMES

CONTROLS = {
    EVENTS: [
        Control("bias_diff_on", 10, -20, 30, 1),
        Control("events_per_s", 0, 0, 2e9, unit="1/s"),
        Control("edges", "both", choices=("both", "rising", "off")),
    ],
    FRAMES: [
        Control("exposure_us", 8000.0, 20.0, 66_000.0, unit="µs"),
        Control("gain_db", 3.0, 0.0, 24.0, unit="dB"),
        Control("width", 1152, 16, 1440, 16, "px"),
        Control("auto_exposure", False),
    ],
}  # fmt: skip

TRIGGER = {
    "rising_hz": 25.0, "falling_hz": 25.0, "frames_hz": 24.9, "matched": 0.99, "finding": "good",
    "words": "Good: every frame has its edges.",
}  # fmt: skip


def figures(**trigger: Any) -> dict[str, Any]:
    return {
        "events": {"hz": 4.2e6, "size": [64, 48], "sharpness": 12.0, "peak": 15.0, "share": 0.8},
        "frames": {
            "hz": 24.9, "size": [1152, 768], "exposure_us": 8000.0, "white": 0.03, "black": 0.0,
            "words": "3.0% white · 0.0% black", "advice": "clipped: shorten the exposure", "sharpness": 5.0,
            "peak": 5.0, "share": 1.0,
        },
        "trigger": {**TRIGGER, **trigger}, "lost": 0,
    }  # fmt: skip


def view(**trigger: Any) -> View:
    image = np.full((48, 64, 3), 90, np.uint8)
    counts = np.zeros((3, 256), np.int64)
    counts[:, 90] = 48 * 64
    events = np.full((48, 64), 128, np.uint8)
    events[10:20, 30] = 255
    return View(image, events, None, counts, figures(**trigger))


class FakePreview:
    """As `app.preview.Preview`; made anew for each start, the newest is `FakePreview.made[-1]`."""

    made: list[FakePreview] = []  # noqa: RUF012

    def __init__(self, events: Pick, frames: Pick, clock: Clock) -> None:
        self.events, self.frames, self.clock = events, frames, clock
        self.problem = self.note = ""
        self.facts: RigFacts | None = None
        self.infos: dict[str, dict[str, Any]] = {}
        self.states: dict[CameraRole, WorkerStatus] = {}
        self.views: list[View] = []
        self.blind = False  # no view comes any more
        self.looks = WorkerStatus("preview", CameraState.RUNNING, pid=4000)
        self._newest: View | None = None
        self.asked: list[tuple[str, Any]] = []
        self.sets: list[dict[str, Any]] = []  # what was changed in one request each
        self.values = {r: {c.name: c.value for c in CONTROLS[r]} for r in CameraRole}
        self.refuse = ""
        self.silent = False  # answers nothing
        self.started = self.stopped = 0
        self.after: threading.Thread | None = None
        FakePreview.made.append(self)

    def start(self, after: threading.Thread | None = None) -> None:
        self.started += 1
        self.after = after

    def stop(self) -> None:
        self.stopped += 1

    def come_up(self) -> None:
        """Both cameras run and have told who they are."""
        for role, pick, size in ((EVENTS, self.events, (64, 48)), (FRAMES, self.frames, (1152, 768))):
            if pick.there:
                controls = [asdict(c) for c in CONTROLS[role]]
                self.infos[role.value] = {
                    "width": size[0], "height": size[1], "serial": f"{role.value}-1", "rate_hz": 25.0,
                    "capabilities": {"controls": controls},
                }  # fmt: skip
                self.states[role] = WorkerStatus(role.value, CameraState.RUNNING)
        self.views.append(view())

    def fault(self, role: CameraRole, why: str) -> None:
        self.states[role] = WorkerStatus(role.value, CameraState.FAULTED, why)

    def poll(self) -> View | None:
        if self.blind:
            return None
        if self.views:
            self._newest = self.views.pop(0)
        return self._newest  # as the real one: the same again where nothing moves

    def status(self, role: CameraRole) -> WorkerStatus | None:
        return self.states.get(role)

    def looking(self) -> WorkerStatus | None:
        return self.looks

    def set(self, role: CameraRole, values: Mapping[str, Any]) -> Future[dict[str, Any]]:
        self.asked += [("set", (role, name, value)) for name, value in values.items()]
        self.sets.append(dict(values))
        f: Future[dict[str, Any]] = Future()
        if self.silent:
            return f
        if self.refuse:
            f.set_exception(CameraError(self.refuse))
        else:
            # As a camera does: to its own steps.
            for name, value in values.items():
                self.values[role][name] = round(value) if isinstance(value, float) else value
            f.set_result(dict(self.values[role]))
        return f

    def controls(self, role: CameraRole) -> Future[dict[str, Any]]:
        f: Future[dict[str, Any]] = Future()
        f.set_result({c.name: {**asdict(c), "value": self.values[role][c.name]} for c in CONTROLS[role]})
        return f

    def overlay(self, matrix: Any) -> None:
        self.asked.append(("overlay", matrix))

    def forget_peaks(self) -> None:
        self.asked.append(("peaks", None))

    def set_clock(self, clock: Clock) -> None:
        self.asked.append(("clock", clock))
