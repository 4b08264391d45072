"""What the Prophesee cameras of every SDK share: life, reading, settings, and a thread for the SDK's calls."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from concurrent.futures import Future
from dataclasses import asdict, replace
from typing import Any, Protocol

from capture.camera import CameraBase, CameraInfo, CameraRole, Capabilities, Control, Progress
from capture.errors import CameraError, CameraLost
from capture.link import one_line
from capture.packets import EventPacket
from capture.prophesee.config import PropheseeConfig
from capture.sdk_thread import SdkThread

OPEN_S = 60.0
"""The first time ever the decoder is compiled, which takes seconds."""
CALL_S = 3.0
"""Longest that a call of an opened camera may take; a reading one waits a tenth of a second at most."""
LEAVE_S = 1.5
_LOOK_S = 0.02
_MOST = 64


class Sdk(Protocol):
    """One camera through one SDK. All calls come from one thread.

    Attributes:
        model, serial, width, height: once it is open.
        notes: facts for a person.
    """

    model: str
    serial: str
    width: int
    height: int
    notes: dict[str, Any]

    def open(self) -> None:
        """Find and connect. Raises `CameraError`."""

    def flush(self) -> None:
        """Throw away what has gathered."""

    def read(self) -> list[EventPacket]:
        """What has come; waits some 100 ms for it. Raises `CameraLost`."""

    def names(self) -> tuple[str, ...]:
        """Names of settings that can be changed while it runs."""

    def change(self, wanted: dict[str, Any]) -> None:
        """Change some. Raises `CameraError`."""

    def values(self) -> dict[str, Any]:
        """All settings as they are."""

    def controls(self) -> tuple[Control, ...]:
        """The same with their bounds."""

    def counters(self) -> dict[str, int]:
        """Losses and faults, by kind."""

    def close(self) -> None:
        """Let go."""


class PropheseeCamera(CameraBase[EventPacket]):
    """Events with trigger edges. Requests: `set`, `controls`, `state`.

    Args:
        config: as configured.
        sdk: the camera.
        size: of the sensor, as far as known before opening.
    """

    def __init__(self, config: PropheseeConfig, sdk: Sdk, size: tuple[int, int]) -> None:
        self.superseded = self.delivered = 0
        self._config, self._sdk = config, sdk
        self._changed = threading.Condition()
        self._thread: SdkThread | None = None
        self._reading: Future[list[EventPacket]] | None = None
        self._asked = 0.0
        self._running = self._started = self._gap = False
        self._lost = ""
        self._queue: deque[EventPacket] = deque()
        self.info = CameraInfo(
            CameraRole.EVENTS, config.name, sdk.model, config.serial, *size,
            capabilities=Capabilities(triggers=config.triggers, settings=sdk.names()),
        )  # fmt: skip

    def open(self, progress: Progress | None = None) -> None:
        """See `Camera.open`."""
        if self._thread is not None:
            return
        thread = SdkThread(self.info.name)
        try:
            thread.call(self._sdk.open, OPEN_S, "opening it")
            controls = thread.call(self._sdk.controls, CALL_S, "reading its settings")
        except BaseException:
            thread.finish(self._sdk.close, LEAVE_S)
            raise
        s = self._sdk
        self._thread, self._lost = thread, ""
        self.info = replace(
            self.info, model=s.model, serial=s.serial, width=s.width, height=s.height,
            capabilities=Capabilities(triggers=self._config.triggers, settings=s.names(), controls=controls),
        )  # fmt: skip

    def start(self, epoch_ns: int = 0) -> None:
        """See `Camera.start`. What has gathered before is thrown away."""
        with self._changed:
            if self._thread is None:
                raise CameraError(f"{self.info.name}: open the camera before starting it")
            if self._running:
                return
            self._queue.clear()
            self._reading = None
            self._thread.submit(self._sdk.flush)
            self._gap, self._started = self._started, True
            self._running = True

    def stop(self) -> None:
        """See `Camera.stop`. What has gathered and was not read is thrown away."""
        with self._changed:
            self._running = False
            self._queue.clear()
            self._changed.notify_all()

    def close(self) -> None:
        """See `Camera.close`."""
        self.stop()
        with self._changed:
            thread, self._thread, self._reading = self._thread, None, None
            self._queue.clear()
        if thread is not None:
            thread.finish(self._sdk.close, LEAVE_S)

    def read(self, timeout_s: float) -> EventPacket | None:
        """See `Camera.read`."""
        deadline = time.monotonic() + max(0.0, timeout_s)
        with self._changed:
            while True:
                if self._thread is None:
                    raise CameraError(f"{self.info.name}: open the camera before reading from it")
                if self._queue:
                    self.delivered += 1
                    return self._queue.popleft()
                if self._lost:
                    raise CameraLost(self._lost)
                if not self._running:
                    return None
                self._ask()
                if self._hung():
                    continue
                wait = min(_LOOK_S, deadline - time.monotonic())
                if wait <= 0:
                    return None
                self._changed.wait(wait)

    def _ask(self) -> None:
        """Have the next call made, unless one is under way or enough waits."""
        if self._thread is None or self._reading is not None or self._lost or len(self._queue) >= _MOST:
            return
        self._asked = time.monotonic()
        self._reading = self._thread.submit(self._sdk.read)
        self._reading.add_done_callback(self._take)

    def _take(self, done: Future[list[EventPacket]]) -> None:
        """Keep what a call gave; on the SDK's thread."""
        with self._changed:
            if done is not self._reading or done.cancelled():
                return  # from before the last stop
            self._reading = None
            error = done.exception()
            if error is not None:
                self._lost = one_line(error)
            elif self._running:
                packets = done.result()
                if packets and self._gap:
                    packets[0], self._gap = replace(packets[0], gap=True), False
                self._queue.extend(packets)
                self._ask()
            self._changed.notify_all()

    def _hung(self) -> bool:
        if self._reading is not None and time.monotonic() - self._asked > CALL_S:
            self._lost = f"{self.info.name} does not answer (no end of reading after {CALL_S:g} s)"
        return bool(self._lost)

    def command(self, verb: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """See the class.

        Raises:
            CameraError: unknown request or setting, a value out of range, the camera does not answer.
        """
        if verb not in ("set", "state", "controls"):
            return super().command(verb, arguments)
        thread = self._thread
        if thread is None:
            raise CameraError(f"{self.info.name}: open the camera before asking {verb!r} of it")
        if verb == "set":
            for name in arguments:
                if name not in self.info.capabilities.settings:
                    if name in PropheseeConfig.model_fields:
                        raise CameraError(
                            f"{self.info.name}: {name} is taken only when the camera is opened; "
                            "set it in the rig file and start again"
                        )
                    known = ", ".join(self.info.capabilities.settings)
                    raise CameraError(f"{self.info.name}: no setting {name!r}; known: {known}")
            thread.call(lambda: self._sdk.change(dict(arguments)), CALL_S, "changing a setting")
            return dict(thread.call(self._sdk.values, CALL_S, "reading its settings"))
        if verb == "controls":
            controls = thread.call(self._sdk.controls, CALL_S, "reading its settings")
            return {c.name: asdict(c) for c in controls}
        state: dict[str, Any] = {}
        with contextlib.suppress(CameraLost):
            state = dict(thread.call(self._sdk.values, CALL_S, "reading its settings"))
        return {"settings": state, **self._sdk.notes, "counters": self._sdk.counters()}

    def counters(self) -> dict[str, int]:
        """See `Camera.counters`: losses and faults by kind, and how long the rate limiter was at work."""
        return {"delivered": self.delivered, **self._sdk.counters()}
