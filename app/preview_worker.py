"""Both cameras as they are, for setting up a rig: reads their rings, measures, and writes views for a window.

Nothing is restored here. Every item is read, in order, so that the trigger monitor misses no edge; views and
figures are made of the newest, at most `VIEWS_HZ` times a second, and the window takes the newest of them.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.focus import PeakHold, event_sharpness, events_wanted, frame_sharpness
from capture.camera import CameraState
from capture.errors import CameraError
from capture.histogram import Histogram, histogram
from capture.link import WorkerLink, one_line
from capture.messages import Command
from capture.packets import EventPacket, Events, Frame
from capture.rate import Rate
from capture.ring import RingError, RingReader, RingRef, RingWriter, TornItem, wait_any
from inference.restorers.picture import picture_of
from sync.rig import Clock
from sync.trigger_monitor import TriggerMonitor

READER, VIEW = "preview", "view"
VIEWS_HZ = 25.0
QUIET_HZ = 5.0
"""How often a view comes when no camera gives anything: its rates fall to 0 then."""
MEASURES_HZ = 8.0
READ_S = 0.03
JOINED = 4096
"""Events that smaller packets are joined to."""
BEHIND = 64
"""Packets that wait: from then on only every fourth one's events are looked at, until it has caught up."""
COPY_NS = 100_000_000
"""A frame is copied when none waits behind it, or after so long."""
WIDEST = 1280
"""Pixels of a view's longer side; larger frames are halved."""
WIDEST_LAID = 800
"""The same where events are laid on it, which the window blends: event pixels are larger than the image's."""
DECAY_US = 30_000.0
"""After so long an event has faded to 1/e."""
NOTHING = 128
"""Value of a pixel that has no event: 255 is brighter now, 0 is darker now."""


@dataclass(frozen=True, slots=True)
class PreviewSpec:
    """What is read, and where views go; picklable.

    Attributes:
        events, frames: rings of the cameras, under the reader name `READER`.
        views: ring that is written.
        clock: the rig's, for the trigger monitor.
        decay_us: of events.
    """

    events: RingRef
    frames: RingRef
    views: RingRef
    clock: Clock = field(default_factory=Clock)
    decay_us: float = DECAY_US


def run_preview_worker(link: WorkerLink, spec: PreviewSpec) -> None:
    """Look until told to stop. The target of the preview worker's process.

    Takes the commands `overlay` (`matrix`: nine numbers of event pixel → image pixel, none for no overlay),
    `peaks` (forget the best sharpness) and `clock` (fields of the rig's clock).
    """
    _PreviewWorker(link, spec).run()


class _Rate:
    """Things a second over the last second, by their own times."""

    def __init__(self) -> None:
        self._seen: deque[tuple[int, int]] = deque()
        self.newest_ns = 0

    def add(self, at_us: int, n: int) -> None:
        self._seen.append((at_us, n))
        self.newest_ns = time.monotonic_ns()
        while self._seen and not -1_000_000 <= self._seen[0][0] - at_us <= 0:
            self._seen.popleft()

    def hz(self, now_ns: int) -> float:
        """0 once nothing has come for a second."""
        if len(self._seen) < 2 or now_ns - self.newest_ns > 1_000_000_000:
            return 0.0
        span = self._seen[-1][0] - self._seen[0][0]
        return 1e6 * (sum(n for _, n in self._seen) - self._seen[0][1]) / max(1, span)


