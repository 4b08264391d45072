"""The process that holds a camera (or a pair that must live together) and writes its items into rings.

Every item, in order, once: what the camera hands over is in the ring before the next one is asked for.
A camera that is lost is opened again with growing pauses until the worker is told to stop; the first item after
that, or after a restart of the worker, is marked with `gap`. A recording that cannot be read
further stays open instead: a request (seek) may lead past the damage.
"""

from __future__ import annotations

import math
import time
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from capture import codec, registry
from capture.camera import Camera, CameraRole, CameraState, EndOfStream
from capture.errors import CameraError, CameraLost, UsageError
from capture.link import WorkerLink, one_line
from capture.messages import Command
from capture.packets import EventPacket, Frame, FrameClock
from capture.rate import Rate
from capture.ring import RingRef, RingStalled, RingWriter

READ_S = 0.02
PAIR_READ_S = 0.004
EPOCHS_A_LIFE = 1_000_000
"""Epochs of a pair count from here, times the restarts, so that no epoch comes twice."""
READER_GRACE_S = 10.0
"""How long a dead reader that must lose nothing is waited for."""
SILENT_S = 2.0
"""After so long without an item a camera that waits for something says for what."""
COUNTERS_S = 1.0
"""How often what the cameras' drivers count is published (topic `counters`), where it has changed."""


@dataclass(frozen=True, slots=True)
class CameraWorkerSpec:
    """What a camera worker is to do; picklable.

    Attributes:
        camera: name for the registry, e.g. "simulated:handheld" or "replay:FILE".
        settings: named settings for the driver.
        events, frames: rings to write to. Both: the two cameras live in this process (`Driver.pair` where the
            driver has one).
        lossless_wait_s: how long one try to write waits for readers that must lose nothing. The worker goes
            on trying as long as they live.
        drivers: further drivers, name → "module:attribute", beside those of the registry.
        reopen_s: first and longest pause before a camera that was lost is opened again.
    """

    camera: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    events: RingRef | None = None
    frames: RingRef | None = None
    lossless_wait_s: float = 0.1
    drivers: Mapping[str, str] = field(default_factory=dict)
    reopen_s: tuple[float, float] = (0.5, 2.5)


class _Stop(BaseException):
    """The worker was told to stop while a camera was opening. Not an Exception: drivers must not catch it."""


@dataclass(slots=True)
class _Stream:
    """One camera and its ring."""

    role: CameraRole
    writer: RingWriter
    camera: Camera[Any] | None = None
    gap: bool = False
    ended: bool = False
    fault: str = ""
    end_written: bool = True
    epoch: int = 0
    sequence: int | None = None
    items: int = 0
    events: int = 0
    dropped: int = 0
    held: Frame | None = None
    until_us: int | None = None
    counted: Counter[str] = field(default_factory=Counter)  # by cameras that were closed since
    heard: float = -math.inf  # when an item came, monotonic seconds


def run_camera_worker(link: WorkerLink, spec: CameraWorkerSpec) -> None:
    """Open, wait for the start, stream until told to stop. The target of a camera worker's process.

    Raises:
        UsageError: the camera's name or its settings are wrong, or it has no such camera: no use to retry.
        RingError: the rings are gone, an item does not fit, or a reader that must lose nothing is dead.
    """
    _CameraWorker(link, spec).run()


