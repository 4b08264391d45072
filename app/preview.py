"""One or two cameras under a supervisor, for setting up a rig: views, figures and controls, nothing restored.

Like `app.live.LiveSession`, for one thread and never blocking; opening happens in the background, a camera that
is lost is opened again by its worker.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.preview_worker import READER, WIDEST, PreviewSpec, run_preview_worker
from app.session import WorkerStatus
from app.signals import start_tracker
from app.sources import CameraPlan, plans
from app.supervisor import Supervisor, WorkerPlan
from capture.camera import CameraRole, CameraState, Control
from capture.errors import CameraError
from capture.link import one_line
from capture.registry import RigFacts, open_driver
from capture.ring import RingLayout, RingReader, TornItem
from recordings.recorder.worker import CAMERAS
from sync.rig import NO_CAMERA, Clock

PREVIEW, WINDOW = "preview", "window"
FRAME_RING_BYTES = 64 << 20
VIEW_RING_BYTES = 3 * (WIDEST * 4096 * 3 // 2)


@dataclass(frozen=True, slots=True)
class Pick:
    """A camera for one of the two places, with its settings; the name is `NO_CAMERA` for none."""

    camera: str = NO_CAMERA
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def there(self) -> bool:
        """A camera was chosen."""
        return self.camera != NO_CAMERA


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """What both cameras see now.

    Attributes:
        image: (h, w, 3) RGB or (h, w) gray, at most `preview_worker.WIDEST` wide; None before the first frame.
        events: (h, w) uint8 on event pixels, 128 where none is; None before the first packet.
        overlay: `events` on the pixels of `image`, when it was asked for.
        counts: (C, 256) of the histogram; C is 0 before the first.
        figures: as `preview_worker` tells them: "events", "frames", "trigger", "lost".
    """

    image: NDArray[np.uint8] | None
    events: NDArray[np.uint8] | None
    overlay: NDArray[np.uint8] | None
    counts: NDArray[np.int64]
    figures: dict[str, Any]


class Preview:
    """Cameras that are looked at.

    Args:
        events, frames: which; at least one.
        clock: the rig's, for the trigger monitor.

    Attributes:
        problem: why nothing could be started, one line.
        infos: what each camera told of itself (fields of `CameraInfo`), by role.
        facts: what the driver knows of the rig, when one driver serves both cameras.
        note: what a worker said last.
    """

    def __init__(self, events: Pick, frames: Pick, clock: Clock | None = None) -> None:
        self.events, self.frames, self._clock = events, frames, clock or Clock()
        self.problem = ""
        self.note = ""
        self.infos: dict[str, dict[str, Any]] = {}
        self.facts: RigFacts | None = None
        self._plans: tuple[CameraPlan, ...] = ()
        self._supervisor: Supervisor | None = None
        self._reader: RingReader | None = None
        self._guard = threading.Lock()
        self._stopped = False
        self._opening: threading.Thread | None = None

    # -- life ------------------------------------------------------------------------------------------------

    def start(self, after: threading.Thread | None = None) -> None:
        """Open the cameras, in the background, once `after` has ended: it may be closing the same ones."""
        start_tracker()  # here, where signals can be set: the supervisor is made in the other thread
        self._opening = threading.Thread(
            target=self._open, args=(after,), name="opening preview", daemon=True
        )  # fmt: skip
        self._opening.start()

    def _open(self, after: threading.Thread | None) -> None:
        if after is not None:
            after.join()
        try:
            if not (self.events.there or self.frames.there):
                raise CameraError("choose an event camera, an image camera, or both")
            found = plans(
                self.events.camera, self.events.settings, self.frames.camera, self.frames.settings
            )  # fmt: skip
            if self.events.camera == self.frames.camera:
                with contextlib.suppress(CameraError):  # it will be told when it cannot be opened either
                    driver, config = open_driver(self.events.camera, self.events.settings)
                    self.facts = driver.rig_facts(config)
            self._assemble(found)
        except Exception as e:  # on a thread of its own: whatever it is, it must be seen
            self.problem = one_line(e)

    def _assemble(self, found: tuple[CameraPlan, ...]) -> None:
        from app.live import EVENT_RING_BYTES, camera_worker  # half a second: not before a window is there

        supervisor = Supervisor()
        try:
            events, frames, views = supervisor.create_rings(
                RingLayout("events", EVENT_RING_BYTES, 2048, readers=(READER,)),
                RingLayout("frames", FRAME_RING_BYTES, 64, readers=(READER,)),
                RingLayout("views", VIEW_RING_BYTES, 16, readers=(WINDOW,)),
            )
            for plan in found:
                supervisor.add(camera_worker(plan, events, frames))
            spec = PreviewSpec(events, frames, views, self._clock)
            supervisor.add(WorkerPlan(PREVIEW, run_preview_worker, spec, joins_epoch=True))
            reader = RingReader(views, WINDOW)
        except BaseException:
            supervisor.stop()
            raise
        with self._guard:
            if self._stopped:
                reader.close()
                supervisor.stop()
                return
            self._plans, self._supervisor, self._reader = found, supervisor, reader
            supervisor.start()

    def stop(self) -> None:
        """End everything, within two seconds. Idempotent."""
        with self._guard:
            self._stopped = True
            supervisor, self._supervisor = self._supervisor, None
            reader, self._reader = self._reader, None
        if self._opening is not None and supervisor is None:
            self._opening.join(1.0)
        if reader is not None:
            reader.close()
        if supervisor is not None:
            supervisor.stop()

    # -- looking ---------------------------------------------------------------------------------------------

    def poll(self) -> View | None:
        """The newest view since the last call, or None; hears what the workers say."""
        supervisor, reader = self._supervisor, self._reader
        if supervisor is None or reader is None:
            return None
        for m in supervisor.poll():
            if m.topic == CAMERAS:
                self.infos.update({role: dict(info) for role, info in m.body.items()})
            elif m.topic == "note":
                self.note = str(m.body.get("text", ""))
        try:
            item = reader.read_newest()
        except TornItem:
            return None
        if item is None:
            return None
        image, events, overlay, counts = item.arrays
        return View(
            image if image.size else None, events if events.size else None, overlay if overlay.size else None,
            counts, item.header,
        )  # fmt: skip

    def status(self, role: CameraRole) -> WorkerStatus | None:
        """How the worker of this camera stands; None where there is none (yet)."""
        return self._status_of(self._worker_of(role))

    def looking(self) -> WorkerStatus | None:
        """How the worker stands that makes views of what the cameras give; None where there is none (yet)."""
        return self._status_of(PREVIEW)

    def _status_of(self, name: str) -> WorkerStatus | None:
        if self._supervisor is None or not name:
            return None
        return next((s for s in self._supervisor.statuses() if s.name == name), None)

    def _worker_of(self, role: CameraRole) -> str:
        return next((p.worker for p in self._plans if role in p.roles), "")

    # -- asking ----------------------------------------------------------------------------------------------

    def set(self, role: CameraRole, values: Mapping[str, Any]) -> Future[dict[str, Any]]:
        """Change settings by name; the answer is all settings as they are then."""
        return self._ask(self._worker_of(role), "set", dict(values), role.value)

    def controls(self, role: CameraRole) -> Future[dict[str, Any]]:
        """Controls as they are now, by name (fields of `Control`)."""
        return self._ask(self._worker_of(role), "controls", {}, role.value)

    def overlay(self, matrix: NDArray[np.float64] | None) -> None:
        """Have the events laid on the image by this map, event pixel → image pixel; None: no more."""
        m = None if matrix is None else [float(v) for v in matrix.ravel()]
        self._ask(PREVIEW, "overlay", {"matrix": m})

    def forget_peaks(self) -> None:
        """Begin the search for focus anew."""
        self._ask(PREVIEW, "peaks", {})

    def set_clock(self, clock: Clock) -> None:
        """Another clock relation, for the trigger monitor."""
        self._clock = clock
        self._ask(PREVIEW, "clock", clock.model_dump())

    def _ask(
        self, worker: str, verb: str, arguments: dict[str, Any], target: str = ""
    ) -> Future[dict[str, Any]]:
        if self._supervisor is None or not worker:
            future: Future[dict[str, Any]] = Future()
            future.set_exception(CameraError("no camera is open"))
            return future
        try:
            return self._supervisor.command(worker, verb, arguments, target=target)
        except Exception as e:  # a value that cannot travel
            future = Future()
            future.set_exception(e)
            return future


def controls_of(found: Mapping[str, Any]) -> tuple[Control, ...]:
    """Controls out of what a worker answered or told; what is none is left out."""
    out = []
    for c in found.values():
        if isinstance(c, Mapping) and "name" in c and "value" in c:
            known = {k: c[k] for k in Control.__dataclass_fields__ if k in c}
            out.append(Control(**{**known, "choices": tuple(c.get("choices") or ())}))
    return tuple(out)


def faulted(status: WorkerStatus | None) -> str:
    """Why a camera gives nothing, "" while it does or may soon."""
    return status.detail if status is not None and status.state is CameraState.FAULTED else ""
