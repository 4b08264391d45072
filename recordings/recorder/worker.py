"""The recorder's process: reads both rings, every item in order, never holds anybody up.

It takes a lease, packs the item onto memory of its own, gives the lease back, and hands the packed item to the
file's writing thread. The camera workers never wait for it: what it is too slow for is lost to it alone, and
counted.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from capture.camera import CameraState
from capture.codec import StreamEnd
from capture.errors import HalfmirrorError
from capture.link import WorkerLink
from capture.messages import Command
from capture.packets import EventPacket, Events, Frame, TriggerEdges
from capture.ring import RingReader, RingRef, wait_any
from recordings.formats.own_about import About
from recordings.formats.own_chunks import Draft, draft, place
from recordings.recorder.take import Limits, Take

READER = "recorder"
TOPIC, DONE, CAMERAS = "recording", "recorded", "cameras"
ITEMS_A_TURN = 128
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
    """

    events: RingRef
    frames: RingRef
    folders: tuple[Path, ...]
    about: About
    limits: Limits = field(default_factory=Limits)
    start: Literal["resume", "newest"] = "resume"


def run_recorder(link: WorkerLink, spec: RecorderSpec) -> None:
    """Record until everything is there or told to stop. The target of the recorder's process.

    Takes the command `CAMERAS` (role → fields of `CameraInfo`). Publishes `TOPIC` (see `Take.figures`) a few
    times a second and `DONE` with the last health report of each recording.

    Raises:
        UsageError, DiskError: a folder exists already or cannot be written to.
    """
    _Recorder(link, spec).run()


class _Recorder:
    def __init__(self, link: WorkerLink, spec: RecorderSpec) -> None:
        self.link, self.spec = link, spec
        self._n, self._about = 0, spec.about
        self._take = self._begin(0)
        self._readers = (
            RingReader(spec.events, READER, start=spec.start),
            RingReader(spec.frames, READER, start=spec.start),
        )
        self._closing: list[_Closing] = []
        self._reported = 0.0
        self._next: list[_Waiting | None] = [None, None]
        self._owed = [0, 0]  # lost items of each ring that no recorded item has told of yet
        self._ends = self._items = 0

    def _begin(self, n: int) -> Take:
        return Take(self.spec.folders[n], self._about_of(n), self.spec.limits)

    def _about_of(self, n: int) -> About:
        return self._about.model_copy(update={"sequence": n + 1, "sequences": len(self.spec.folders)})

    def run(self) -> None:
        try:
            if self.link.wait_start() is not None:
                self._record()
            self._close_take("" if self._whole else "stopped before it was complete")
            for c in self._closing:
                c.thread.join()
                self._tell(c)
        finally:
            for r in self._readers:
                r.close()

    def _record(self) -> None:
        while not self._over():
            for c in self.link.poll():
                self._obey(c)
            worked = self._turn()
            self._take.tick()
            self._report()
            if self._take.file.full:
                time.sleep(0.002)
            elif not worked:
                wait_any(self._readers, 0.02)
        # What the cameras gave before this was told to stop belongs to it.
        until = time.monotonic() + DRAIN_S
        while self.link.stopping and not self._take.complete and time.monotonic() < until:
            if not self._turn():
                return

    def _obey(self, c: Command) -> None:
        """`CAMERAS`: who the cameras are, as they said when they were opened."""
        if c.verb != CAMERAS:
            self.link.reply(c, error=f"the recorder does not know the request {c.verb!r}")
            return
        for role in ("events", "frames"):
            if role in c.arguments:
                told = {k: v for k, v in dict(c.arguments[role]).items() if k in _TOLD}
                camera = getattr(self._about, role).model_copy(update=told)
                self._about = self._about.model_copy(update={role: camera})
        self._take.describe(self._about_of(self._n))
        self.link.reply(c)

    @property
    def _whole(self) -> bool:
        limits = self.spec.limits
        endless = limits.frames is None and limits.seconds is None
        last = self._n + 1 == len(self.spec.folders)
        return last and (self._take.complete or endless) and self.link.epoch_ns is not None

    def _over(self) -> bool:
        """Nothing more is to be done; begins the next recording where one is complete."""
        ended = self._ends >= 2
        if self.link.stopping or self._take.file.stopped or ended:
            return True
        if not self._take.complete:
            return False
        if self._n + 1 == len(self.spec.folders):
            return True
        self._close_take()
        self._n += 1
        self._take = self._begin(self._n)
        return False

    def _close_take(self, why: str = "") -> None:
        """Begin to write what waits and to close; the rings are read on meanwhile."""
        self._closing.append(_Closing(self._take, why))

    def _tell(self, c: _Closing) -> None:
        if not c.told:
            c.told = True
            self.link.publish(DONE, {"folder": str(c.take.folder), "health": c.health})

    def _turn(self) -> bool:
        """Record what waits in both rings; False: nothing did, or the disk must catch up first.

        In the order in which the cameras wrote it, however late this comes: a replay must not see frames run
        ahead of their events because the recorder was held up for a moment.
        """
        worked = False
        for _ in range(ITEMS_A_TURN):
            if self._take.file.full or self._take.complete:
                break
            for i, reader in enumerate(self._readers):
                while self._next[i] is None and self._fetch(i, reader):
                    worked = True
            first = min((w for w in self._next if w is not None), key=lambda w: w.written_ns, default=None)
            if first is None:
                break
            self._next[first.ring] = None
            self._record_one(first)
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
            chunk = draft(packet, self._take.watermark_us)
            packet = _without_data(packet)
        except HalfmirrorError as e:  # garbage, because it was overwritten meanwhile, or an unsound packet
            error = e
        if not lease.release():
            self._owed[i] = lost  # the ring itself counts this one with the next
        elif error is not None:
            self._owed[i] = lost + 1
        else:
            self._owed[i] = 0
            self._next[i] = _Waiting(i, item.host_ns, packet, chunk, lost)
        return True

    def _record_one(self, w: _Waiting) -> None:
        self._items += 1
        self._ends += isinstance(w.packet, StreamEnd)
        if isinstance(w.packet, Frame):
            place(w.chunk, w.packet, self._take.watermark_us)
        self._take.add(w.packet, w.chunk, w.lost)

    def _report(self) -> None:
        if time.monotonic() - self._reported < _REPORT_S:
            return
        self._reported = time.monotonic()
        for c in self._closing:
            if not c.thread.is_alive():
                self._tell(c)
        figures = {**self._take.figures(), "sequence": self._n + 1, "sequences": len(self.spec.folders)}
        self.link.publish(TOPIC, figures)
        self.link.status(
            CameraState.RUNNING, items=self._items, events=figures["events"],
            backlog=max(r.waiting for r in self._readers), dropped=sum(figures["losses"].values()),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Waiting:
    """An item that has been read and packed; `written_ns`: when its camera's worker wrote it."""

    ring: int
    written_ns: int
    packet: EventPacket | Frame | StreamEnd
    chunk: Draft
    lost: int


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
        return replace(packet, events=none, triggers=TriggerEdges(tr.t.copy(), tr.rising.copy()))
    return packet
