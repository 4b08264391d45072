"""The process that synchronises and restores: reads the two cameras' rings, writes pictures into a third."""

from __future__ import annotations

import dataclasses
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from capture.camera import CameraState
from capture.codec import StreamEnd
from capture.cores import usable_cores
from capture.errors import HalfmirrorError, UsageError
from capture.link import WorkerLink, one_line
from capture.messages import Command
from capture.packets import EventPacket, Frame
from capture.rate import Rate
from capture.ring import Item, ItemTooLarge, RingReader, RingRef, RingWriter, wait_any
from inference.lost_device import DeviceLostError
from inference.memory import keep_freed_memory
from inference.outcomes import Result, refusal_of
from inference.restore_stage import RestoreStage
from inference.restorers.base import Restored
from inference.restorers.picture import picture_of
from sync.exposure import AlignedExposure, RefusedExposure
from sync.rig import CameraEntry, Rig

KIND_PICTURE = "picture"
READER = "restore"
LONGEST_PART_LATENTS = 5
"""A request for many instants is answered in parts of this many pictures, so that the ring stays small."""
FEWER_EVENTS = 500_000
"""So many are drawn of an exposure whose events would not fit into the ring."""

ITEMS_A_TURN = 128
PREPARING, PREPARING_S = "preparing ", 600.0
"""A network that takes longer to get ready (weights, compiling, a rehearsal) hangs: no more signs of life."""


@dataclass(frozen=True, slots=True)
class RestoreWorkerSpec:
    """What the restore worker is to do; picklable.

    Attributes:
        rig: the rig.
        network, options, device: of the restorer.
        events, frames: rings to read, under the reader name `READER`.
        pictures: ring to write.
        latents: instants at which every new exposure is restored.
        every_item: nothing is superseded (the camera workers wait for this one).
        live: the source is paced by the world.
        residual: measure the re-blur residual of every exposure.
        streams: how many of the two rings are written to; a source without events writes one.
        threads: of a network; None: most of this machine's cores. OpenCV has one.
    """

    rig: Rig
    network: str
    events: RingRef
    frames: RingRef
    pictures: RingRef
    options: Mapping[str, Any] = field(default_factory=dict)
    device: str = "auto"
    latents: tuple[float, ...] = (0.5,)
    every_item: bool = False
    live: bool = True
    residual: bool = False
    streams: int = 2
    threads: int | None = None


def most_cores() -> int:
    """Threads of a live network: all cores but one, which capture and the window share; at least two of two.

    Beyond eight a picture of a live stream is too small to be divided further.
    """
    cores = usable_cores()
    return min(8, max(min(2, cores), cores - 1))


def run_restore_worker(link: WorkerLink, spec: RestoreWorkerSpec) -> None:
    """Run until told to stop. The target of the restore worker's process.

    Raises:
        UsageError: unknown network or option: no use to retry.
        StalledError, DeviceLostError: only a new process restores anything again.
    """
    # torch reads it when it is first imported, which EDI never does: importing it takes seconds of a start.
    os.environ.setdefault("OMP_NUM_THREADS", str(spec.threads or most_cores()))
    cv2.setNumThreads(1)
    keep_freed_memory()  # before the stage's threads, which else get arenas of their own
    _RestoreWorker(link, spec).run()


