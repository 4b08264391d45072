"""The recorder as a worker of a pipeline: what it is asked for, its plan, and what it tells."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

from app.sources import Source
from app.supervisor import FromWorker, Supervisor, WorkerPlan
from app.version import version
from capture.camera import CameraRole, CameraState
from capture.errors import HalfmirrorError, UsageError
from capture.registry import open_driver
from capture.ring import RingRef
from recordings.formats.own_about import About, RecordedCamera
from recordings.recorder import disk
from recordings.recorder.preroll import MAX_SECONDS
from recordings.recorder.take import Limits
from recordings.recorder.worker import CAMERAS, COUNTERS, DONE, TOPIC, RecorderSpec, run_recorder
from sync.rig import NO_CAMERA, Rig

RECORDER = "recorder"
FINISH_S = 60.0
"""What waits for a slow disk may take so long to get there."""


@dataclass(frozen=True, slots=True)
class RecordRequest:
    """What is to be recorded.

    Attributes:
        folder: the recording; with more than one sequence the folder that they lie in, as 001, 002, …
        sequences: how many, one after the other.
        limits: of each.
        split: of a data set, "" for none.
        network: in use meanwhile, "" for none.
        also_msrbd: write MS-RBD style files beside each recording while it is made (`app.recording` only).
        preroll_s: so much of what came before the start belongs to it; 0 … `MAX_SECONDS`.
    """

    folder: Path
    sequences: int = 1
    limits: Limits = field(default_factory=Limits)
    split: Literal["", "train", "test"] = ""
    network: str = ""
    preroll_s: float = 0.0
    also_msrbd: bool = False

    @property
    def folders(self) -> tuple[Path, ...]:
        """One for each recording."""
        if self.sequences == 1:
            return (self.folder,)
        return tuple(self.folder / f"{n + 1:03d}" for n in range(self.sequences))

    def check(self) -> None:
        """Refuse what would fail later.

        Raises:
            UsageError: the folder is there already and not empty, or its name is no UTF-8; sequences without an
                end; a pre-roll out of range or as long as the whole.
            DiskError: nothing can be written there.
        """
        if self.sequences > 1 and self.limits.frames is None and self.limits.seconds is None:
            raise UsageError("several sequences need --frames or --seconds, which say when one is complete")
        if not 0 <= self.preroll_s <= MAX_SECONDS:
            raise UsageError(f"a pre-roll of {self.preroll_s:g} s is out of range; give 0 to {MAX_SECONDS:g}")
        if self.preroll_s and self.limits.seconds is not None and self.limits.seconds <= self.preroll_s:
            raise UsageError(
                f"a recording of {self.limits.seconds:g} s cannot begin {self.preroll_s:g} s before its start; "
                "the pre-roll is part of it"
            )
        if not _is_text(str(self.folder)):
            raise UsageError(f"the name {str(self.folder)!a} is no UTF-8; give another name with -o")
        for folder in dict.fromkeys((self.folder, *self.folders)):
            try:
                there = folder.exists() and (not folder.is_dir() or any(folder.iterdir()))
            except OSError as e:
                raise disk.DiskError(f"{folder}: {e.strerror or e}; choose another place with -o") from e
            if there:
                raise UsageError(f"{folder} exists already; give another name with -o")


def _is_text(name: str) -> bool:
    """Whether it can be written into files and messages; the bytes of other names come as lone surrogates."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def check_cameras(source: Source, request: RecordRequest) -> None:
    """Refuse what one camera alone cannot give.

    Raises:
        UsageError: MS-RBD style files of one camera, a number of frames without a frame camera.
    """
    rig = source.rig
    if request.also_msrbd and not (rig.has_events and rig.has_frames):
        missing = "frame" if rig.has_events else "event"
        raise UsageError(
            f"{source.title}: has no {missing} camera; MS-RBD files need both, leave --also-msrbd out"
        )
    if request.limits.frames is not None and not rig.has_frames:
        raise UsageError(f"{source.title}: has no frame camera; give --seconds in the place of --frames")


