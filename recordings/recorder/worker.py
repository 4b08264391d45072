"""The recorder's process: reads both rings, every item in order, never holds anybody up.

It takes a lease, packs the item onto memory of its own, gives the lease back, and hands the packed item to the
file's writing thread. The camera workers never wait for it: what it is too slow for is lost to it alone, and
counted.

An armed recorder waits for `BEGIN`, keeping the last seconds (`PreRoll`); after a recording it is armed again.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from capture.camera import CameraState
from capture.codec import StreamEnd
from capture.errors import CameraError, HalfmirrorError
from capture.link import WorkerLink
from capture.messages import Command
from capture.packets import Frame
from capture.ring import RingRef
from recordings.formats.own_about import About
from recordings.formats.own_chunks import place
from recordings.formats.own_events import compile_now
from recordings.recorder.camera_counts import CameraCounts
from recordings.recorder.closing import Closings
from recordings.recorder.incoming import ITEMS_A_TURN, Incoming
from recordings.recorder.preroll import PreRoll, Waiting, budget
from recordings.recorder.take import Limits, Take

TOPIC, DONE, CAMERAS, COUNTERS = "recording", "recorded", "cameras", "counters"
BEGIN, END, ARM = "begin", "end", "arm"
LAST_S, LAST_SHARE = 5.0, 0.4
"""Of the time in which this has to leave: so much, and no more than this share, is for closing the files."""
_REPORT_S = 0.2
_TOLD = ("model", "serial", "width", "height", "rate_hz")


@dataclass(frozen=True, slots=True)
class RecorderSpec:
    """What is to be recorded; picklable.

    Attributes:
        events, frames: rings to read, under the reader name `incoming.READER`.
        folders: one new folder for each recording, taken one after the other.
        about: what `recording.toml` says; `sequence` is filled in.
        limits: of each recording.
        start: "resume" begins with the oldest items in the rings (all, when they are new), "newest" with what
            comes.
        armed: record nothing before `BEGIN` is asked for, again and again; `folders` and `limits` come with it.
        preroll_s: armed: so much is kept of what came before.
        streams: how many cameras there are.
    """

    events: RingRef
    frames: RingRef
    folders: tuple[Path, ...]
    about: About
    limits: Limits = field(default_factory=Limits)
    start: Literal["resume", "newest"] = "resume"
    armed: bool = False
    preroll_s: float = 0.0
    streams: int = 2


def run_recorder(link: WorkerLink, spec: RecorderSpec) -> None:
    """Record until everything is there or told to stop. The target of the recorder's process.

    Takes the commands `CAMERAS` (role → fields of `CameraInfo`) and `COUNTERS` (role → `Camera.counters`, each
    time that they changed), which the camera workers publish under these topics. Publishes `TOPIC` (see
    `Take.figures`) a few times a second and `DONE` with the last health report of each recording.

    Armed it takes `BEGIN` (`folders`, `frames`, `seconds`, `reserve` as in `Limits`, `network`, `split`),
    `END`, and `ARM` (`seconds` of pre-roll from now on), and publishes `armed` and `held_s` while it waits.

    Raises:
        UsageError, DiskError: a folder exists already or cannot be written to.
    """
    _Recorder(link, spec).run()


class _Recorder:
    def __init__(self, link: WorkerLink, spec: RecorderSpec) -> None:
        self.link, self.spec = link, spec
        self._n, self._about = 0, spec.about
        self._folders, self._limits = spec.folders, spec.limits
        self._held = PreRoll(spec.preroll_s)
        self._counted: dict[str, dict[str, int]] = {}  # by the cameras' drivers, as last told
        compile_now()
        self._take: Take | None = None if spec.armed else self._begin(0)
        self._incoming = Incoming(spec.events, spec.frames, spec.start, self._watermark_us)
        self._closings = Closings()
        self._figures: dict[str, Any] = {}  # as last published
        self._written_s: float | None = None  # when the newest item recorded was written into its ring
        self._reported = 0.0
        self._ends = self._items = 0
        self._backlog: deque[Waiting] = deque()  # pre-roll that the disk has no room for yet, and what follows
        self._ending = False

    def _begin(self, n: int) -> Take:
        take = Take(self._folders[n], self._about_of(n), self._limits)
        # Who is not armed is there before the cameras are; later nobody knows what was counted before.
        take.counts = CameraCounts(self._counted, from_zero=not self.spec.armed)
        return take

    def _about_of(self, n: int) -> About:
        return self._about.model_copy(update={"sequence": n + 1, "sequences": max(1, len(self._folders))})

    def run(self) -> None:
        try:
            if self.link.wait_start() is not None:
                if self._take is not None:
                    self._take.cameras_start()
                self._record()
            if self._take is not None:
                self._close_take(self._take)
            self._until_closed()
        finally:
            self._closings.join()  # also where the next one of several could not begin
            self._incoming.close()

    def _record(self) -> None:
        while not self._over():
            for c in self.link.poll():
                self._obey(c)
            worked = self._turn()
            if self._take is not None:
                self._take.tick()
            self._end_when_told()
            self._report()
            if self._full:
                time.sleep(0.002)
            elif not worked:
                self._incoming.wait(0.02)
        if self._take is not None and self.link.stopping:
            self._drain(self._take)

    def _drain(self, take: Take) -> None:
        """What the cameras gave before this was told to stop belongs to it, as far as there is time."""
        if not self._ending:  # what belongs to one that was to end is taken already
            self._gather()
        until_s = self._written_s if self._ending else time.monotonic()
        while self._backlog and not (take.file.stopped or take.changed or self._late):
            take.behind(self._written_s)
            if take.complete:
                return
            worked = self._catch_up(take)
            take.tick()
            self._report()
            self._refuse_all()
            if not worked:
                time.sleep(0.002)
        if not self._backlog:  # the disk may have taken its time since: no camera was silent meanwhile
            take.behind(until_s)
        if not take.changed:
            take.give_up(self._backlog)

    def _until_closed(self) -> None:
        """Signs of life while what waits comes nearer to the disk; one that stands still gives none."""
        before = -1
        while self._closings.going:
            self._refuse_all()
            if self._late:
                self._closings.give_up()
            written = self._closings.written
            if written != before:
                before = written
                self._report_closing()
            self._closings.wait(0.05)
        self._tell()

    def _refuse_all(self) -> None:
        for c in self.link.poll():
            self.link.reply(c, error="the recorder is ending")

    @property
    def _late(self) -> bool:
        """What is not on the disk by now will not be: this is ended soon, whatever it does."""
        given = self.link.stop_given_s
        if not self.link.stopping or given is None:
            return False
        return time.monotonic() > self.link.stop_asked + given - min(LAST_S, LAST_SHARE * given)

    @property
    def _full(self) -> bool:
        """So much waits for the disk, also of recordings that have ended, that no more may be taken for now."""
        if self._take is None:
            return False
        f = self._take.file
        return f.queued + self._closings.queued >= f.limit

    def _obey(self, c: Command) -> None:
        try:
            if c.verb == CAMERAS:
                self._know(c)
            elif c.verb == COUNTERS:
                self._count(c)
            elif c.verb == BEGIN and self.spec.armed:
                self._begin_asked(c.arguments)
            elif c.verb == END and self.spec.armed:
                self._end_asked()
            elif c.verb == ARM and self.spec.armed:
                self._held.resize(float(c.arguments["seconds"]))
            else:
                raise CameraError(f"the recorder does not know the request {c.verb!r}")
        except HalfmirrorError as e:
            self.link.reply(c, error=str(e))
        else:
            self.link.reply(c)

    def _know(self, c: Command) -> None:
        """Who the cameras are, as they said when they were opened."""
        for role in ("events", "frames"):
            if role in c.arguments:
                told = {k: v for k, v in dict(c.arguments[role]).items() if k in _TOLD}
                camera = getattr(self._about, role).model_copy(update=told)
                self._about = self._about.model_copy(update={role: camera})
        # Who comes back with other settings is not who recorded this (`Take.changed`).
        if self._take is not None and not self._take.begun:
            self._take.describe(self._about_of(self._n))

    def _count(self, c: Command) -> None:
        """What the cameras' drivers have counted so far."""
        told = {role: {str(k): int(n) for k, n in dict(v).items()} for role, v in c.arguments.items()}
        self._counted.update(told)
        if self._take is not None:
            self._take.counts.told(told)

    def _begin_asked(self, a: dict[str, Any]) -> None:
        if self._take is not None:
            raise CameraError("the recorder is recording already; end that first")
        self._folders = tuple(Path(f) for f in a["folders"])
        self._limits = Limits(a.get("frames"), a.get("seconds"), a.get("reserve"))
        started = datetime.now(UTC).isoformat(timespec="milliseconds")
        told = {"started": started, "network": a.get("network", ""), "split": a.get("split", "")}
        self._about = self._about.model_copy(update=told)
        self._n = 0
        self._take = self._begin(0)
        self._take.preroll_s = self._held.seconds
        self._backlog = deque(self._held.give())

    def _end_asked(self) -> None:
        """What waits in the rings now belongs to the recording, nothing that comes later."""
        if self._take is not None and not self._ending:
            self._gather()
            self._ending = True

    def _gather(self) -> None:
        """Take what waits in the rings now."""
        self._incoming.read(self._incoming.waiting, self._backlog.append)

    def _end_when_told(self) -> None:
        take = self._take
        if self._ending and take is not None and (take.complete or not self._backlog):
            self._close_take(take)
            self._rearm()

    def _rearm(self) -> None:
        self._take, self._ending = None, False
        self._backlog.clear()

    def _whole(self, take: Take) -> bool:
        endless = self._limits.frames is None and self._limits.seconds is None
        last = self._n + 1 == len(self._folders)
        return last and (take.complete or endless) and self.link.epoch_ns is not None

    def _over(self) -> bool:
        """Nothing more is to be done; begins the next recording where one is complete."""
        take, ended = self._take, self._ends >= self.spec.streams and not self.spec.armed
        if take is not None:
            take.behind(self._written_s if self._waits else None)
        if self.link.stopping or ended:
            return True
        if take is None or not (take.file.stopped or take.changed or take.complete):
            return False
        if self._n + 1 == len(self._folders) or take.file.stopped or take.changed:
            if not self.spec.armed:
                return True
            self._close_take(take)
            self._rearm()
            return False
        self._close_take(take, "")
        self._n += 1
        self._take = self._begin(self._n)
        return False

    @property
    def _waits(self) -> bool:
        """Something has been read and not recorded, or could be read now."""
        return bool(self._backlog) or self._incoming.waiting > 0

    def _close_take(self, take: Take, why: str | None = None) -> None:
        """Begin to write what waits and to close; the rings are read on meanwhile."""
        if why is None:
            why = take.changed or ("" if self._whole(take) else "stopped before it was complete")
        self._closings.begin(take, why)

    def _tell(self) -> None:
        for folder, health in self._closings.ended():
            self.link.publish(DONE, {"folder": folder, "health": health})

    def _turn(self) -> bool:
        """Record what waits in both rings; False: nothing did, or the disk must catch up first.

        In the order in which the cameras wrote it, however late this comes: a replay must not see frames run
        ahead of their events because the recorder was held up for a moment.
        """
        if self._take is None:
            if self._held.wanted:
                return self._incoming.read(ITEMS_A_TURN, self._held.add)
            return self._incoming.pass_over()
        caught_up = self._catch_up(self._take)
        if self._ending:
            return caught_up
        if not self._backlog:
            return self._incoming.read(ITEMS_A_TURN, self._record_one, self._open) or caught_up
        if sum(w.chunk.size for w in self._backlog) > 2 * budget():
            return caught_up
        return self._incoming.read(ITEMS_A_TURN, self._backlog.append) or caught_up

    def _open(self) -> bool:
        """The next item may be recorded now."""
        return self._take is not None and not (self._full or self._take.complete)

    def _watermark_us(self) -> int | None:
        return None if self._take is None else self._take.watermark_us

    def _catch_up(self, take: Take) -> bool:
        """Record of the pre-roll what the disk has room for."""
        worked = False
        while self._backlog and not (self._full or take.complete or take.file.stopped):
            self._record_one(self._backlog.popleft())
            worked = True
        return worked

    def _record_one(self, w: Waiting) -> None:
        assert self._take is not None
        self._items += 1
        self._written_s = w.written_ns / 1e9
        self._ends += isinstance(w.packet, StreamEnd)
        if isinstance(w.packet, Frame):
            place(w.chunk, w.packet, self._take.watermark_for(w.packet))
        self._take.add(w.packet, w.chunk, w.lost, w.windows, given_s=self._written_s)

    def _report(self) -> None:
        if time.monotonic() - self._reported < _REPORT_S:
            return
        self._reported = time.monotonic()
        self._tell()
        if self._take is None:
            figures: dict[str, Any] = {"armed": True, "held_s": self._held.seconds, "held": self._held.bytes}
            events, dropped = 0, 0
        else:
            figures = {
                **self._take.figures(), "armed": False, "sequence": self._n + 1, "sequences": len(self._folders)
            }  # fmt: skip
            events, dropped = figures["events"], sum(figures["losses"].values())
        self._figures = figures
        self.link.publish(TOPIC, figures)
        self.link.status(
            CameraState.RUNNING, items=self._items, events=events,
            backlog=self._incoming.backlog, dropped=dropped,
        )  # fmt: skip

    def _report_closing(self) -> None:
        """Nothing is recorded any more; what waits is being written."""
        if time.monotonic() - self._reported < _REPORT_S:
            return
        self._reported = time.monotonic()
        queued = self._closings.queued
        self._tell()
        if self._figures and not self._figures["armed"]:
            self.link.publish(TOPIC, {**self._figures, "queued": queued})
        detail = f"writing what waits, {queued / 1e6:.0f} MB" if queued else ""
        self.link.status(CameraState.RUNNING, detail, items=self._items)