class _CameraWorker:
    def __init__(self, link: WorkerLink, spec: CameraWorkerSpec) -> None:
        self.link, self.spec = link, spec
        self.streams: list[_Stream] = []
        self._rates: deque[tuple[float, int]] = deque()  # events so far
        self._rate, self._told = Rate(1.0), 0  # of items
        self._since = math.inf  # when streaming began
        self._why = ""  # the camera is tried again
        self._counters: dict[str, dict[str, int]] = {}  # as last published
        self._counters_at = 0.0

    def run(self) -> None:
        registry.BUILT_IN.update(self.spec.drivers)
        rings = ((CameraRole.EVENTS, self.spec.events), (CameraRole.FRAMES, self.spec.frames))
        try:
            self.streams += [_Stream(role, RingWriter(ref)) for role, ref in rings if ref is not None]
            if not self.streams:
                raise UsageError(f"worker {self.link.name!r}: no ring to write to")
            for s in self.streams:
                s.gap = self.link.incarnation > 0
            self._run()
        except _Stop:
            pass
        finally:
            self._close_cameras()
            for s in self.streams:
                s.writer.close()

    def _run(self) -> None:
        pause = self.spec.reopen_s[0]
        while not self.link.stopping:
            try:
                self._open()
                epoch = self.link.wait_start()
                if epoch is None:
                    return
                for s in self.streams:
                    assert s.camera is not None
                    s.camera.start(epoch)
                self.link.status(CameraState.RUNNING, **self._figures())
                self._since, self._why = time.monotonic(), ""
                self._stream()
                return
            except UsageError:
                raise
            except CameraError as e:
                # CameraLost while it ran, or CameraError because it is not there (yet).
                text = one_line(e)
            self._release_held()
            self._close_cameras()
            for s in self.streams:
                s.gap = True
            if time.monotonic() - self._since > self.spec.reopen_s[1]:
                pause = self.spec.reopen_s[0]  # it ran well for a while: be quick again
            self._since, self._why = math.inf, text
            self._rest(pause, text)
            pause = min(2 * pause, self.spec.reopen_s[1])

    def _rest(self, pause: float, text: str) -> None:
        """Wait before the next try, FAULTED; commands are answered with the error."""
        self.link.status(CameraState.FAULTED, text, **self._figures())
        deadline = time.monotonic() + pause
        while not self.link.stopping and (left := deadline - time.monotonic()) > 0:
            for c in self.link.poll(min(left, 0.05)):
                self.link.reply(c, error=text)
            self.link.beat(CameraState.FAULTED, text, **self._figures())

    def _open(self) -> None:
        d, config = registry.open_driver(self.spec.camera, self.spec.settings)
        if len(self.streams) == 2:
            both = d.pair(config) or (d.event_camera(config), d.frame_camera(config))
            cameras: Iterable[Camera[Any]] = both
        else:
            one = self.streams[0].role is CameraRole.EVENTS
            cameras = (d.event_camera(config) if one else d.frame_camera(config),)
        self.link.status(CameraState.STARTING)
        for i, (s, camera) in enumerate(zip(self.streams, cameras, strict=True)):
            s.camera, s.ended, s.fault, s.sequence, s.until_us = camera, False, "", None, None
            camera.open(lambda share, i=i: self._progress((i + share) / len(self.streams)))  # type: ignore[misc]
        self.link.publish("cameras", {s.role.value: asdict(s.camera.info) for s in self.streams if s.camera})

    def _progress(self, share: float) -> None:
        # Why it was lost, or is not there, is worth more than that it is looked for.
        doing = f"preparing {min(1.0, share):.0%}" if share > 0 else "opening"
        self.link.beat(CameraState.STARTING, self._why or f"{self.spec.camera}: {doing}")
        for c in self.link.poll():
            self.link.reply(c, error=f"{self.spec.camera} is still being opened")
        if self.link.stopping:
            raise _Stop

    def _close_cameras(self) -> None:
        for s in self.streams:
            camera, s.camera = s.camera, None
            if camera is None:
                continue
            s.counted.update(camera.counters())
            try:
                camera.close()
            except Exception as e:  # a device that is gone may fail to close; the next one must be closed too
                self.link.publish("note", {"text": f"{self.spec.camera}: closing failed: {one_line(e)}"})

    def _stream(self) -> None:
        """Read until told to stop. Raises what the cameras raise."""
        # Only the first of two waits; the other one gives what is there.
        waits = (READ_S,) if len(self.streams) == 1 else (PAIR_READ_S, 0.0)
        while not self.link.stopping:
            for c in self.link.poll():
                self._obey(c)
            live = [s for s in self.streams if not s.ended]
            for s, wait in zip(live, waits, strict=False):
                self._read_one(s, wait)
            if self.link.beat_due or not live:
                fault = next((s.fault for s in self.streams if s.fault), "")
                state = CameraState.FAULTED if fault else CameraState.RUNNING
                self.link.beat(state, fault or (self._silence(live) if live else "end"), **self._figures())
                self._tell_counters()
            if not live:
                for c in self.link.poll(0.05):
                    self._obey(c)

    def _silence(self, live: list[_Stream]) -> str:
        """Why nothing comes, where a camera knows."""
        now = time.monotonic()
        for s in live:
            quiet = now - max(s.heard, self._since)
            if s.camera is not None and quiet > SILENT_S and (why := s.camera.waits_for()):
                return f"no {s.role.value.removesuffix('s')} for {quiet:.0f} s: {why}"
        return ""

    def _tell_counters(self) -> None:
        """Publish what the drivers count, now and then."""
        if time.monotonic() - self._counters_at < COUNTERS_S:
            return
        self._counters_at = time.monotonic()
        now = {s.role.value: dict(s.counted + Counter(s.camera.counters())) for s in self.streams if s.camera}
        if now != self._counters and any(now.values()):
            self._counters = now
            self.link.publish("counters", now)

    def _read_one(self, s: _Stream, wait: float) -> None:
        assert s.camera is not None
        if s.held is not None and self._ahead(s.held):
            return
        self._release_held()
        try:
            item = s.camera.read(wait)
        except EndOfStream:
            self._ended(s)
        except CameraLost:
            raise
        except CameraError as e:
            if s.camera.info.capabilities.live:
                raise
            s.fault = one_line(e)
            self._ended(s)
        else:
            if isinstance(item, Frame) and self._ahead(item):
                s.held = item
            elif item is not None:
                self._hand_over(s, item)
            elif s.role is CameraRole.EVENTS:
                # Nothing more for now: a frame that waits for events would only grow old.
                self._release_held()

    def _ahead(self, frame: Frame) -> bool:
        """The frame belongs behind events of a pair that are still to be read: those first."""
        e = self.streams[0]
        return (
            len(self.streams) == 2
            and frame.clock is FrameClock.EVENT
            and not e.ended
            and e.epoch == frame.epoch
            and e.until_us is not None
            and e.until_us < _end_us(frame)
        )

    def _ended(self, s: _Stream) -> None:
        s.ended = True
        self._release_held()
        if not s.end_written:
            s.end_written = True
            self._write(s, codec.StreamEnd(s.epoch))

    def _release_held(self) -> None:
        for s in self.streams:
            frame, s.held = s.held, None
            if frame is not None:
                self._hand_over(s, frame)

    def _hand_over(self, s: _Stream, item: EventPacket | Frame) -> None:
        """Count an item and write it."""
        assert s.camera is not None
        counts_jumps = len(self.streams) == 2 or not s.camera.info.capabilities.live
        if counts_jumps and self.link.incarnation:
            # A replay that begins again counts its jumps from 0. What comes must not be taken for old.
            item = replace(item, epoch=item.epoch + self.link.incarnation * EPOCHS_A_LIFE)
        if item.epoch != s.epoch:
            s.sequence, s.until_us, s.epoch = None, None, item.epoch
        s.items += 1
        s.heard = time.monotonic()
        s.end_written = False
        if s.gap:
            item, s.gap = replace(item, gap=True), False
        if isinstance(item, EventPacket):
            s.events += len(item.events)
            s.dropped += item.dropped + item.rejected.total
            s.until_us = item.complete_until_us
            for part in codec.split(item, s.writer.largest // 4):
                self._write(s, part)
        else:
            if s.sequence is not None and item.sequence > s.sequence + 1:
                s.dropped += item.sequence - s.sequence - 1
            s.sequence = item.sequence
            self._write(s, item)

    def _write(self, s: _Stream, item: EventPacket | Frame | codec.StreamEnd) -> None:
        """Write, waiting as long as it takes for living readers that must lose nothing."""
        dead_since: float | None = None
        while True:
            try:
                s.writer.write_packet(item, timeout_s=self.spec.lossless_wait_s)
                return
            except RingStalled as e:
                now = time.monotonic()
                dead_since = (dead_since or now) if e.dead else None
                if dead_since is not None and now - dead_since > READER_GRACE_S:
                    raise
                detail = f"waiting for {e.reader!r}" if not e.dead else f"{e.reader!r} is gone, waiting for it"
                self.link.beat(CameraState.RUNNING, detail, **self._figures())
                for c in self.link.poll():
                    self._obey(c)
                if self.link.stopping:
                    raise _Stop from None

    def _obey(self, command: Command) -> None:
        roles = {s.role.value: s for s in self.streams}
        s = roles.get(command.target) if command.target else self.streams[0]
        if s is None or s.camera is None:
            self.link.reply(
                command, error=f"worker {self.link.name!r} has no camera {command.target!r}: {', '.join(roles)}"
            )
            return
        try:
            result = s.camera.command(command.verb, dict(command.arguments))
        except Exception as e:  # whatever a request does, the stream goes on
            self.link.reply(command, error=one_line(e))
            return
        for other in self.streams:
            other.ended, other.fault = False, ""  # it may have been sought back: look again
        self._release_held()
        self.link.reply(command, result)

    def _figures(self) -> dict[str, Any]:
        now = time.monotonic()
        items, events = sum(s.items for s in self.streams), sum(s.events for s in self.streams)
        if items > self._told:
            self._rate.tick(now, items - self._told)
            self._told = items
        self._rates.append((now, events))
        while len(self._rates) > 2 and now - self._rates[0][0] > 1.0:
            self._rates.popleft()
        t, e = self._rates[0]
        span = max(now - t, 1e-3)
        waiting = [r.waiting for s in self.streams for r in s.writer.stats().readers if r.pid]
        return {
            "items": items,
            "events": events,
            "dropped": sum(s.dropped for s in self.streams),
            "fps": self._rate.hz(now),
            "event_rate_hz": (events - e) / span,
            "backlog": max(waiting, default=0),
        }


def _end_us(frame: Frame) -> int:
    """When the frame's exposure ended on the event clock; the beginning of time when it does not say."""
    return -(2**63) if frame.device_end_ns is None else frame.device_end_ns // 1000