def recorder_plan(source: Source, request: RecordRequest, events: RingRef, frames: RingRef) -> WorkerPlan:
    """The recorder's worker. It is not started again when it dies: its folder is there already."""
    about = about_of(source).model_copy(update={"network": request.network, "split": request.split})
    spec = RecorderSpec(
        events, frames, request.folders, about, request.limits, streams=_streams(source)
    )  # fmt: skip
    return _plan(spec)


def _streams(source: Source) -> int:
    return sum(len(c.roles) for c in source.cameras)


def armed_plan(source: Source, preroll_s: float, events: RingRef, frames: RingRef) -> WorkerPlan:
    """A recorder that waits for `begin_arguments`; it records what comes after its start, not what waits."""
    spec = RecorderSpec(
        events, frames, (), about_of(source), start="newest", armed=True, preroll_s=preroll_s,
        streams=_streams(source),
    )  # fmt: skip
    return _plan(spec)


def _plan(spec: RecorderSpec) -> WorkerPlan:
    return WorkerPlan(RECORDER, run_recorder, spec, joins_epoch=True, heartbeat_s=FINISH_S, budget=0)


def begin_arguments(request: RecordRequest) -> dict[str, Any]:
    """What an armed recorder is told with `BEGIN`."""
    limits = request.limits
    return {
        "folders": [str(f.absolute()) for f in request.folders], "frames": limits.frames,
        "seconds": limits.seconds, "reserve": limits.reserve, "network": request.network,
        "split": request.split,
    }  # fmt: skip


def about_of(source: Source) -> About:
    """What is known of the cameras before they are open."""
    rig = source.rig

    def camera(role: CameraRole, width: int, height: int) -> RecordedCamera:
        plan = next((c for c in source.cameras if role in c.roles), None)
        if plan is None:
            return RecordedCamera(name=NO_CAMERA)
        return RecordedCamera(name=plan.camera, width=width, height=height, settings=dict(plan.settings))

    return About(
        started=datetime.now(UTC).isoformat(timespec="milliseconds"), program=f"halfmirror {version()}",
        network="", split="",
        events=camera(CameraRole.EVENTS, rig.events.width, rig.events.height),
        frames=camera(CameraRole.FRAMES, rig.image.width, rig.image.height), rig=rig,
    )  # fmt: skip


def serials_told(cameras: dict[str, Any]) -> dict[str, str]:
    """Serial numbers as `Rig.other_cameras` takes them, out of a message of the topic `CAMERAS`."""
    roles = ((CameraRole.EVENTS, "events"), (CameraRole.FRAMES, "image"))
    told = {name: cameras.get(role.value) for role, name in roles}
    return {name: str(c.get("serial", "")) for name, c in told.items() if isinstance(c, dict)}


def other_sizes(rig: Rig, cameras: dict[str, Any]) -> list[str]:
    """One line for each camera whose pictures or events are not of the rig file's size; message as above."""
    out = []
    for role, what, entry in (
        (CameraRole.EVENTS, "events", rig.events),
        (CameraRole.FRAMES, "frames", rig.image),
    ):
        told = cameras.get(role.value)
        size = (told.get("width"), told.get("height")) if isinstance(told, dict) else (0, 0)
        if entry.camera != NO_CAMERA and all(size) and size != (entry.width, entry.height):
            out.append(
                f"{what} are {size[0]}×{size[1]}, but the rig {rig.name!r} says {entry.width}×{entry.height}: "
                "correct the rig file, else the recording cannot be replayed with it"
            )
    return out


def other_than(rig: Rig, cameras: dict[str, Any]) -> list[str]:
    """What a rig file does not have as the cameras tell it, a line each.

    Args:
        rig: of the rig file.
        cameras: a message of the topic `CAMERAS`, role → fields of `CameraInfo`.
    """
    capabilities = (cameras.get(CameraRole.FRAMES.value) or {}).get("capabilities") or {}
    return [
        *rig.other_cameras(serials_told(cameras)),
        *rig.other_shutter(str(capabilities.get("shutter", ""))),
    ]


