"""The recorder of a running session: begun and ended while pictures go on, armed beforehand for a pre-roll."""

from __future__ import annotations

import time
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from app.recorder import (
    FINISH_S,
    RECORDER,
    RecorderWatch,
    RecordingState,
    RecordRequest,
    armed_plan,
    begin_arguments,
    check_cameras,
    recorder_plan,
    slow_disk,
)
from app.sources import Source
from app.supervisor import Supervisor
from capture.camera import CameraState
from capture.errors import HalfmirrorError, UsageError
from capture.ring import RingRef
from recordings.recorder.worker import ARM, BEGIN, END

STOP_S = 2.0
STARTING_S = 2.0
"""A process that has not begun to start by then cannot be made."""


class SessionRecorder:
    """Wishes come from the session's owner; `look_after` carries them out. All for one thread but `disk_trial`.

    The recorder's process is there only while something is recorded or kept. It reads rings that the cameras
    fill anyway, so nothing is interrupted when it comes or goes.

    Attributes:
        watch: how recording goes.
    """

    def __init__(self, request: RecordRequest | None) -> None:
        """`request`: recorded from the session's first item on."""
        self.watch = RecorderWatch()
        self._first = request
        self._supervisor: Supervisor | None = None
        self._source: Source | None = None
        self._rings: tuple[RingRef, RingRef] | None = None
        self._added = False
        self._by_itself = request is not None  # the recorder is the first one, which is not armed
        self._request: RecordRequest | None = None  # to be begun as soon as the recorder runs
        self._preroll_s = self._kept_s = 0.0
        self._up = self._starting = self._given_up = self._ready = False
        self._started_at = 0.0
        self._replies: list[tuple[str, Future[dict[str, Any]]]] = []

    def assemble(self, supervisor: Supervisor, source: Source, events: RingRef, frames: RingRef) -> None:
        """The session is being put together; its workers start after this."""
        self._source, self._rings = source, (events, frames)
        if self._first is not None:
            supervisor.add(recorder_plan(source, self._first, events, frames))
            self._added = self._up = True
            self.watch.begun(self._first)
        self._supervisor = supervisor

    def arm(self, preroll_s: float, ready: bool = False) -> None:
        """See `Session.arm_recorder`."""
        self._preroll_s, self._ready, self._given_up = preroll_s, ready, False

    def begin(self, request: RecordRequest) -> None:
        """See `Session.begin_recording`."""
        if self._source is None or not self._source.live:
            raise UsageError("only what a rig gives can be recorded, once it is open")
        if self.watch.state is not RecordingState.OFF:
            raise UsageError("a recording is being made already; end it first")
        check_cameras(self._source, request)
        request.check()
        self._request, self._given_up = request, False
        self.watch.begun(request)

    def finish(self) -> None:
        """See `Session.finish_recording`."""
        if self._supervisor is None or self.watch.state is RecordingState.OFF:
            return
        if self._request is not None:  # not even begun
            self._request = None
            self.watch.ended()
            return
        self.watch.state = RecordingState.FINISHING
        if self._by_itself:
            self._supervisor.stop_worker(RECORDER, FINISH_S)
        else:
            self._command(END, {})

    def disk_trial(self, folder: Path) -> str:
        """See `Session.disk_trial`."""
        if self._source is None:
            raise UsageError("the source is not open yet")
        return slow_disk(self._source, folder)

    def look_after(self, supervisor: Supervisor) -> None:
        """Carry out what is wished; call it often."""
        if self._source is None or not self._source.live:
            return
        self.watch.pass_on(supervisor)
        self._hear_replies()
        worker = next((w for w in supervisor.statuses() if w.name == RECORDER), None)
        state = CameraState.STOPPED if worker is None else worker.state
        down = state in (CameraState.STOPPED, CameraState.FAULTED)
        # Its state is still that of the one before; where no process can be made there will be no other.
        self._starting = self._starting and down and time.monotonic() - self._started_at < STARTING_S
        if down and not self._starting:
            self._kept_s, self.watch.figures = 0.0, {}  # what was held went with its process
            if state is CameraState.FAULTED and self._up:
                self._given_up, self._request = True, None
                self.watch.failed(supervisor.last_error(RECORDER) or (worker.detail if worker else ""))
            waits = self._by_itself and self.watch.state is RecordingState.BEGINNING
            self._up = self._by_itself = waits  # the next one is armed
            if self._wanted and not self._given_up and not waits:
                self._start(supervisor)
        elif state is CameraState.RUNNING and not self._by_itself:
            self._drive(supervisor)

    @property
    def _wanted(self) -> bool:
        return self._request is not None or self._preroll_s > 0 or self._ready

    def _start(self, supervisor: Supervisor) -> None:
        assert self._source is not None
        assert self._rings is not None
        plan = armed_plan(self._source, self._preroll_s, *self._rings)
        if not self._added:
            supervisor.add(plan)
            self._added = True
        else:
            supervisor.set_payload(RECORDER, plan.payload)
        supervisor.start_worker(RECORDER)
        self._kept_s, self._up, self._starting = self._preroll_s, True, True
        self._started_at = time.monotonic()

    def _drive(self, supervisor: Supervisor) -> None:
        if self._request is not None:
            request, self._request = self._request, None
            self._command(BEGIN, begin_arguments(request))
        elif self._preroll_s != self._kept_s:
            self._command(ARM, {"seconds": self._preroll_s})
            self._kept_s = self._preroll_s
        elif not self._wanted and self.watch.state is RecordingState.OFF:
            supervisor.stop_worker(RECORDER, STOP_S)

    def _command(self, verb: str, arguments: dict[str, Any]) -> None:
        assert self._supervisor is not None
        self._replies.append((verb, self._supervisor.command(RECORDER, verb, arguments)))

    def _hear_replies(self) -> None:
        for verb, reply in list(self._replies):
            if not reply.done():
                continue
            self._replies.remove((verb, reply))
            error = reply.exception()
            if error is not None and (verb == BEGIN or isinstance(error, HalfmirrorError)):
                self.watch.failed(str(error))
