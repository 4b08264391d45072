"""A running pipeline: camera workers and the restore worker under one supervisor, seen as a `Session`."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from app.asking import Asking
from app.figures import Figures
from app.patience import LIMIT_S, SLOW_S, no_answer
from app.picture_reader import VIEWER, PictureReader, room_for
from app.publishing import PUBLISH, PUBLISHER, PublishSpec, checked_address, run_publish_worker
from app.recorder import RecorderWatch, RecordRequest, other_than
from app.room import frame_ring_bytes, picture_bytes
from app.session import NetworkChoice, Picture, SessionStatus, Timeline, WorkerStatus
from app.session_recorder import SessionRecorder
from app.signals import start_tracker
from app.sources import REPLAY, CameraPlan, Source, SourceRequest, resolve, stated
from app.supervisor import Supervisor, WorkerPlan
from app.timelines import TimelineWhenAsked
from capture.camera import CameraRole, CameraState
from capture.errors import UsageError
from capture.link import one_line
from capture.ring import RingLayout, RingRef
from capture.worker import CameraWorkerSpec, run_camera_worker
from inference import models
from inference.network_options import NetworkOptions
from inference.worker import READER, RestoreWorkerSpec, run_restore_worker
from recordings.recorder.incoming import READER as RECORDER_READER
from recordings.recorder.worker import CAMERAS, COUNTERS
from recordings.recording import OpenOptions

RESTORE, SOURCE = "restore", "source"
EVENT_RING_BYTES = 64 << 20  # half a second of 10 Mev/s
FRAME_SLOTS, LIVE_FRAME_SLOTS = 12, 36  # more where a recorder may read along, which must lose none
KILLED_HINT = "is the machine out of memory? choose a smaller network"
NOTE_S = 6.0
OPENING_GRACE_S = 1.0
_REPLAY_VERBS = {"pause", "play", "step", "seek", "speed", "loop"}


def make_session(
    source: str | Path,
    network: str,
    *,
    options: dict[str, Any] | None = None,
    replay_speed: float = 1.0,
    loop: bool = False,
    settings: Mapping[str, Any] | None = None,
    device: str = "auto",
    residual: bool = False,
    said: OpenOptions | None = None,
    record: RecordRequest | None = None,
    publish: str | None = None,
) -> LiveSession:
    """A session, not started yet.

    Args:
        source: a camera name that serves a whole rig (`simulated:night`), a rig file, or a recording.
        network: name of the restorer.
        options: of the restorer.
        replay_speed: of a recording: 0.1 … 8, 0 or infinity for as fast as possible (nothing is passed over).
        loop: a recording begins again at its end.
        settings: of the simulated rig.
        device: "auto", "cpu", "cuda".
        residual: measure the re-blur residual of every exposure, as a figure of its picture.
        said: what is stated about a recording that it may not tell.
        record: what the rig gives is recorded as well, from its first item on.
        publish: address at which the pictures are published, see `app.publishing.checked_address`.

    Raises:
        UsageError: an unknown source, network, speed or address; a recording cannot be recorded.
    """
    request = SourceRequest.of(source, settings)
    if request.is_recording and said is not None:
        stated_now = {"exposure_us": said.exposure_us, "geometry": said.geometry, "rig": said.rig}
        more = {k: v for k, v in stated_now.items() if v is not None}
        request = replace(request, settings={**request.settings, **more})
    models.check(network, options)
    if math.isinf(replay_speed):
        replay_speed = 0.0
    if record is not None and request.is_recording:
        raise UsageError(f"{request.text} is a recording already; it cannot be recorded")
    publish = None if publish is None else checked_address(publish)
    return LiveSession(request, network, options or {}, replay_speed, loop, device, residual, record, publish)


class LiveSession:
    """See `app.session.Session`. All methods are for one thread; none blocks but `stop` (up to 2 s)."""

    def __init__(
        self,
        request: SourceRequest,
        network: str,
        options: dict[str, Any],
        speed: float,
        loop: bool,
        device: str,
        residual: bool = False,
        record: RecordRequest | None = None,
        publish: str | None = None,
    ) -> None:
        self.title = request.text
        self.is_recording, self.elsewhere = request.is_recording, False
        self._request, self._network = request, network
        self._options = NetworkOptions(network, options)
        self._speed, self._loop, self._device = speed, loop, device
        self._residual, self._publish = residual, publish
        self._latents: tuple[float, ...] = (0.5,)  # with which the restore worker begins
        self._restoring: RestoreWorkerSpec | None = None
        self._recorder = SessionRecorder(record)
        self._source: Source | None = None
        self._supervisor: Supervisor | None = None
        self._reader: PictureReader | None = None
        self._opening: threading.Thread | None = None
        self._opening_since = time.monotonic()
        self._problem = ""
        self._has_events, self._no_events = True, ""  # as far as the source is known yet
        self._stopped = False
        self._guard = threading.Lock()
        self._timeline: TimelineWhenAsked | None = None
        self._asking = Asking(self._say)
        self._requests = 0
        self._note = ("", 0.0)
        self._figures = Figures()

    # --- life -----------------------------------------------------------------------------------------

    def start(self) -> None:
        """Open the source and start the workers, in the background."""
        start_tracker()  # here, where signals can be set: the supervisor is made in the other thread
        self._opening_since = time.monotonic()
        self._opening = threading.Thread(target=self._open, name="opening", daemon=True)
        self._opening.start()

    def _open(self) -> None:
        try:
            placed = models.needs_events(self._network)
            source = resolve(self._request, speed=self._speed, loop=self._loop, placed=placed)
            self._has_events, self._no_events = source.rig.has_events, source.no_events
            if not source.rig.has_frames:
                raise UsageError(f"{source.title}: has no frame camera, so there is nothing to show; record it")
            models.require_events(self._network, self._has_events)
            self._assemble(source)
        except Exception as e:  # on a thread of its own: whatever it is, it must be seen
            self._problem = one_line(e)
            return
        if source.problems:
            self._say("; ".join(source.problems))
        if source.recording is not None:
            said = stated(self._request.settings)
            self._timeline = TimelineWhenAsked(source.recording, said, lambda: self._stopped)

    def _assemble(self, source: Source) -> None:
        rig = source.rig
        # As fast as possible means every item: the camera worker then waits for the restore worker.
        every_item = not source.live and self._speed == 0.0
        lossless = (READER,) if every_item else ()
        readers = (READER, RECORDER_READER) if source.live else (READER,)
        slots = LIVE_FRAME_SLOTS if source.live else FRAME_SLOTS
        supervisor = Supervisor()
        try:
            watching = (VIEWER,) if self._publish is None else (VIEWER, PUBLISHER)
            room = room_for(len(self._latents), picture_bytes(source))
            size = frame_ring_bytes(source, slots)
            events, frames, pictures = supervisor.create_rings(
                RingLayout("events", EVENT_RING_BYTES, 2048, readers=readers, lossless=lossless),
                RingLayout("frames", size, 64, readers=readers, lossless=lossless),
                RingLayout("pictures", room, 64, readers=watching),
            )
            for plan in source.cameras:
                supervisor.add(camera_worker(plan, events, frames))
            spec = RestoreWorkerSpec(
                rig, self._network, events, frames, pictures, self._options.of(self._network),
                self._device, self._latents,
                every_item=every_item, live=source.live, residual=self._residual,
                streams=sum(len(c.roles) for c in source.cameras),
            )  # fmt: skip
            supervisor.add(
                WorkerPlan(RESTORE, run_restore_worker, spec, joins_epoch=True, killed_hint=KILLED_HINT)
            )
            if self._publish is not None:
                published = PublishSpec(pictures, rig, self._publish, self.title)
                supervisor.add(WorkerPlan(PUBLISH, run_publish_worker, published))
            self._recorder.assemble(supervisor, source, events, frames)
            reader = PictureReader(pictures, rig)
        except BaseException:
            supervisor.stop()
            raise
        with self._guard:
            if self._stopped:
                reader.close()
                supervisor.stop()
                return
            self._source, self._supervisor, self._reader = source, supervisor, reader
            self._restoring = spec
            supervisor.start()

    def stop(self) -> None:
        """Stop the workers and remove what they shared. Idempotent."""
        with self._guard:
            self._stopped = True
            supervisor, self._supervisor = self._supervisor, None
            reader, self._reader = self._reader, None
        if self._opening is not None and supervisor is None:
            # It may be making rings just now; it removes them when it finds that it was stopped.
            self._opening.join(OPENING_GRACE_S)
        if reader is not None:
            reader.close()
        if supervisor is not None:
            supervisor.stop()

    def arm_recorder(self, preroll_s: float, *, ready: bool = False) -> None:
        """See `Session.arm_recorder`."""
        self._recorder.arm(preroll_s, ready)

    def begin_recording(self, request: RecordRequest) -> None:
        """See `Session.begin_recording`."""
        self._recorder.begin(request)

    def finish_recording(self) -> None:
        """See `Session.finish_recording`."""
        self._recorder.finish()

    @property
    def recording(self) -> RecorderWatch:
        """See `Session.recording`."""
        return self._recorder.watch

    def disk_trial(self, folder: Path) -> str:
        """See `Session.disk_trial`."""
        return self._recorder.disk_trial(folder)

    # --- pictures and figures -------------------------------------------------------------------------

    def poll(self) -> Picture | None:
        """See `Session.poll`."""
        if self._reader is None:
            return None
        if self._asking.waits:
            self._asking.send_early(self._supervisor)
        p = self._reader.poll()
        if p is not None and not p.held and p.residual is None:
            self._figures.shown(p)
        return p

    def status(self) -> SessionStatus:
        """See `Session.status`."""
        supervisor, reader = self._supervisor, self._reader
        if supervisor is None or reader is None:
            opening = self._status_of_opening()
            return self._figures.status((opening,), message=opening.detail)
        for m in supervisor.poll():
            if m.topic == RESTORE:
                self._take_report(supervisor, m.body)
            elif self._recorder.watch.hear(supervisor, m):
                if m.topic == CAMERAS:
                    self._meet(m.body)
            elif m.topic == COUNTERS:
                self._figures.cameras.update(m.body)
            elif m.topic == "note":
                self._say(str(m.body.get("text", "")))
        self._asking.settle()
        self._recorder.look_after(supervisor)
        workers = tuple(supervisor.statuses())
        self._asking.send_early(supervisor)
        for w in workers:
            if w.name == REPLAY and w.state is CameraState.RUNNING:
                self._asking.meet(supervisor, REPLAY, w.pid)
            report = supervisor.report(w.name)
            if report is not None:
                self._figures.stage_fps[w.name] = report.fps
        self._figures.take_rings(reader, supervisor.ring("frames").stats().reader(READER))
        ended = self._ended(workers)
        return self._figures.status(workers, message=self._message(workers), ended=ended)

    def _take_report(self, supervisor: Supervisor, report: dict[str, Any]) -> None:
        """Of the restore worker. Where the GPU was lost its successor is told the network wanted last."""
        self._figures.take_report(report)
        if report.get("device_lost"):
            self._asking.keep(RESTORE, "network", {"name": str(report["wanted"])})
            return
        self._asking.renew(supervisor, RESTORE, int(report.get("incarnation", 0)))
        self._asking.forget(RESTORE, "network")  # it may be what ends this one

    def _status_of_opening(self) -> WorkerStatus:
        """Given up by itself it is not: what answers after all is shown."""
        going_s = time.monotonic() - self._opening_since
        late = no_answer(self.title, going_s) if going_s > SLOW_S else ""
        detail = self._problem or late or f"opening {self.title}"
        if self._stopped:
            return WorkerStatus(SOURCE, CameraState.STOPPED, detail)
        failed = self._problem or going_s > LIMIT_S
        return WorkerStatus(SOURCE, CameraState.FAULTED if failed else CameraState.STARTING, detail)

    def _meet(self, cameras: dict[str, Any]) -> None:
        """Cameras have told who they are: is the rig file of these?"""
        if self._source is not None:
            for line in other_than(self._source.rig, cameras):
                self._say(line)
                self._figures.caution(line)

    def _ended(self, workers: tuple[WorkerStatus, ...]) -> bool:
        if not self.is_recording or not any(w.name == REPLAY and w.detail == "end" for w in workers):
            return False
        reader = self._reader
        return reader is not None and self._figures.waiting == 0

    def _message(self, workers: tuple[WorkerStatus, ...]) -> str:
        text, until = self._note
        if text and time.monotonic() < until:
            return text
        # Else an old picture would stand there, and nothing but a dot would tell why.
        if down := [w.told for w in workers if w.state is CameraState.FAULTED and w.detail]:
            return "; ".join(down)
        restore = self._figures.restore
        if restore.get("message") or restore.get("error"):
            return str(restore.get("message") or restore.get("error"))
        if restore.get("loading"):
            return f"loading {restore['loading']}"
        starting = [w.detail for w in workers if w.state is CameraState.STARTING and w.detail]
        cameras = {c.worker for c in self._source.cameras} - {REPLAY} if self._source is not None else set()
        running = [w for w in workers if w.state is CameraState.RUNNING and w.name in cameras]
        return next(iter([*starting, *(w.detail for w in running if w.detail)]), "")

    def _say(self, text: str) -> None:
        self._note = (text, time.monotonic() + NOTE_S)

    def timeline(self) -> Timeline | None:
        """See `Session.timeline`."""
        return None if self._timeline is None else self._timeline.get()

    def networks(self) -> list[NetworkChoice]:
        """See `Session.networks`."""
        last = self._figures.restore.get("restore_ms", {})
        return [
            NetworkChoice(c.name, c.takes, c.weights, c.usable, c.reason, c.any_latent, last.get(c.name))
            for c in models.choices(
                events=self._has_events,
                no_events=self._no_events,
                random_weights=bool(self._options.of(self._network).get("random_weights")),
            )
        ]

    # --- wishes ---------------------------------------------------------------------------------------

    def select_network(self, name: str) -> None:
        """See `Session.select_network`. Where the first network could not run on this source, this one may.

        A restarted worker is not told again, unless it had lost its GPU: the network may be what killed it. A
        worker that does not run begins anew with this one.
        """
        if self._no_events and not self._problem and models.needs_events(name):
            # The restore worker knows of no events: it would say that the source has none.
            try:
                models.require_events(name, False, self._no_events)
            except UsageError as e:
                self._say(str(e))
                return
        self._network = name
        if self._again():
            return
        supervisor, restoring = self._supervisor, self._restoring
        if supervisor is None or restoring is None or not _given_up(supervisor):
            self._ask(RESTORE, "network", {"name": name})
            return
        options = self._options.of(name)
        models.check(name, options, events=self._has_events)
        self._restoring = replace(restoring, network=name, options=options, latents=self._latents)
        supervisor.set_payload(RESTORE, self._restoring)
        supervisor.restart(RESTORE)

    def _again(self) -> bool:
        """Open a source that could not be opened once more; False: nothing stood in the way."""
        if not self._problem or self._stopped:
            self._opening_since = time.monotonic()  # of one that has not answered: it is waited for once more
            return False
        self._problem = ""
        self.start()
        return True

    def set_latents(self, latents: tuple[float, ...]) -> None:
        """See `Session.set_latents`. Set before the start, it holds from the first picture on."""
        self._latents = latents
        wish = {"latents": list(latents)}
        self._asking.keep(RESTORE, "latents", wish)
        self._ask(RESTORE, "latents", wish)

    def hold(self, ordinal: int | None) -> None:
        """See `Session.hold`."""
        self._ask(RESTORE, "hold", {"ordinal": ordinal})

    def request_latents(self, latents: tuple[float, ...], *, again: bool = False) -> None:
        """See `Session.request_latents`."""
        if self._reader is None:
            return
        self._requests += not again
        self._reader.request = self._requests
        self._ask(RESTORE, "request", {"number": self._requests, "latents": list(latents)})

    def command(self, verb: str, **arguments: Any) -> None:
        """See `Session.command`."""
        if verb == "restart":
            if not self._again() and self._supervisor is not None:
                self._supervisor.restart(str(arguments["worker"]))
        elif verb == "set":
            self._options.change(self._network, arguments)
            self._ask(RESTORE, "set", arguments)
        elif verb == "residual":
            self._asking.keep(RESTORE, "residual", arguments)
            self._ask(RESTORE, "residual", arguments)
        elif verb in _REPLAY_VERBS:
            if verb == "step":
                arguments = {"n": arguments.get("frames", 1)}
            if verb in ("pause", "play"):
                self._asking.forget(REPLAY, {"pause": "play", "play": "pause"}[verb])
            if verb in ("pause", "play", "speed", "loop"):
                self._asking.keep(REPLAY, verb, arguments)
            self._ask(REPLAY, verb, arguments)
        else:
            role = str(arguments.pop("target", CameraRole.FRAMES.value))
            self._ask(self._worker_of(role), verb, arguments, target=role)

    def _worker_of(self, role: str) -> str:
        cameras = self._source.cameras if self._source else ()
        return next((c.worker for c in cameras if CameraRole(role) in c.roles), role)

    def _ask(self, worker: str, verb: str, arguments: dict[str, Any], *, target: str = "") -> None:
        if not self._stopped:
            self._asking.ask(self._supervisor, worker, verb, arguments, target)


def _given_up(supervisor: Supervisor) -> bool:
    return any(w.name == RESTORE and w.state is CameraState.FAULTED for w in supervisor.statuses())


def camera_worker(plan: CameraPlan, events: RingRef, frames: RingRef) -> WorkerPlan:
    """The worker of a camera, which writes into one ring or both."""
    spec = CameraWorkerSpec(
        plan.camera,
        dict(plan.settings),
        events=events if CameraRole.EVENTS in plan.roles else None,
        frames=frames if CameraRole.FRAMES in plan.roles else None,
    )
    return WorkerPlan(plan.worker, run_camera_worker, spec, joins_epoch=True)
