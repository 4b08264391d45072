"""The recorder as a worker of a pipeline: what it is asked for, its plan, and what it tells."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from app.sources import Source
from app.supervisor import FromWorker, Supervisor, WorkerPlan
from app.version import version
from capture.camera import CameraRole, CameraState
from capture.errors import UsageError
from capture.ring import RingRef
from recordings.formats.own_about import About, RecordedCamera
from recordings.recorder import disk
from recordings.recorder.take import Limits
from recordings.recorder.worker import CAMERAS, DONE, TOPIC, RecorderSpec, run_recorder

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
    """

    folder: Path
    sequences: int = 1
    limits: Limits = field(default_factory=Limits)
    split: Literal["", "train", "test"] = ""
    network: str = ""

    @property
    def folders(self) -> tuple[Path, ...]:
        """One for each recording."""
        if self.sequences == 1:
            return (self.folder,)
        return tuple(self.folder / f"{n + 1:03d}" for n in range(self.sequences))

    def check(self) -> None:
        """Refuse what would fail later.

        Raises:
            UsageError: the folder is there already and not empty; sequences without an end.
            DiskError: nothing can be written there.
        """
        if self.sequences > 1 and self.limits.frames is None and self.limits.seconds is None:
            raise UsageError("several sequences need --frames or --seconds, which say when one is complete")
        for folder in dict.fromkeys((self.folder, *self.folders)):
            try:
                there = folder.exists() and (not folder.is_dir() or any(folder.iterdir()))
            except OSError as e:
                raise disk.DiskError(f"{folder}: {e.strerror or e}; choose another place with -o") from e
            if there:
                raise UsageError(f"{folder} exists already; give another name with -o")


def require_both(source: Source) -> None:
    """Refuse a rig of one camera: a recording is paced and placed by its events.

    Raises:
        UsageError: see above.
    """
    if not all(any(role in c.roles for c in source.cameras) for role in CameraRole):
        raise UsageError(f"{source.title}: has no event camera; a recording needs both cameras")


def recorder_plan(source: Source, request: RecordRequest, events: RingRef, frames: RingRef) -> WorkerPlan:
    """The recorder's worker. It is not started again when it dies: its folder is there already."""
    require_both(source)
    rig = source.rig

    def camera(role: CameraRole, width: int, height: int) -> RecordedCamera:
        plan = next(c for c in source.cameras if role in c.roles)
        return RecordedCamera(name=plan.camera, width=width, height=height, settings=dict(plan.settings))

    about = About(
        started=datetime.now(UTC).isoformat(timespec="milliseconds"), program=f"halfmirror {version()}",
        network=request.network, split=request.split,
        events=camera(CameraRole.EVENTS, rig.events.width, rig.events.height),
        frames=camera(CameraRole.FRAMES, rig.image.width, rig.image.height), rig=rig,
    )  # fmt: skip
    spec = RecorderSpec(events, frames, request.folders, about, request.limits)
    return WorkerPlan(RECORDER, run_recorder, spec, joins_epoch=True, heartbeat_s=FINISH_S, budget=0)


class RecorderWatch:
    """What the recorder has told so far.

    Attributes:
        figures: see `Take.figures`; {} before the first.
        health: of each recording that has ended, folder → the last `health.json`.
    """

    def __init__(self) -> None:
        self.figures: dict[str, Any] = {}
        self.health: dict[str, dict[str, Any]] = {}
        self._cameras: list[FromWorker] = []

    @property
    def done(self) -> bool:
        """At least one recording has ended."""
        return bool(self.health)

    def hear(self, s: Supervisor, m: FromWorker) -> bool:
        """Take a message; True when it was about recording. Tells the recorder who the cameras are."""
        if m.topic == TOPIC:
            self.figures = m.body
        elif m.topic == DONE:
            self.health[m.body["folder"]] = m.body["health"]
        elif m.topic == CAMERAS:
            self._cameras.append(m)
        self._pass_on(s)
        return m.topic in (TOPIC, DONE, CAMERAS)

    def _pass_on(self, s: Supervisor) -> None:
        if not self._cameras:
            return
        running = any(w.name == RECORDER and w.state is CameraState.RUNNING for w in s.statuses())
        while running and self._cameras:
            s.command(RECORDER, CAMERAS, self._cameras.pop(0).body)
