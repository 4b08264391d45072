"""The recorder's process: reads both rings, every item in order, never holds anybody up.

It takes a lease, packs the item onto memory of its own, gives the lease back, and hands the packed item to the
file's writing thread. The camera workers never wait for it: what it is too slow for is lost to it alone, and
counted.

An armed recorder waits for `BEGIN`, keeping the last seconds (`PreRoll`); after a recording it is armed again.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np

from capture.camera import CameraState
from capture.codec import StreamEnd
from capture.errors import CameraError, HalfmirrorError
from capture.link import WorkerLink
from capture.messages import Command
from capture.packets import EventPacket, Events, Frame, Inertial, TriggerEdges
from capture.ring import RingReader, RingRef, wait_any
from recordings.formats.own_about import About
from recordings.formats.own_chunks import draft, place
from recordings.recorder.camera_counts import CameraCounts
from recordings.recorder.preroll import PreRoll, Waiting, budget
from recordings.recorder.take import Limits, Take

READER = "recorder"
TOPIC, DONE, CAMERAS, COUNTERS = "recording", "recorded", "cameras", "counters"
BEGIN, END, ARM = "begin", "end", "arm"
ITEMS_A_TURN = 128
AHEAD_BYTES, AHEAD_ITEMS = 64 << 20, 256
"""Of each ring; about so much may be out of it and wait for older items of the other ring."""
DRAIN_S = 1.0
_REPORT_S = 0.2
_TOLD = ("model", "serial", "width", "height", "rate_hz")


@dataclass(frozen=True, slots=True)
class RecorderSpec:
    """What is to be recorded; picklable.

    Attributes:
        events, frames: rings to read, under the reader name `READER`.
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
        self._take: Take | None = None if spec.armed else self._begin(0)
        self._readers = (
            RingReader(spec.events, READER, start=spec.start),
            RingReader(spec.frames, READER, start=spec.start),
        )
        self._closing: list[_Closing] = []
        self._reported = 0.0
        self._ahead: tuple[deque[Waiting], deque[Waiting]] = (deque(), deque())
        self._owed = [0, 0]  # lost items of each ring that no recorded item has told of yet
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
            for c in self._closing:
                c.thread.join()
                self._tell(c)
        finally:
            for c in self._closing:  # also where the next one of several could not begin
                c.thread.join()
            for r in self._readers:
                r.close()

    def _record(self) -> None:
        while not self._over():
            for c in self.link.poll():
                self._obey(c)
            worked = self._turn()
            if self._take is not None:
                self._take.tick()
            self._end_when_told()
            self._report()
            if self._take is not None and self._take.file.full:
                time.sleep(0.002)
            elif not worked:
                wait_any(self._readers, 0.02)
        # What the cameras gave before this was told to stop belongs to it.
        until = time.monotonic() + DRAIN_S
        while self._take is not None and self.link.stopping and time.monotonic() < until:
            if self._take.complete or not self._turn():
                return

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
            there = sum(r.waiting for r in self._readers) + sum(len(q) for q in self._ahead)
            self._read(there, self._backlog.append)
            self._ending = True

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

    def _close_take(self, take: Take, why: str | None = None) -> None:
        """Begin to write what waits and to close; the rings are read on meanwhile."""
        if why is None:
            why = take.changed or ("" if self._whole(take) else "stopped before it was complete")
        self._closing.append(_Closing(take, why))

    def _tell(self, c: _Closing) -> None:
        if not c.told:
            c.told = True
            self.link.publish(DONE, {"folder": str(c.take.folder), "health": c.health})

    def _turn(self) -> bool:
        """Record what waits in both rings; False: nothing did, or the disk must catch up first.

        In the order in which the cameras wrote it, however late this comes: a replay must not see frames run
        ahead of their events because the recorder was held up for a moment.
        """
        if self._take is None:
            return self._read(ITEMS_A_TURN, self._held.add) if self._held.wanted else self._pass_over()
        caught_up = self._catch_up(self._take)
        if self._ending:
            return caught_up
        if not self._backlog:
            return self._read(ITEMS_A_TURN, self._record_one) or caught_up
        if sum(w.chunk.size for w in self._backlog) > 2 * budget():
            return caught_up
        return self._read(ITEMS_A_TURN, self._backlog.append) or caught_up

    def _catch_up(self, take: Take) -> bool:
        """Record of the pre-roll what the disk has room for."""
        worked = False
        while self._backlog and not (take.file.full or take.complete or take.file.stopped):
            self._record_one(self._backlog.popleft())
            worked = True
        return worked

    def _read(self, most: int, sink: Callable[[Waiting], None]) -> bool:
        """Hand on so many items in the order in which they were written; False: there were none."""
        worked = False
        for _ in range(most):
            if sink == self._record_one and (self._take is None or self._take.file.full or self._take.complete):
                break
            worked = self._fetch_ahead() or worked
            heads = [q for q in self._ahead if q]
            if not heads:
                break
            sink(min(heads, key=lambda q: q[0].written_ns).popleft())
            worked = True
        return worked

    def _fetch_ahead(self) -> bool:
        """Take an item out of each ring, though those before it in the other one are not recorded yet.

        A few frames fill their ring long before events fill theirs: when this process is behind with events,
        frames that waited in the ring for their turn would be lost.
        """
        worked = False
        for i, (reader, queue) in enumerate(zip(self._readers, self._ahead, strict=True)):
            while not queue and self._fetch(i, reader):  # one that was torn is followed by the next
                worked = True
            if 0 < len(queue) < AHEAD_ITEMS and len(queue) * queue[-1].chunk.size < AHEAD_BYTES:
                worked = self._fetch(i, reader) or worked
        return worked

    def _pass_over(self) -> bool:
        """Armed and nothing is to be kept: read on, so that what is recorded later begins with what comes."""
        worked, self._ahead, self._owed = False, (deque(), deque()), [0, 0]
        for reader in self._readers:
            for _ in range(ITEMS_A_TURN):
                lease = reader.next()
                if lease.item is None:
                    break
                lease.release()
                worked = True
        return worked

    def _fetch(self, i: int, reader: RingReader) -> bool:
        """Pack the next item of a ring; False: there is none."""
        lease = reader.next()
        item, error = lease.item, None
        if item is None:
            return False
        lost = item.lost_before + self._owed[i]
        try:
            packet = item.packet()
            chunk = draft(packet, None if self._take is None else self._take.watermark_us)
            packet = _without_data(packet)
        except HalfmirrorError as e:  # garbage, because it was overwritten meanwhile, or an unsound packet
            error = e
        if not lease.release():
            self._owed[i] = lost  # the ring itself counts this one with the next
        elif error is not None:
            self._owed[i] = lost + 1
        else:
            self._owed[i] = 0
            self._ahead[i].append(Waiting(i, item.host_ns, packet, chunk, lost))
        return True

    def _record_one(self, w: Waiting) -> None:
        assert self._take is not None
        self._items += 1
        self._ends += isinstance(w.packet, StreamEnd)
        if isinstance(w.packet, Frame):
            place(w.chunk, w.packet, self._take.watermark_for(w.packet))
        self._take.add(w.packet, w.chunk, w.lost)

    def _report(self) -> None:
        if time.monotonic() - self._reported < _REPORT_S:
            return
        self._reported = time.monotonic()
        for c in self._closing:
            if not c.thread.is_alive():
                self._tell(c)
        self._closing = [c for c in self._closing if not c.told]
        if self._take is None:
            figures: dict[str, Any] = {"armed": True, "held_s": self._held.seconds, "held": self._held.bytes}
            events, dropped = 0, 0
        else:
            figures = {
                **self._take.figures(), "armed": False, "sequence": self._n + 1, "sequences": len(self._folders)
            }  # fmt: skip
            events, dropped = figures["events"], sum(figures["losses"].values())
        self.link.publish(TOPIC, figures)
        self.link.status(
            CameraState.RUNNING, items=self._items, events=events,
            backlog=max(r.waiting for r in self._readers), dropped=dropped,
        )  # fmt: skip