class _RestoreWorker:
    def __init__(self, link: WorkerLink, spec: RestoreWorkerSpec) -> None:
        self.link, self.spec = link, spec
        link.status(CameraState.STARTING, f"{PREPARING}{spec.network}")
        self._pictures = PictureWriter(spec.pictures, link.incarnation)
        # A restarted worker begins with what comes now: what its predecessor missed is shown as lost, not
        # restored late. Where every item counts the writers wait, and are to see soon that somebody is there.
        newest = link.incarnation > 0 and not spec.every_item
        readers = None if newest else self._attach("resume")
        self.stage = self._prepared(
            lambda: RestoreStage(
                spec.rig, spec.network, self._pictures.publish, options=spec.options, device=spec.device,
                latents=spec.latents, every_item=spec.every_item, live=spec.live, residual=spec.residual,
            )
        )  # fmt: skip
        self._events, self._frames = readers or self._attach("newest")
        # What predecessors read and never answered is lost; the supervising side works out how much that is.
        self._read_before = self._frames.stats().read
        if link.incarnation:
            self.stage.sync.events_lost(1)
        self._rates: deque[tuple[float, int]] = deque()  # events so far
        self._rate, self._told = Rate(), 0  # of restored exposures
        self._n_events = self._lost_events = self._lost_frames = 0
        self._ended = self._frame_ends = 0
        self._fitted: set[str] = set()  # streams that were of the rig's size so far
        self._first_frame_read = False
        self._error = ""
        self._next: list[Item | None] = [None, None]  # read and not handed on yet

    def _attach(self, start: Literal["resume", "newest"]) -> tuple[RingReader, RingReader]:
        events, frames = self.spec.events, self.spec.frames
        return RingReader(events, READER, start=start), RingReader(frames, READER, start=start)

    def _prepared(self, make: Callable[[], RestoreStage]) -> RestoreStage:
        """What a network needs before its first picture may take minutes; signs of life go on meanwhile.

        Raises:
            Whatever `make` raises.
        """
        made: Future[RestoreStage] = Future()

        def work() -> None:
            try:
                made.set_result(make())
            except BaseException as e:  # for the thread that waits
                made.set_exception(e)

        began = time.monotonic()
        threading.Thread(target=work, name="prepare", daemon=True).start()
        while not made.done():
            if time.monotonic() - began < PREPARING_S:
                self.link.beat(CameraState.STARTING, f"{PREPARING}{self.spec.network}")
            wait([made], timeout=0.1)
        return made.result()

    def run(self) -> None:
        self.stage.start()
        if self.link.wait_start("waiting for the cameras") is None:
            self._close()
            return
        try:
            while not self.link.stopping:
                for c in self.link.poll():
                    self._obey(c)
                worked = False if self.stage.full else self._turn()
                self.stage.tick(time.monotonic_ns() if self.spec.live else None)
                if self.link.beat_due:
                    self._report()
                if not worked:
                    self._rest()
        except DeviceLostError:
            self._report()  # the next process is to be told what was wanted
            raise
        finally:
            self._close()

    def _close(self) -> None:
        self.stage.stop()
        self._events.close()
        self._frames.close()
        self._pictures.close()

    def _rest(self) -> None:
        if self.stage.full:
            time.sleep(0.002)
        else:
            wait_any((self._events, self._frames), 0.02)

    def _turn(self) -> bool:
        """Take what waits in both rings, in the order in which it was written, however late this comes.

        Held up for a moment, this process must not see frames run ahead of their events: it would refuse them.
        """
        for n in range(ITEMS_A_TURN):
            if not self._feed_next():
                return n > 0
            if self.stage.full:
                return True
        return True

    def _feed_next(self) -> bool:
        """Hand on the older one of the two items that are next; False: there is none."""
        for i, reader in enumerate((self._events, self._frames)):
            if self._next[i] is None:
                self._next[i] = reader.read()
        first = min((i for i in self._next if i is not None), key=lambda i: i.host_ns, default=None)
        if first is None:
            return False
        is_frame = first is self._next[1]
        self._next[is_frame] = None
        feed = self._feed_frames if is_frame else self._feed_events
        try:
            feed(first.packet(), first.lost_before)
        except UsageError:
            raise  # of another rig: no item will ever fit
        except HalfmirrorError as e:  # one unsound item must not end the stream; it is shown
            self._error = one_line(e)
        return True

    def _feed_events(self, packet: EventPacket | Frame | StreamEnd, lost: int) -> None:
        if lost:
            self._lost_events += lost
            self.stage.sync.events_lost(lost)
        if isinstance(packet, EventPacket):
            self._check_size("events", packet.events.width, packet.events.height, self.spec.rig.events)
            self._n_events += len(packet.events)
            self.stage.feed_events(packet)
        else:
            self._end()

    def _feed_frames(self, packet: EventPacket | Frame | StreamEnd, lost: int) -> None:
        # What went by before this process read its first frame leaves no jump in what it reads.
        if lost and self._first_frame_read:
            self._lost_frames += lost
            self.stage.sync.frames_lost(lost)
        self._first_frame_read = True
        if isinstance(packet, Frame):
            self._check_size("frames", packet.width, packet.height, self.spec.rig.image)
            self.stage.feed_frame(packet)
        else:
            self._frame_ends += 1
            self._end()

    def _check_size(self, what: str, width: int, height: int, stated: CameraEntry) -> None:
        """Another size than the rig's does not mend itself: the whole worker stops with the reason."""
        if (width, height) == (stated.width, stated.height):
            self._fitted.add(what)
            return
        if what in self._fitted:
            raise UsageError(
                f"{what} are {width}×{height} now and were {stated.width}×{stated.height}: another camera has "
                "come back, or one with other settings; bring back the rig's and start this worker again, or "
                "open the rig file of this one"
            )
        raise UsageError(
            f"{what} are {width}×{height}, but the rig {self.spec.rig.name!r} says "
            f"{stated.width}×{stated.height}; use the rig file of these cameras"
        )

    def _end(self) -> None:
        """All streams end; only when the last one has are the last exposures settled."""
        self._ended += 1
        if self._ended % self.spec.streams == 0:
            self.stage.end()

    def _obey(self, command: Command) -> None:
        a = command.arguments
        stage = self.stage
        verbs: dict[str, Callable[[], object]] = {
            "latents": lambda: stage.set_latents(a["latents"]),
            "hold": lambda: {"held": stage.hold(a["ordinal"])},
            "request": lambda: stage.request(a["number"], a["latents"]),
            "network": lambda: stage.select(a["name"]),
            "set": lambda: stage.set_options(a),
            "residual": lambda: stage.watch_residual(bool(a["on"])),
        }
        try:
            if command.verb not in verbs:
                raise UsageError(f"restore worker: unknown request {command.verb!r}; known: {', '.join(verbs)}")
            result = verbs[command.verb]()
        except (HalfmirrorError, KeyError, ValueError, TypeError) as e:
            self.link.reply(command, error=one_line(e))
            return
        self.link.reply(command, result if isinstance(result, dict) else {})

    def _report(self) -> None:
        now = time.monotonic()
        s = self.stage.status()
        restored = s["stage"]["restored"]
        if restored != self._told:
            self._rate.tick(now, max(0, restored - self._told))
            self._told = restored
        self._rates.append((now, self._n_events))
        while len(self._rates) > 2 and now - self._rates[0][0] > 2.0:
            self._rates.popleft()
        t, n = self._rates[0]
        span = max(now - t, 1e-3)
        detail = s["message"] or self._error
        figures = {
            "items": restored, "events": self._n_events, "dropped": s["stage"]["superseded"],
            "fps": self._rate.hz(now), "event_rate_hz": (self._n_events - n) / span,
            "backlog": s["stage"]["waiting"],
        }  # fmt: skip
        self.link.status(CameraState.RUNNING, detail, **figures)
        more = {
            "incarnation": self.link.incarnation, "frames_read_before": self._read_before,
            "event_rate_hz": figures["event_rate_hz"], "lost_event_packets": self._lost_events,
            "lost_frames": self._lost_frames, "frame_ends": self._frame_ends, "error": self._error,
        }  # fmt: skip
        self.link.publish("restore", {**s, **more})


