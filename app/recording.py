"""Recording a rig to disk: the camera workers and the recorder under one supervisor, watched to the end."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app.live import camera_worker
from app.recorder import FINISH_S, RECORDER, RecorderWatch, RecordRequest, recorder_plan, require_both
from app.session import WorkerStatus
from app.sources import Source, SourceRequest, resolve
from app.supervisor import Supervisor
from capture.camera import CameraRole, CameraState
from capture.errors import HalfmirrorError, UsageError
from capture.ring import RingLayout
from recordings.recorder import disk
from recordings.recorder.worker import READER

EVENT_RING_BYTES, FRAME_SLOTS = 192 << 20, 90
"""More than live: 1.5 s of 10 Mev/s and of 60 fps, should the recorder be held up for a moment."""
FAULT_PATIENCE_S = 5.0
_POLL_S = 0.05


class RecordingFailed(HalfmirrorError):
    """Recording ended early; the message says why, and what is there."""


@dataclass(slots=True)
class RecordResult:
    """What came of it.

    Attributes:
        health: of each recording that was begun, folder → the last `health.json`.
        interrupted: Ctrl+C ended it.
    """

    health: dict[str, dict[str, Any]] = field(default_factory=dict)
    interrupted: bool = False


Watch = Callable[[dict[str, Any], str], None]


def slow_disk(source: Source, folder: Path, seconds: float = 1.0) -> str:
    """Try the disk for about a second; one sentence when it is too slow for the rig, "" when it is not.

    Raises:
        DiskError: nothing can be written there.
    """
    place = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    rate_hz = _frame_rate(source)
    have = disk.measure(place, seconds)
    # Three bytes a pixel at most; Bayer and gray take one.
    return disk.too_slow(place, have, source.rig.image.width * source.rig.image.height * 3, rate_hz)


def _frame_rate(source: Source) -> float:
    """Frames per second where a camera that is not open yet tells, else 0."""
    from capture.registry import open_driver

    plan = next(c for c in source.cameras if CameraRole.FRAMES in c.roles)
    try:
        driver, config = open_driver(plan.camera, plan.settings)
        return driver.frame_camera(config).info.rate_hz
    except HalfmirrorError:
        return 0.0


def record(
    request: SourceRequest, what: RecordRequest, *, said: Callable[[str], None], watch: Watch
) -> RecordResult:
    """Record until everything is there, or until Ctrl+C.

    Args:
        request: the rig.
        what: see `RecordRequest`.
        said: takes a line that a person should read before it starts.
        watch: called ten times a second with the recorder's figures ({} before the first) and a line on what
            is being waited for.

    Raises:
        UsageError: a recording in place of a rig, a rig without events, a folder that is there already.
        RecordingFailed: the disk is full or gone, no camera came, the recorder died.
    """
    if request.is_recording:
        raise UsageError(f"{request.text} is a recording already; to convert it use: halfmirror export")
    what.check()
    source = resolve(request)
    require_both(source)
    slow = slow_disk(source, what.folder)
    if slow:
        said(slow)
    with Supervisor() as s:
        rig = source.rig
        frame_bytes = rig.image.width * rig.image.height * 3 + 4096
        events = s.create_ring(RingLayout("events", EVENT_RING_BYTES, 4096, readers=(READER,)))
        frames = s.create_ring(RingLayout("frames", FRAME_SLOTS * frame_bytes, 256, readers=(READER,)))
        for plan in source.cameras:
            s.add(camera_worker(plan, events, frames))
        s.add(recorder_plan(source, what, events, frames))
        run = _Run(s, watch)
        try:
            s.start()
            run.to_the_end()
        except KeyboardInterrupt:
            run.result.interrupted = True
            s.stop_worker(RECORDER, FINISH_S)
            run.to_the_end()
        return run.result


class _Run:
    """Watches the workers."""

    def __init__(self, s: Supervisor, watch: Watch) -> None:
        self.result = RecordResult()
        self._s, self._watch = s, watch
        self._recorder = RecorderWatch()
        self._faulted: float | None = None

    def to_the_end(self) -> None:
        """Until the recorder has ended.

        Raises:
            RecordingFailed: see `record`.
        """
        while True:
            self._hear()
            workers = {w.name: w for w in self._s.statuses()}
            recorder = workers[RECORDER]
            if recorder.state in (CameraState.STOPPED, CameraState.FAULTED):
                self._hear()
                self._check_end(recorder)
                return
            if recorder.state is not CameraState.STOPPING:
                self._check_cameras([w for w in workers.values() if w.name != RECORDER])
            waiting = [w.detail for w in workers.values() if w.state is not CameraState.RUNNING and w.detail]
            self._watch(self._recorder.figures, waiting[0] if waiting else "")
            time.sleep(_POLL_S)

    def _hear(self) -> None:
        for m in self._s.poll():
            self._recorder.hear(self._s, m)
        self.result.health = self._recorder.health

    def _check_cameras(self, cameras: list[WorkerStatus]) -> None:
        """Before the first frame a camera that fails ends the run; later it may come back."""
        down = [f"{w.name}: {w.detail}" for w in cameras if w.state is CameraState.FAULTED]
        given_up = all(w.state is CameraState.FAULTED and not w.pid for w in cameras)
        now = time.monotonic()
        if not down or self._recorder.figures.get("frames") or self._recorder.figures.get("events"):
            self._faulted = None
            if not given_up:
                return
        self._faulted = self._faulted or now
        if now - self._faulted > FAULT_PATIENCE_S or given_up:
            raise RecordingFailed(f"nothing was recorded, because a camera failed ({'; '.join(down)})")

    def _check_end(self, recorder: WorkerStatus) -> None:
        if recorder.state is CameraState.FAULTED:
            text = self._s.last_error(RECORDER)
            what = "what it wrote before is kept" if self._recorder.figures else "nothing was recorded"
            raise RecordingFailed(f"the recorder failed ({text}); {what}")
        for health in self.result.health.values():
            if health["state"] == "stopped" and not self.result.interrupted:
                raise RecordingFailed(
                    f"recording ended early: {health['message']}; {health['frames']} frames and "
                    f"{health['events']} events before that are kept"
                )