class _Closing:
    """A recording that is being closed by a thread of its own."""

    def __init__(self, take: Take, why: str) -> None:
        self.take, self.told = take, False
        self.health: dict[str, Any] = {}
        self.thread = threading.Thread(target=self._close, args=(why,), name="closing", daemon=True)
        self.thread.start()

    def _close(self, why: str) -> None:
        self.health = self.take.finish(why)


def _without_data(packet: EventPacket | Frame | StreamEnd) -> EventPacket | Frame | StreamEnd:
    """The packet with its stamps, sizes and trigger edges, on memory of its own: what counting needs."""
    if isinstance(packet, Frame):
        return replace(packet, image=np.broadcast_to(np.uint8(0), packet.image.shape))
    if isinstance(packet, EventPacket):
        e, tr, n = packet.events, packet.triggers, len(packet.events)
        none = Events(
            np.broadcast_to(np.int64(0), n), np.broadcast_to(np.uint16(0), n),
            np.broadcast_to(np.uint16(0), n), np.broadcast_to(np.bool_(False), n), e.width, e.height,
        )  # fmt: skip
        imu = None if packet.imu is None else Inertial.of(packet.imu.t.copy(), packet.imu.values)
        edges = TriggerEdges(tr.t.copy(), tr.rising.copy())
        return replace(packet, events=none, triggers=edges, imu=imu)
    return packet