class PictureWriter:
    """Writes results as ring items of kind `KIND_PICTURE`, arrays as of `picture_parts`.

    Each header tells how many restored exposures of the stream came before it (`restored_before`), so that a
    reader that was too slow knows how many of them it has missed: items of the ring are refused ones, parts and
    answers as well.
    """

    def __init__(self, ref: RingRef, incarnation: int = 0) -> None:
        self._writer = RingWriter(ref)
        self._incarnation = incarnation
        self._restored = 0

    def publish(self, result: Result) -> None:
        """Write one result; a long answer goes out in parts that the reader joins."""
        header, blurred, sharp, others = picture_parts(result)
        header["restored_before"] = self._restored
        self._restored += result.restored is not None and not result.held and result.residual is None
        total = len(sharp)
        if total <= LONGEST_PART_LATENTS:
            self._write(header, blurred, sharp, others, 0, 1)
            return
        parts = -(-total // LONGEST_PART_LATENTS)
        for i in range(parts):
            chunk = sharp[i * LONGEST_PART_LATENTS : (i + 1) * LONGEST_PART_LATENTS]
            self._write(header, blurred, chunk, others, i, parts)

    def _write(
        self, header: dict[str, Any], blurred: NDArray[np.uint8], sharp: NDArray[np.uint8],
        others: tuple[NDArray[Any], ...], part: int, parts: int,
    ) -> None:  # fmt: skip
        stamped = {
            **header,
            "incarnation": self._incarnation,
            "part": part,
            "parts": parts,
            "ready_host_ns": time.monotonic_ns(),
        }
        try:
            self._writer.write(KIND_PICTURE, stamped, (blurred, sharp, *others))
        except ItemTooLarge:
            # Events are there to be drawn; the picture is what counts.
            residual, *events = others
            step = -(-len(events[0]) // FEWER_EVENTS)
            fewer = [np.ascontiguousarray(a[:: max(1, step)]) for a in events]
            self._writer.write(KIND_PICTURE, stamped, (blurred, sharp, residual, *fewer))

    def close(self) -> None:
        """Let another writer in."""
        self._writer.close()


def picture_parts(
    result: Result,
) -> tuple[dict[str, Any], NDArray[np.uint8], NDArray[np.uint8], tuple[NDArray[Any], ...]]:
    """Header and arrays of a result.

    Returns:
        The header; blurred (H, W[, 3]); sharp (L, H, W[, 3]) with L = 0 for none; and the map of the re-blur
        residual as of `ReblurResidual.coded`, (0, 0) for none, with t, x, y, p of the exposure's events.
    """
    o, r = result.exposure, result.restored
    blurred = picture_of(o.frame)
    sharp = np.empty((0, *blurred.shape), np.uint8) if r is None else r.images
    if isinstance(o, AlignedExposure):
        ev = o.exposure_events()
        events: tuple[NDArray[Any], ...] = (ev.t, ev.x, ev.y, ev.p)
    else:
        events = tuple(np.empty(0, d) for d in (np.int64, np.uint16, np.uint16, np.bool_))
    found = result.residual
    residual = np.empty((0, 0), np.uint8) if found is None else found.coded()
    x = o.exposure
    refusal = result.failure
    if isinstance(o, RefusedExposure) and r is None and not refusal:
        refusal = refusal_of(o)
    header = {
        "ordinal": o.ordinal,
        "epoch": o.frame.epoch,
        "start_us": None if x is None else x.start_us,
        "end_us": None if x is None else x.end_us,
        "at_us": o.at_us if isinstance(o, RefusedExposure) else o.exposure.end_us,
        "source": "" if x is None else x.source.value,
        "uncertainty_us": 0.0 if x is None else float(x.uncertainty_us),
        "refusal": refusal,
        "end_host_ns": result.exposure_end_host_ns,
        "aligned_host_ns": o.ready_ns,
        "held": result.held,
        "request": result.request,
        "residual": None if found is None else found.rms,
        "restored": None if r is None else _restored_header(r),
    }
    return header, blurred, sharp, (residual, *events)


def _restored_header(r: Restored) -> dict[str, Any]:
    plain = {f.name: getattr(r, f.name) for f in dataclasses.fields(r) if f.name != "images"}
    return {**plain, "figures": {k: float(v) for k, v in r.figures.items()}}