def slow_disk(source: Source, folder: Path, seconds: float = 1.0) -> str:
    """Try the disk for about a second; one sentence when it is too slow for the rig, "" when it is not.

    Raises:
        DiskError: nothing can be written there.
    """
    place = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    have = disk.measure(place, seconds)
    # Three bytes a pixel at most; Bayer and gray take one.
    size = source.rig.image
    frame = size.width * size.height * 3 if source.rig.has_frames else 0
    return disk.too_slow(place, have, frame, _frame_rate(source))


def _frame_rate(source: Source) -> float:
    """Frames per second where a camera that is not open yet tells, else 0."""
    plan = next((c for c in source.cameras if CameraRole.FRAMES in c.roles), None)
    if plan is None:
        return 0.0
    try:
        driver, config = open_driver(plan.camera, plan.settings)
        return driver.frame_camera(config).info.rate_hz
    except HalfmirrorError:
        return 0.0


class RecordingState(StrEnum):
    """How far a recording is."""

    OFF = "off"
    BEGINNING = "beginning"  # asked for; the recorder's process may have to come up first
    RECORDING = "recording"
    FINISHING = "finishing"  # what waits is being written


class RecorderWatch:
    """What the recorder has told so far.

    Attributes:
        figures: see `Take.figures`; {} before the first. While armed only `armed`, `held_s` and `held` (bytes).
        health: of each recording that has ended since the last request, folder → the last `health.json`.
        state: of the one that was asked for last.
        problem: why that one failed, "" when it did not.
    """

    def __init__(self) -> None:
        self.figures: dict[str, Any] = {}
        self.health: dict[str, dict[str, Any]] = {}
        self.state = RecordingState.OFF
        self.problem = ""
        self._folders: tuple[str, ...] = ()
        self._cameras: dict[tuple[str, str], FromWorker] = {}
        self._told: dict[tuple[str, str], int] = {}  # worker, topic → process of the recorder that knows of it

    def begun(self, request: RecordRequest) -> None:
        """This one has been asked for."""
        self._folders = tuple(str(f.absolute()) for f in request.folders)
        self.health.clear()  # of those before, told by now; a session may make thousands
        self.state, self.problem = RecordingState.BEGINNING, ""

    def ended(self) -> None:
        """Nothing is recorded any more."""
        self.state = RecordingState.OFF

    def failed(self, why: str) -> None:
        """The one that was asked for came to nothing, or to a sudden end."""
        if self.state is not RecordingState.OFF:
            self.problem = why or "the recorder gives no reason"
        self.state = RecordingState.OFF

    @property
    def done(self) -> bool:
        """At least one recording of the last request has ended."""
        return bool(self.health)

    def hear(self, s: Supervisor, m: FromWorker) -> bool:
        """Take a message; True when it was about recording. Tells the recorder who the cameras are.

        What the cameras' drivers count is passed on as well; others want it, too.
        """
        if m.topic == TOPIC:
            self.figures = m.body
            if self.state is RecordingState.BEGINNING and not m.body.get("armed"):
                self.state = RecordingState.RECORDING
        elif m.topic == DONE:
            self.health[m.body["folder"]] = m.body["health"]
            if self._folders and str(Path(m.body["folder"]).absolute()) == self._folders[-1]:
                self.ended()
        elif m.topic in (CAMERAS, COUNTERS):
            self._cameras[m.worker, m.topic] = m
            self._told.pop((m.worker, m.topic), None)
        self.pass_on(s)
        return m.topic in (TOPIC, DONE, CAMERAS)

    def pass_on(self, s: Supervisor) -> None:
        """Tell a recorder that runs who the cameras are and what they count, if it has not been told."""
        recorder = next((w for w in s.statuses() if w.name == RECORDER), None)
        if recorder is None or recorder.state is not CameraState.RUNNING or recorder.pid is None:
            return
        for key, m in self._cameras.items():
            if self._told.get(key) != recorder.pid:
                self._told[key] = recorder.pid
                s.command(RECORDER, m.topic, m.body)
