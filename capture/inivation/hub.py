"""One device, one or two cameras: looks at it, gives each camera its items, on one time axis."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from typing import Any

import numpy as np

from capture.axis import ACROSS_US, BACK_US, Axis
from capture.camera import Breaks, CameraRole, Control
from capture.errors import CameraError, CameraLost
from capture.inivation.batch import Batch, EventBatch, RawFrame, Source
from capture.packets import (
    EventPacket,
    Events,
    Frame,
    FrameClock,
    FrameKind,
    Inertial,
    PixelLayout,
    Rejected,
    TriggerEdges,
)

LOOK_S = 0.001
"""How often a reader that waits looks; dv-processing has no call that waits."""
KEPT_IMU = 2000
_FOREVER = 3600.0


class Hub:
    """Shared by the cameras of one device; every method may be called from any thread.

    Args:
        name: of the device, for messages and for its time axis.
        source: the device.
    """

    def __init__(self, name: str, source: Source) -> None:
        self.name, self.source = name, source
        self.axis = Axis(name)
        self.imu: deque[dict[str, Any]] = deque(maxlen=KEPT_IMU)
        self.imu_samples = self.marks = self.frames_refused = 0
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._open: set[CameraRole] = set()
        self._running: set[CameraRole] = set()
        self._lost = ""
        self._samples: list[dict[str, Any]] = []  # that wait for the next packet
        self._events: deque[EventPacket] = deque()
        self._frames: deque[Frame] = deque()
        self._until: int | None = None
        self._edge_us: int | None = None
        self._sequence = 0
        self._gap = False
        self._started = False
        self._breaks = Breaks()

    def open(self, role: CameraRole) -> None:
        """Connect when nobody has yet. Raises `CameraError`."""
        with self._lock:
            if role in self._open:
                return
            if not self._open:
                self._lost = ""
                self.source.open()
            self._open.add(role)

    def start(self, role: CameraRole) -> None:
        """Deliver this camera's items. Raises `CameraError`."""
        with self._changed:
            if role not in self._open:
                raise CameraError(f"{self.name}: open the camera before starting it")
            if role in self._running:
                return
            wanted = self._running | {role}
            self.source.start(CameraRole.EVENTS in wanted, CameraRole.FRAMES in wanted)
            self._running = wanted
            if role is CameraRole.EVENTS:
                self._gap, self._started = self._started, True
            else:
                self._breaks.begin()
            self._changed.notify_all()

    def stop(self, role: CameraRole) -> None:
        """Deliver no more of it; a read that waits returns."""
        with self._changed:
            self._running.discard(role)
            (self._events if role is CameraRole.EVENTS else self._frames).clear()
            if role is CameraRole.EVENTS:
                self._samples.clear()
            if not self._running and self._open:
                with contextlib.suppress(CameraError):
                    self.source.stop()
            self._changed.notify_all()

    def close(self, role: CameraRole) -> None:
        """Let go of the device when this was the last camera."""
        self.stop(role)
        with self._lock:
            if role in self._open:
                self._open.discard(role)
                if not self._open:
                    self.source.close()

    def read(self, role: CameraRole, timeout_s: float) -> EventPacket | Frame | None:
        """The camera's next item. Raises `CameraLost`, `CameraError`."""
        deadline = time.monotonic() + min(max(0.0, timeout_s), _FOREVER)
        queue: deque[Any] = self._events if role is CameraRole.EVENTS else self._frames
        with self._changed:
            while True:
                if role not in self._open:
                    raise CameraError(f"{self.name}: open the camera before reading from it")
                if queue:
                    return queue.popleft()  # type: ignore[no-any-return]
                if self._lost:
                    raise CameraLost(self._lost)
                if role not in self._running:
                    return None
                self._look()
                if queue or self._lost:
                    continue
                wait = min(LOOK_S, deadline - time.monotonic())
                if wait <= 0:
                    return None
                self._changed.wait(wait)

    def change(self, name: str, value: Any) -> None:
        """Set one setting."""
        with self._lock:
            self._need()
            self.source.change(name, value)

    def controls(self) -> tuple[Control, ...]:
        """The settings that a person turns, as they are now."""
        with self._lock:
            self._need()
            return self.source.controls()

    def state(self) -> dict[str, Any]:
        """Settings as they are, and what is known of the device."""
        with self._lock:
            self._need()
            return {
                "settings": self.source.values(), **self.source.notes,
                "model": self.source.model, "serial": self.source.serial,
                "clock_shift_us": self.axis.shift_us, "clock_resets": self.axis.resets,
                "imu_samples": self.imu_samples, "marks": self.marks, "frames_refused": self.frames_refused,
            }  # fmt: skip

    def _need(self) -> None:
        if not self._open:
            raise CameraError(f"{self.name}: open the camera first")

    # -- from the device -------------------------------------------------------------------------------------

    def _look(self) -> None:
        now = time.monotonic_ns()
        try:
            batch = self.source.poll(now)
        except CameraLost as e:
            self._lost = str(e)  # what came before it is read first
            return
        self._take(batch, now)

    def _take(self, batch: Batch, now: int) -> None:
        self.marks += batch.marks
        self.imu_samples += len(batch.imu)
        self.imu.extend(batch.imu)
        edges = sorted(batch.edges)
        if CameraRole.EVENTS in self._running:
            self._samples += batch.imu
            for b in batch.events:
                for part in _at_resets(b):
                    self._put_events(part, edges, now)
                    edges = []
            if edges or len(self._samples) >= KEPT_IMU:
                self._put_events(None, edges, now)
        if CameraRole.FRAMES in self._running:
            for f in batch.frames:
                self._put_frame(f, now)

    def _put_events(self, b: EventBatch | None, edges: list[tuple[int, bool]], now: int) -> None:
        width, height = self.source.event_size
        bad = Rejected()
        triggers = TriggerEdges.empty()
        events = Events.empty(width, height)
        jumped = False
        if edges:
            shift, jumped = self.axis.place("edges", edges[0][0], edges[-1][0], now)
            t = np.array([e[0] for e in edges], np.int64) + shift
            floor = max((v for v in (self._until, self._edge_us) if v is not None), default=int(t[0]))
            keep = t >= floor
            bad += Rejected(decreasing=int(len(t) - keep.sum()))
            triggers = TriggerEdges(t[keep], np.array([e[1] for e in edges], np.bool_)[keep])
            if len(triggers):
                self._edge_us = int(triggers.t[-1])
        if b is not None and len(b.t):
            shift, again = self.axis.place("events", int(b.t[0]), int(b.t[-1]), now)
            jumped |= again
            t = b.t + shift if shift else b.t
            events, refused = Events.sanitised(t, b.x, b.y, b.p, width, height, not_before_us=self._until)
            bad += refused
            if len(events):
                self._until = int(events.t[-1])
        until = self._until
        if until is None:
            # Edges before the first event: nothing is complete yet.
            until = int(triggers.t[0]) - ACROSS_US if len(triggers) else 0
        packet = EventPacket(
            events, triggers, until, now, gap=self._gap or jumped, rejected=bad, imu=self._inertial()
        )  # fmt: skip
        self._gap = False
        self._events.append(packet)

    def _inertial(self) -> Inertial | None:
        """The samples that have come since the last packet; they travel with the events."""
        samples, self._samples = self._samples, []
        if not samples:
            return None
        t = np.array([s["t_us"] for s in samples], np.int64)
        values = [(*s["acceleration_g"], *s["turn_deg_s"], s["temperature_c"]) for s in samples]
        return Inertial.of(t + self.axis.shift_us, np.array(values, np.float32))

    def _put_frame(self, f: RawFrame, now: int) -> None:
        if f.image.shape[1::-1] != self.source.image_size:
            self.frames_refused += 1  # a part of the sensor; the rest of the program knows whole frames
            self._sequence += 1
            return
        shift, jumped = self.axis.place("frames", f.start_us, f.start_us + f.exposure_us, now)
        start = 1000 * (f.start_us + shift)
        end = start + 1000 * f.exposure_us if f.exposure_us else None
        layout = PixelLayout.RGB if f.image.ndim == 3 else PixelLayout.GRAY
        kind = FrameKind.ACCUMULATOR if f.drawn else FrameKind.SENSOR
        frame = Frame(
            f.image, layout, self._sequence, start, end, FrameClock.EVENT, now, kind, gap=jumped
        )  # fmt: skip
        self._frames.append(self._breaks.mark(frame))
        self._sequence += 1


def _at_resets(b: EventBatch) -> list[EventBatch]:
    """The batch in pieces, cut where the clock was reset inside it."""
    if len(b.t) < 2 or b.t[-1] >= b.t[0]:
        return [b]
    cuts = (np.flatnonzero(np.diff(b.t) < -BACK_US) + 1).tolist()
    ends = [*cuts, len(b.t)]
    return [EventBatch(b.t[i:j], b.x[i:j], b.y[i:j], b.p[i:j]) for i, j in zip([0, *cuts], ends, strict=True)]
