"""A GenICam frame camera (GigE Vision, USB3 Vision) by the camera contract.

Calls that talk to the camera run on a thread of their own with a deadline; frames are taken from the stream's
queue in the caller's thread. Silence is looked into: when nothing has come for a while, a register is read, so
that a camera that is gone is told from one that merely sends nothing.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from capture.camera import Breaks, CameraBase, CameraInfo, CameraRole, Capabilities, Progress
from capture.errors import CameraError, CameraLost
from capture.genicam import finding
from capture.genicam.config import GenicamConfig
from capture.genicam.connection import Connection
from capture.genicam.sequence import GIGE_IDS, FrameCounter
from capture.genicam.stream import RawFrame
from capture.packets import Frame, FrameClock
from capture.sdk_thread import SdkThread

T = TypeVar("T")

OPEN_S, SET_S, STOP_S, CLOSE_S = 15.0, 3.0, 0.8, 0.8
SLICE_S = 0.05
"""Longest wait in the library: a `stop` is noticed after it."""
QUIET_S, PROBE_S = 0.2, 0.6
"""Silence before the camera is asked whether it is there, and how long it may take to say so."""
NOTHING_S, NOTHING_PERIODS = 3.0, 6
"""It answers, but no complete frame has come for so long: something is in the way."""


class GenicamCamera(CameraBase[Frame]):
    """See the module. `info` is known once it was opened.

    Attributes:
        delivered: frames handed on since it was made.
    """

    def __init__(self, config: GenicamConfig) -> None:
        self.config = config
        self.info = CameraInfo(CameraRole.FRAMES, config.name, "", "", 0, 0, pixel_bytes=config.pixel_bytes)
        self.superseded = self.delivered = 0
        self._lock = threading.RLock()  # life and requests
        self._reading = threading.Lock()  # one reader in the stream's queue
        self._sdk: SdkThread | None = None
        self._link: Connection | None = None
        self._running = False
        self._lost = ""
        self._counter, self._breaks = FrameCounter(), Breaks()
        self._heard = self._complete_at = 0.0
        self._probe: tuple[Future[str], float] | None = None
        self._last_host_ns = 0

    # -- life ----------------------------------------------------------------------------------------------

    def open(self, progress: Progress | None = None) -> None:
        """Find the camera, take control of it and set it up. Raises `CameraError` in one sentence."""
        with self._lock:
            if self._link is not None and not self._lost:
                return
            self.close()  # what is left of one that was lost
            sdk = SdkThread(self.info.name)
            made: list[Connection] = []

            def connect() -> None:
                made.append(Connection(self.config, finding.locate(self.config)))

            try:
                sdk.call(connect, OPEN_S, "opening it", (lambda: progress(0.0)) if progress else None)
            except BaseException:
                # It may still come about, and must not keep the camera then.
                sdk.finish(lambda: made[0].release() if made else None, CLOSE_S)
                raise
            self._sdk, self._link, self._lost = sdk, made[0], ""
            link = self._link
            self._counter = FrameCounter(GIGE_IDS if link.gige else 0)
            self._learn(link)

    def _learn(self, link: Connection) -> None:
        """What the camera is, as it is set up now."""
        capabilities = Capabilities(
            exposure_stamps=True, shutter=link.shutter, settings=link.settings.names, controls=link.controls
        )
        self.info = CameraInfo(
            CameraRole.FRAMES, self.config.name, link.model, link.serial, link.width, link.height,
            0.0 if link.period_ns is None else 1e9 / link.period_ns, capabilities, link.pixel_bytes,
        )  # fmt: skip

    def start(self, epoch_ns: int = 0) -> None:
        """See `Camera.start`."""
        with self._lock:
            if self._link is None:
                raise CameraError(f"{self.info.name}: open the camera before starting it")
            if self._lost:
                raise CameraLost(self._lost)
            if self._running:
                return
            self._ask(self._link.start, SET_S, "starting it")
            self._counter.restart()
            self._breaks.begin()
            self._heard = self._complete_at = time.monotonic()
            self._probe = None
            self._running = True

    def stop(self) -> None:
        """See `Camera.stop`."""
        self._running = False  # seen by a read that waits, before the lock
        if not self._lock.acquire(timeout=STOP_S):
            self._lost = f"{self.info.name}: the camera does not answer (a request to it hangs)"
            return
        try:
            if self._sdk is None or self._link is None or self._lost or self._sdk.hung:
                return
            with self._reading, contextlib.suppress(CameraError):  # it has stopped, one way or another
                self._ask(self._link.stop, STOP_S, "stopping it")
        finally:
            self._lock.release()

    def close(self) -> None:
        """See `Camera.close`. A camera that does not answer is let go in the background."""
        self.stop()
        # Nobody may be in the stream's queue, or at its counters, when it goes. Who waits there is out soon; a
        # request that hangs does not hold this up, since the release is queued up behind it.
        held = [lock for lock in (self._lock, self._reading) if lock.acquire(timeout=2 * SLICE_S)]
        try:
            sdk, link = self._sdk, self._link
            self._sdk = self._link = None
        finally:
            for lock in held:
                lock.release()
        if sdk is not None and link is not None:
            link.leave()
            sdk.finish(link.release, 0.0 if self._lost or sdk.hung else CLOSE_S)

    def _ask(self, work: Callable[[], T], timeout_s: float, what: str) -> T:
        """A call to the camera; one that hangs means that it is lost."""
        assert self._sdk is not None
        try:
            return self._sdk.call(work, timeout_s, what)
        except CameraLost as e:
            self._lost = str(e)
            raise

    # -- reading -------------------------------------------------------------------------------------------

    def read(self, timeout_s: float) -> Frame | None:
        """See `Camera.read`. Incomplete frames are counted and left out."""
        deadline = time.monotonic() + max(0.0, timeout_s)
        while True:
            link = self._link
            if link is None:
                raise CameraError(f"{self.info.name}: open the camera before reading from it")
            if self._lost:
                raise CameraLost(self._lost)
            if not self._running:
                return None
            left = deadline - time.monotonic()
            with self._reading:
                raw = link.pop(min(max(0.0, left), SLICE_S)) if self._running else None
            now = time.monotonic()
            if raw is not None:
                self._heard, self._probe = now, None
                if isinstance(raw, RawFrame):
                    self._complete_at = now
                    return self._frame(raw, link)
                self._check_for_frames(now, link)
                if now < deadline + SLICE_S:
                    continue
            else:
                self._look_into_silence(now, link)
            if now >= deadline:
                return None

    def _frame(self, raw: RawFrame, link: Connection) -> Frame:
        sequence = self._counter.take(raw.frame_id, raw.stamp_ns, raw.host_ns, link.period_ns)
        exposure_us = link.exposure_us if raw.exposure_us is None else raw.exposure_us
        stamp = raw.stamp_ns + round(1e3 * link.settings.stamp_offset_us)
        start: int | None = stamp
        end: int | None = stamp
        if exposure_us is None:
            start, end = (start, None) if link.settings.stamp == "start" else (None, end)
        elif link.settings.stamp == "start":
            end = stamp + round(1e3 * exposure_us)
        else:
            start = stamp - round(1e3 * exposure_us)
        self._last_host_ns = max(self._last_host_ns, raw.host_ns)
        self.delivered += 1
        frame = Frame(raw.image, raw.layout, sequence, start, end, FrameClock.DEVICE, self._last_host_ns)
        return self._breaks.mark(frame)

    def _look_into_silence(self, now: float, link: Connection) -> None:
        """Nothing has come for a while: is the camera still there? Raises `CameraLost`."""
        if now - self._heard < QUIET_S or not self._running:
            return
        sdk = self._sdk
        if self._probe is None and sdk is not None:
            self._probe = sdk.submit(link.probe), now
        if self._probe is None:
            return
        future, since = self._probe
        if not future.done():
            if now - since > PROBE_S:
                self._lose(f"{self.info.name}: the camera does not answer any more; is it plugged in?")
            return
        self._probe = None
        error = future.exception()
        if error is not None or (why := future.result()):
            why = str(error) if error is not None else why
            self._lose(f"{self.info.name}: {why}")
        self._heard = now
        self._check_for_frames(now, link)

    def _check_for_frames(self, now: float, link: Connection) -> None:
        """The camera is there; but frames must come, and whole ones. Raises `CameraLost`."""
        limit = max(NOTHING_S, NOTHING_PERIODS * (link.period_ns or 0) / 1e9)
        if not link.triggered and now - self._complete_at > limit:
            self._lose(f"{self.info.name}: {link.why_nothing(now - self._complete_at)}")

    def _lose(self, text: str) -> None:
        self._lost = text
        raise CameraLost(text)

    # -- requests ------------------------------------------------------------------------------------------

    def command(self, verb: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """`set` (settings by name), `controls` (with their bounds), `trigger` (by software), `counters`.

        Returns:
            for `set`, all settings as the camera says them now; for `counters`, see `counters`.

        Raises:
            CameraError: unknown request or setting, out of range, refused by the camera.
        """
        with self._lock:
            if self._link is None:
                raise CameraError(f"{self.info.name}: open the camera before asking {verb!r} of it")
            if self._lost:
                raise CameraLost(self._lost)
            if verb == "set":
                return self._set(self._link, arguments)
            if verb == "controls":
                return self._ask(self._link.read_controls, SET_S, "reading its settings")
            if verb == "trigger":
                self._ask(self._link.software_trigger, SET_S, "triggering it")
                return {}
            if verb == "counters":
                return dict(self.counters())
        return super().command(verb, arguments)

    def _set(self, link: Connection, wanted: dict[str, Any]) -> dict[str, Any]:
        anew = link.reshapes(wanted) and self._running
        if not anew:
            try:
                return self._ask(lambda: link.change(wanted), SET_S, "setting it")
            finally:
                self._complete_at = time.monotonic()  # a trigger may have ended
                self._learn(link)
        # Another size of frame: the stream stops for a moment. Ids begin anew, the sequence goes on.
        with self._reading:
            try:
                return self._ask(lambda: link.change_anew(wanted), 2 * SET_S, "setting it")
            finally:
                self._counter.restart()
                self._heard = self._complete_at = time.monotonic()
                self._learn(link)

    def waits_for(self) -> str:
        """See `Camera.waits_for`."""
        link = self._link
        source = link.trigger if link is not None else "off"
        if source == "off":
            return ""
        if source == "Software":
            return "it waits for the request trigger (trigger=Software)"
        return (
            f"it waits for pulses at {source} (trigger={source}); is the cable in, and does their source run?"
        )

    def counters(self) -> dict[str, int]:
        """Frames since opening: delivered, and lost by cause; `missing` is what the frame ids say was lost.

        `missing` covers all that was lost between two delivered frames, whatever the cause.
        """
        c = self._counter
        with self._lock:
            of_library = {} if self._link is None else self._link.counters()
        return {
            "delivered": self.delivered, "missing": c.missing, "id jumps": c.jumps,
            "skipped periods": c.skipped, "clock resets": c.clock_resets, **of_library,
        }  # fmt: skip
