"""Recording a rig to disk: the camera workers and the recorder under one supervisor, watched to the end."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from app import also_msrbd
from app.also_msrbd import AlsoMsRbd, Written, beside
from app.live import camera_worker
from app.recorder import (
    FINISH_S,
    RECORDER,
    RecorderWatch,
    RecordRequest,
    armed_plan,
    begin_arguments,
    check_cameras,
    other_sizes,
    other_than,
    recorder_plan,
    slow_disk,
)
from app.room import frame_ring_bytes
from app.session import WorkerStatus
from app.sources import EVENTS, FRAMES, Source, SourceRequest, resolve
from app.supervisor import Supervisor
from capture.camera import CameraState
from capture.documents import parse_json
from capture.errors import HalfmirrorError, UsageError
from capture.ring import RingLayout
from recordings.formats.own_about import ABOUT, HEALTH, INDEX_FILE, STREAMS
from recordings.recorder.incoming import READER
from recordings.recorder.worker import BEGIN, CAMERAS, END
from sync.rig import Rig

EVENT_RING_BYTES, FRAME_SLOTS = 192 << 20, 90
"""More than live: 1.5 s of 10 Mev/s and of 60 fps, should the recorder be held up for a moment."""
FAULT_PATIENCE_S = 5.0
_POLL_S = 0.05
_CONTENTS = ("frames", "event_packets", "edges", "imu_samples")


class RecordingFailed(HalfmirrorError):
    """Recording ended early; the message says why, and what is there."""


@dataclass(slots=True)
class RecordResult:
    """What came of it.

    Attributes:
        health: of each recording that was begun, folder → the last `health.json`.
        interrupted: Ctrl+C, SIGTERM or SIGHUP ended it.
        written: MS-RBD style files that were made meanwhile.
    """

    health: dict[str, dict[str, Any]] = field(default_factory=dict)
    interrupted: bool = False
    written: Written = field(default_factory=Written)


Watch = Callable[[dict[str, Any], str], None]


def record(
    request: SourceRequest,
    what: RecordRequest,
    *,
    said: Callable[[str], None],
    watch: Watch,
    signal: Callable[[], bool] = lambda: False,
    keep: bool = True,
) -> RecordResult:
    """Record until everything is there, or until Ctrl+C; SIGTERM and SIGHUP (`SystemExit`) end it as that does.

    What waits for the disk then is written, for up to `FINISH_S`; one more Ctrl+C leaves it out.

    Args:
        request: the rig.
        what: see `RecordRequest`.
        said: takes a line that a person should read before it starts.
        watch: called ten times a second with the recorder's figures ({} before the first) and a line on what
            is being waited for.
        signal: with a pre-roll: asked again and again; True begins a sequence (that has no end of its own: ends
            it as well).
        keep: when it is interrupted, what came is kept. False: the interrupt is raised at once.

    Raises:
        UsageError: a recording in place of a rig, what one camera alone cannot give, a folder that is there
            already.
        RecordingFailed: the disk is full or gone, no camera came, the recorder died.
    """
    if request.is_recording:
        raise UsageError(f"{request.text} is a recording already; to convert it use: halfmirror export")
    what.check()
    if what.also_msrbd:
        _check_free([beside(f) for f in what.folders])
    source = resolve(request)
    check_cameras(source, what)
    slow = slow_disk(source, what.folder)
    if slow:
        said(slow)
    made = [f for f in what.folders if not f.exists()]
    try:
        result = _recorded(source, what, said, watch, signal, keep)
    finally:
        gone = {str(f.absolute()) for f in made if _remove_empty(f)}  # the next try is to have the same name
    result.health = {f: h for f, h in result.health.items() if str(Path(f).absolute()) not in gone}
    if gone and not result.health and not result.interrupted:
        raise RecordingFailed("nothing came from the cameras, so nothing was recorded")
    return result


def _recorded(
    source: Source,
    what: RecordRequest,
    said: Callable[[str], None],
    watch: Watch,
    signal: Callable[[], bool],
    keep: bool,
) -> RecordResult:
    with Supervisor() as s:
        rig = source.rig
        events, frames = s.create_rings(*ring_layouts(source))
        for plan in source.cameras:
            s.add(camera_worker(plan, events, frames))
        run: _Run
        if what.preroll_s:
            s.add(armed_plan(source, what.preroll_s, events, frames))
            run = _ArmedRun(s, watch, said, rig, what, signal)
        else:
            s.add(recorder_plan(source, what, events, frames))
            run = _Run(s, watch, said, rig)
        if what.also_msrbd:
            s.add(also_msrbd.plan(AlsoMsRbd(what.folders, what.split or "train")))
        try:
            s.start()
            run.sequences()
            run.to_the_end()
        except (KeyboardInterrupt, SystemExit):
            if not keep:
                raise
            run.result.interrupted = True
            s.stop_worker(RECORDER, FINISH_S)
            run.to_the_end("Ctrl+C again leaves out what waits for the disk")
        if what.also_msrbd:
            run.files_to_the_end(what.folders)
        return run.result


def ring_layouts(source: Source) -> tuple[RingLayout, RingLayout]:
    """Of the events and the frames."""
    size = frame_ring_bytes(source, FRAME_SLOTS)
    return (
        RingLayout("events", EVENT_RING_BYTES, 4096, readers=(READER,)),
        RingLayout("frames", size, 256, readers=(READER,)),
    )


def _remove_empty(folder: Path) -> bool:
    """Remove a recording into which nothing came at all, no camera having been there."""
    try:
        health = parse_json((folder / HEALTH).read_text(encoding="utf-8"))
        if (
            health["state"] == "recording"
            or any(health[k] for k in _CONTENTS)
            or any(health["losses"].values())
        ):
            return False
        for name in (ABOUT, STREAMS, INDEX_FILE, HEALTH):
            (folder / name).unlink(missing_ok=True)
        folder.rmdir()
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False  # not begun, or nobody knows
    return True


def _check_free(folders: list[Path]) -> None:
    for folder in folders:
        if folder.exists():
            raise UsageError(f"{folder} exists already; give another name with -o, or leave --also-msrbd out")


class _Run:
    """Watches the workers."""

    def __init__(self, s: Supervisor, watch: Watch, said: Callable[[str], None], rig: Rig) -> None:
        self.result = RecordResult()
        self._s, self._watch, self._said, self._rig = s, watch, said, rig
        self._warned: set[str] = set()
        self._recorder = RecorderWatch()
        self._faulted: float | None = None
        self._gave: set[str] = set()  # events, frames: whatever was recorded of them

    def sequences(self) -> None:
        """What has to be done while the recorder runs; one that is not armed needs nothing."""

    def to_the_end(self, waits_for: str = "") -> None:
        """Until the recorder has ended; `waits_for` is told meanwhile.

        Raises:
            RecordingFailed: see `record`.
        """
        while self._look(waits_for):
            time.sleep(_POLL_S)

    def _look(self, waits_for: str = "") -> bool:
        """Hear what there is; False when the recorder has ended."""
        self._hear()
        workers = {w.name: w for w in self._s.statuses()}
        recorder = workers[RECORDER]
        if recorder.state in (CameraState.STOPPED, CameraState.FAULTED):
            self._hear()
            self._check_end(recorder)
            return False
        if recorder.state is not CameraState.STOPPING:
            self._check_cameras([w for w in workers.values() if w.name not in (RECORDER, also_msrbd.NAME)])
        # Of one that runs: why nothing comes.
        waiting = [w.detail for w in workers.values() if w.detail not in ("", "end")]
        self._watch(self._recorder.figures, waiting[0] if waiting else waits_for)
        return True

    def files_to_the_end(self, folders: tuple[Path, ...]) -> None:
        """Until the MS-RBD style files of all recordings are written; Ctrl+C gives those up that are not."""
        try:
            while True:
                self._hear()
                worker = next(w for w in self._s.statuses() if w.name == also_msrbd.NAME)
                told = len(self.result.written.lines) + len(self.result.written.problems)
                begun = sum((f / ABOUT).exists() for f in folders)
                if told >= begun or worker.state in (CameraState.STOPPED, CameraState.FAULTED):
                    break
                self._watch({}, "writing MS-RBD files; Ctrl+C leaves them out")
                time.sleep(_POLL_S)
            self._hear()
            if worker.state is CameraState.FAULTED:
                self.result.written.problems.append(f"no MS-RBD files: {self._s.last_error(also_msrbd.NAME)}")
        except (KeyboardInterrupt, SystemExit):
            self.result.interrupted = True
        told = len(self.result.written.lines) + len(self.result.written.problems)
        for folder in [f for f in folders if (f / ABOUT).exists()][told:]:
            self.result.written.problems.append(
                f"no MS-RBD files of {folder}; make them with: halfmirror export {folder} --to msrbd "
                f"-o {beside(folder)}"
            )

    def _hear(self) -> None:
        for m in self._s.poll():
            if m.topic == also_msrbd.WRITTEN:
                self.result.written.hear(m.body)
            else:
                self._recorder.hear(self._s, m)
            if m.topic == CAMERAS:
                self._meet(m.body)
        self.result.health = self._recorder.health

    def _meet(self, cameras: dict[str, Any]) -> None:
        """Cameras have told who they are: is the rig file, which goes into the recording, of these?"""
        for line in (*other_than(self._rig, cameras), *other_sizes(self._rig, cameras)):
            if line not in self._warned:  # a camera that comes back tells it again
                self._warned.add(line)
                self._said(line)

    def _check_cameras(self, cameras: list[WorkerStatus]) -> None:
        """A camera that fails before it has given anything ends the run; later it may come back."""
        self._gave |= {kind for kind in (EVENTS, FRAMES) if self._recorder.figures.get(kind)}
        gave = {w.name: self._gave & {w.name} if w.name in (EVENTS, FRAMES) else self._gave for w in cameras}
        faulted = [w for w in cameras if w.state is CameraState.FAULTED and not gave[w.name]]
        # One that is tried again and again is starting in between, for seconds where nothing answers.
        long_down = any(w.down_s > FAULT_PATIENCE_S for w in faulted)
        given_up = all(w.state is CameraState.FAULTED and not w.pid for w in cameras)
        now = time.monotonic()
        if not faulted:
            self._faulted = None
            if not given_up:
                return
        self._faulted = self._faulted or now
        if now - self._faulted > FAULT_PATIENCE_S or long_down or given_up:
            down = [w.told for w in cameras if w.state is CameraState.FAULTED]
            why = f"a camera failed ({'; '.join(down)})"
            if self._gave:
                raise RecordingFailed(f"{why}; what came until then is kept")
            raise RecordingFailed(f"nothing was recorded, because {why}")

    def _check_end(self, recorder: WorkerStatus) -> None:
        if recorder.state is CameraState.FAULTED:
            text = self._s.last_error(RECORDER)
            what = "what it wrote before is kept" if self._recorder.figures else "nothing was recorded"
            raise RecordingFailed(f"the recorder failed ({text}); {what}")
        folder = self._recorder.figures.get("folder")
        if folder is not None and folder not in self._recorder.health:
            raise RecordingFailed(
                f"the recorder was ended before it had written what waited for the disk; what is kept: "
                f"halfmirror recordings verify {folder}"
            )
        self._check_health()

    def _check_health(self) -> None:
        for health in self.result.health.values():
            if health["state"] == "stopped" and not self.result.interrupted:
                if not (health["frames"] or health["event_packets"]):
                    raise RecordingFailed(f"nothing was recorded: {health['message']}")
                left = health["losses"].get("disk items", 0)
                but = f"but for the last {left} packets and frames, " if left else ""
                raise RecordingFailed(
                    f"recording ended early: {health['message']}; {but}{health['frames']} frames and "
                    f"{health['events']} events before that are kept"
                )


class _ArmedRun(_Run):
    """Begins each sequence when it is told to."""

    def __init__(
        self,
        s: Supervisor,
        watch: Watch,
        said: Callable[[str], None],
        rig: Rig,
        what: RecordRequest,
        signal: Callable[[], bool],
    ) -> None:
        super().__init__(s, watch, said, rig)
        self._what, self._signal = what, signal

    def sequences(self) -> None:
        """One after the other; then the recorder is told to stop.

        Raises:
            RecordingFailed: see `record`.
        """
        folders = self._what.folders
        limits = self._what.limits
        endless = limits.frames is None and limits.seconds is None
        for n, folder in enumerate(folders):
            which = f" of sequence {n + 1} of {len(folders)}" if len(folders) > 1 else ""
            told = False
            while not (told and self._signal()):
                if not self._look(self._held(which)):
                    return
                if not told and self._recorder.figures.get("armed"):
                    self._said(f"armed; press Enter for the start{which}")
                    told = True
                time.sleep(_POLL_S)
            begun = self._s.command(
                RECORDER, BEGIN, begin_arguments(replace(self._what, folder=folder, sequences=1))
            )
            while str(folder.absolute()) not in self._recorder.health:
                if begun.done() and begun.exception() is not None:
                    raise RecordingFailed(str(begun.exception()))
                if endless and self._signal():
                    self._s.command(RECORDER, END)
                if not self._look("Enter ends it" if endless else ""):
                    return
                time.sleep(_POLL_S)
            self._check_health()
        self._s.stop_worker(RECORDER, FINISH_S)

    def _held(self, which: str) -> str:
        held = self._recorder.figures.get("held_s", 0.0)
        return f"armed, {held:.1f} of {self._what.preroll_s:g} s are kept; Enter is the start{which}"