class _Surface:
    """The newest event of each pixel, fading: what `view` shows."""

    def __init__(self, width: int, height: int, decay_us: float) -> None:
        self.width, self.height = width, height
        self._t = np.full(width * height, -(2**62), np.int64)
        self._p = np.zeros(width * height, np.bool_)
        # Steps of 1/64 of four decays; what is older has faded.
        self._step = max(1, round(decay_us / 64))
        weight = np.exp(-np.arange(257) / 64.0)
        weight[256] = 0
        self._on = (NOTHING + 0.5 + 127 * weight).astype(np.uint8)
        self._off = (NOTHING + 0.5 - 128 * weight).clip(0).astype(np.uint8)

    def add(self, e: Events) -> None:
        # Sorted by time: of repeated pixels the last assignment, the newest event, stays.
        index = e.y.astype(np.int32) * self.width + e.x
        self._t[index] = e.t
        self._p[index] = e.p

    def forget(self) -> None:
        self._t[:] = -(2**62)

    def view(self, now_us: int) -> NDArray[np.uint8]:
        age = np.clip((now_us - self._t) // self._step, 0, 256)
        return np.where(self._p, self._on[age], self._off[age]).reshape(self.height, self.width)


class NewestEvents:
    """The newest `wanted` events or a few more, for the focus."""

    def __init__(self) -> None:
        self._parts: deque[Events] = deque()
        self.wanted = self.count = 0

    def start(self, wanted: int) -> None:
        """Begin anew with these."""
        self._parts.clear()
        self.wanted, self.count = wanted, 0

    def add(self, e: Events) -> None:
        """Take the next ones; they are copied, since views of a ring would be overwritten."""
        self._parts.append(Events(e.t.copy(), e.x.copy(), e.y.copy(), e.p.copy(), e.width, e.height))
        self.count += len(e)
        # Of a quiet scene packets hold a few events each, and would be tens of thousands.
        while len(self._parts) > 1 and len(self._parts[-2]) <= min(len(self._parts[-1]) * 2, JOINED):
            last = self._parts.pop()
            self._parts.append(Events.concatenate((self._parts.pop(), last)))
        while self.count - len(self._parts[0]) > self.wanted:
            self.count -= len(self._parts.popleft())

    def all(self) -> Events | None:
        """All of them, None while there are fewer than wanted."""
        return Events.concatenate(self._parts) if 0 < self.wanted <= self.count else None


class _PreviewWorker:
    def __init__(self, link: WorkerLink, spec: PreviewSpec) -> None:
        self.link, self.spec = link, spec
        # From the very first item on, which tells the matching of edges most.
        start: Literal["resume", "newest"] = "newest" if link.incarnation else "resume"
        self._events = RingReader(spec.events, READER, start=start)
        self._frames = RingReader(spec.frames, READER, start=start)
        self._writer = RingWriter(spec.views)
        self._monitor = TriggerMonitor(spec.clock)
        self._event_rate, self._frame_rate = _Rate(), Rate(1.0)
        self._frame_came_ns = 0
        self._event_focus, self._frame_focus = PeakHold(), PeakHold()
        self._surface: _Surface | None = None
        self._recent = NewestEvents()
        self._until_us, self._epoch = 0, 0
        self._frame: Frame | None = None
        self._histogram: Histogram | None = None
        self._matrix: NDArray[np.float64] | None = None
        self._fresh = False
        self._lost = 0
        self._views = 0

    def run(self) -> None:
        try:
            if self.link.wait_start() is None:
                return
            self._look()
        finally:
            self._events.close()
            self._frames.close()
            self._writer.close()

    def _look(self) -> None:
        shown = measured = 0.0
        while not self.link.stopping:
            for c in self.link.poll():
                self._obey(c)
            self.link.beat(CameraState.RUNNING, items=self._views)
            self._read()
            now = time.monotonic()
            if now - measured >= 1 / MEASURES_HZ:
                measured = now
                self._measure()
            if now - shown >= 1 / (VIEWS_HZ if self._fresh else QUIET_HZ):
                shown = now
                self._show()
            wait_any((self._events, self._frames), 0.01)

    def _obey(self, c: Command) -> None:
        try:
            if c.verb == "overlay":
                m = c.arguments.get("matrix")
                self._matrix = None if m is None else np.array(m, np.float64).reshape(3, 3)
            elif c.verb == "peaks":
                self._event_focus.reset()
                self._frame_focus.reset()
            elif c.verb == "clock":
                self._monitor = TriggerMonitor(Clock.model_validate(c.arguments))
            else:
                raise CameraError(f"the preview does not know the request {c.verb!r}")
        except Exception as e:  # whatever a request does, the views go on
            self.link.reply(c, error=one_line(e))
            return
        self._fresh = True
        self.link.reply(c)

    # -- reading ---------------------------------------------------------------------------------------------

    def _read(self) -> None:
        """Everything that waits, of each camera a while at most, so that no flood stops frames or views."""
        for reader in (self._frames, self._events):
            deadline = time.monotonic() + READ_S
            while reader.waiting and time.monotonic() < deadline:
                try:
                    with reader.next() as item:
                        if item is None:
                            break
                        if item.lost_before:
                            self._lost += item.lost_before
                            self._monitor.lost()
                        packet = item.packet()
                        if isinstance(packet, EventPacket):
                            seen = reader.waiting < BEHIND or item.sequence % 4 == 0
                            self._take_events(packet, seen=seen)
                        elif isinstance(packet, Frame):
                            self._take_frame(packet, newest=reader.waiting <= 1)
                except TornItem:
                    self._lost += 1
                    self._monitor.lost()

    def _take_events(self, p: EventPacket, *, seen: bool) -> None:
        """The next packet; `seen` when its events, too, are to be looked at, not its edges only."""
        e = p.events
        if self._surface is None or (self._surface.width, self._surface.height) != (e.width, e.height):
            self._surface = _Surface(e.width, e.height, self.spec.decay_us)
            self._recent.start(events_wanted(e.width, e.height))
        if p.epoch != self._epoch or p.complete_until_us < self._until_us:
            self._epoch = p.epoch
            self._surface.forget()
            self._recent.start(self._recent.wanted)
        if not seen:
            self._recent.start(self._recent.wanted)  # with a hole in them they would seem sharper than they are
        elif len(e):
            self._surface.add(e)
            self._recent.add(e)
        self._until_us = p.complete_until_us
        self._event_rate.add(p.complete_until_us, len(e))
        self._monitor.add_packet(p, time.monotonic_ns())
        self._fresh = True

    def _take_frame(self, f: Frame, *, newest: bool) -> None:
        self._frame_rate.tick(f.host_ns / 1e9)
        self._frame_came_ns = time.monotonic_ns()
        self._monitor.add_frame(f, time.monotonic_ns())
        if newest or self._frame is None or f.host_ns - self._frame.host_ns > COPY_NS:
            self._frame = Frame(
                f.image.copy(), f.layout, f.sequence, f.device_start_ns, f.device_end_ns, f.clock, f.host_ns
            )
            self._fresh = True

    # -- what is told ----------------------------------------------------------------------------------------

    def _measure(self) -> None:
        now_ns = time.monotonic_ns()
        if self._frame is not None and now_ns - self._frame_came_ns < 1_000_000_000:
            self._histogram = histogram(self._frame.image, self._frame.layout)
            self._frame_focus.add(frame_sharpness(self._frame.image, self._frame.layout))
        recent = self._recent.all() if now_ns - self._event_rate.newest_ns < 1_000_000_000 else None
        if recent is not None:
            self._event_focus.add(event_sharpness(recent))

    def _show(self) -> None:
        self._fresh = False
        none = np.empty((0, 0), np.uint8)
        image, scale = none, 1.0
        if self._frame is not None:
            image, scale = reduced(picture_of(self._frame), WIDEST if self._matrix is None else WIDEST_LAID)
        surface = none if self._surface is None else self._surface.view(self._until_us)
        overlay = none
        if self._matrix is not None and image.size and surface.size:
            to_view = np.diag([scale, scale, 1.0]) @ self._matrix
            # Pixel centres at integers: the centre of the first view pixel is that of scale⁻¹ image pixels.
            to_view[:2] += (scale - 1) / 2 * to_view[2]
            overlay = np.asarray(
                cv2.warpPerspective(
                    surface, to_view, (image.shape[1], image.shape[0]), flags=cv2.INTER_NEAREST,
                    borderValue=(NOTHING,),
                ),
                np.uint8,
            )  # fmt: skip
        counts = np.empty((0, 256), np.int64) if self._histogram is None else self._histogram.counts
        try:
            self._writer.write(VIEW, self._figures(), (image, surface, overlay, counts))
            self._views += 1
        except RingError as e:
            self.link.publish("note", {"text": one_line(e)})

    def _figures(self) -> dict[str, Any]:
        now = time.monotonic_ns()
        f, h, s = self._frame, self._histogram, self._surface
        exposure = None if f is None or f.exposure_ns is None else f.exposure_ns / 1e3
        return {
            "events": {
                "hz": self._event_rate.hz(now),
                "size": [0, 0] if s is None else [s.width, s.height], **_focus(self._event_focus),
            },
            "frames": {
                "hz": self._frame_rate.hz(now / 1e9),
                "size": [0, 0] if f is None else [f.width, f.height], "exposure_us": exposure,
                "white": 0.0 if h is None else h.white, "black": 0.0 if h is None else h.black,
                "words": "" if h is None else h.words, "advice": "" if h is None else h.advice,
                **_focus(self._frame_focus),
            },
            "trigger": asdict(self._monitor.report(now)),
            "lost": self._lost,
        }  # fmt: skip


def _focus(p: PeakHold) -> dict[str, Any]:
    return {"sharpness": p.value, "peak": p.peak, "share": p.share}


def reduced(image: NDArray[np.uint8], widest: int = WIDEST) -> tuple[NDArray[np.uint8], float]:
    """An image halved until it is at most so wide and high, and its scale."""
    scale = 1.0
    while max(image.shape[:2]) > widest:
        size = (image.shape[1] // 2, image.shape[0] // 2)
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
        scale /= 2
    return image, scale
