"""Published pictures as a session: restored where the cameras are, seen here.

A thread reads the newest message; nothing of this program's pipeline runs. What belongs to the cameras and to
the network is chosen where these are, so wishes of that kind come to nothing, with a word where a person would
wait for something.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import zmq
from zmq.utils.monitor import parse_monitor_message

from app.published import LARGEST_PART, MessageError, read_message, stream_address
from app.publishing import QUEUED, TOPIC
from app.recorder import RecorderWatch, RecordRequest
from app.session import NetworkChoice, Picture, SessionStatus, Timeline, WorkerStatus
from capture import notices
from capture.camera import CameraState
from capture.errors import UsageError
from capture.rate import Rate

STREAM = "stream"
"""Name of the one worker that such a session shows."""
PUBLISHED = "as published"
"""What stands for a network before the first picture."""
ANSWER_S = 5.0
"""Nobody answers, or nothing comes any more: so long it is no news."""
BEAT_MS, SILENT_MS, CONNECT_MS = 2000, 30_000, 6000
"""How often the sender's end of the connection is asked whether it is there, and how long for an answer, which
comes behind the picture that is under way: on a slow line that takes its time. Connecting has its own limit."""
_WINDOW_S = 2.0
_TURN_MS = 50
_NOTE_S = 6.0


class StreamSession:
    """See `app.session.Session`.

    Args:
        address: of `app.published.stream_address`.

    Raises:
        UsageError: no address.
    """

    is_recording, elsewhere = False, True

    def __init__(self, address: str) -> None:
        self.title = self._address = stream_address(address)
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._newest: Picture | None = None
        self._last: Picture | None = None  # that came, shown or not
        self._sent = self._shown = self._superseded = self._damaged = 0
        self._number: int | None = None
        self._came = Rate(_WINDOW_S)
        self._delays_ms: deque[float] = deque(maxlen=200)
        self._heard = time.monotonic()
        self._connected, self._fault = False, ""
        self._failed = False  # listening has ended with a fault, or is about to
        self._note = ("", 0.0)
        self._network = PUBLISHED
        self._watch = RecorderWatch()

    # -- life ----------------------------------------------------------------------------------------------

    def start(self) -> None:
        """See `Session.start`."""
        self._heard = time.monotonic()
        self._thread = threading.Thread(target=self._listen, name="halfmirror-stream", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """See `Session.stop`."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _listen(self) -> None:
        into = notices.socket(zmq.SUB, hwm=QUEUED)
        try:
            into.setsockopt(zmq.MAXMSGSIZE, LARGEST_PART)
            into.setsockopt(zmq.IPV6, "[" in self._address)
            # A machine that loses power or its cable says nothing: without this one would listen for ever.
            into.setsockopt(zmq.HEARTBEAT_IVL, BEAT_MS)
            into.setsockopt(zmq.HEARTBEAT_TIMEOUT, SILENT_MS)
            into.setsockopt(zmq.HANDSHAKE_IVL, CONNECT_MS)
            into.setsockopt(zmq.CONNECT_TIMEOUT, CONNECT_MS)
            into.subscribe(TOPIC)
            monitor = into.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED)
            try:
                into.connect(self._address)
                while not self._stopping.is_set():
                    self._look(into, monitor)
            finally:
                into.disable_monitor()
        except zmq.ZMQError as e:
            with self._lock:
                self._failed = True
                self._fault = f"{self._address}: {zmq.strerror(e.errno).lower() if e.errno else e}"
        finally:
            into.close()

    def _look(self, into: zmq.Socket[bytes], monitor: zmq.Socket[bytes]) -> None:
        while monitor.poll(0):
            event = parse_monitor_message(monitor.recv_multipart())["event"]
            there = event == zmq.EVENT_HANDSHAKE_SUCCEEDED
            with self._lock:
                if there or self._connected:  # one more try that came to nothing is no news
                    self._heard = time.monotonic()
                self._connected = there
        if not into.poll(_TURN_MS):
            return
        parts = into.recv_multipart()
        while into.poll(0):  # who falls behind passes over what waits, instead of showing old pictures
            with self._lock:
                self._superseded += 1
            parts = into.recv_multipart()
        self._take(parts)

    def _take(self, parts: list[bytes]) -> None:
        now = time.monotonic()
        try:
            header, picture = read_message(parts)
        except MessageError as e:
            with self._lock:
                self._damaged, self._fault = self._damaged + 1, f"{self._address}: {e}"
            return
        took_ns = header.ready_host_ns - header.exposure_end_host_ns if header.exposure_end_host_ns > 0 else 0
        # The sender's clock is not this machine's: what is known is how long it took there.
        here = time.monotonic_ns()
        picture = replace(picture, exposure_end_host_ns=here - max(0, took_ns), ready_host_ns=here)
        with self._lock:
            before = self._number
            self._sent += header.number - before if before is not None and header.number > before else 1
            self._number, self._fault, self._heard = header.number, "", now
            self._connected = True  # which the monitor may tell a moment later
            if self._newest is not None:
                self._superseded += 1
            self._newest = self._last = picture
            self._network = picture.network or self._network  # a refused exposure has none
            self._came.tick(now)
            if took_ns > 0:
                self._delays_ms.append(took_ns / 1e6)

    # -- what there is to see ------------------------------------------------------------------------------

    def poll(self) -> Picture | None:
        """See `Session.poll`."""
        with self._lock:
            picture, self._newest = self._newest, None
            self._shown += picture is not None
        return picture

    def status(self) -> SessionStatus:
        """See `Session.status`. What comes in are pictures that were sent since the first one that came."""
        now = time.monotonic()
        with self._lock:
            fps = self._came.hz(now)
            p50, p95 = np.percentile(np.array(self._delays_ms or [0.0]), [50, 95])
            waiting = int(self._newest is not None)
            missed = max(0, self._sent - self._shown - waiting - self._superseded)
            last, (text, until) = self._last, self._note
            return SessionStatus(
                fps=fps, stage_fps={"shown": fps}, latency_p50_ms=float(p50), latency_p95_ms=float(p95),
                items_in=self._shown + waiting + self._superseded + missed, items_out=self._shown,
                waiting=waiting,
                losses={
                    "missed on the way": missed, "superseded (viewer)": self._superseded,
                    "damaged messages": self._damaged,
                },
                exposure_source="" if last is None else last.source,
                uncertainty_us=0.0 if last is None else last.uncertainty_us,
                workers=(self._worker(now, fps),), message=text if now < until else "",
                network="" if self._network == PUBLISHED else self._network,
            )  # fmt: skip

    def _worker(self, now: float, fps: float) -> WorkerStatus:
        quiet, there = now - self._heard, "is Halfmirror running there with --publish, and is the port open?"
        if self._fault:
            return WorkerStatus(STREAM, CameraState.FAULTED, self._fault)
        if not self._connected:
            if quiet < ANSWER_S:
                return WorkerStatus(STREAM, CameraState.STARTING, f"connecting to {self._address}")
            what = "nobody answers at" if self._last is None else "lost the connection to"
            why = f"{what} {self._address}; {there}" if self._last is None else f"{what} {self._address}"
            return WorkerStatus(STREAM, CameraState.FAULTED, why)
        detail = f"{self._address} sends nothing for {quiet:.0f} s" if quiet > ANSWER_S else ""
        if self._last is None:
            return WorkerStatus(STREAM, CameraState.STARTING, detail or f"{self._address} answers")
        return WorkerStatus(STREAM, CameraState.RUNNING, detail, fps=fps)

    def timeline(self) -> Timeline | None:
        """None: nothing here can be sought."""
        return None

    def networks(self) -> list[NetworkChoice]:
        """The one that restores there; other instants are not to be had."""
        return [NetworkChoice(self._network, "pictures as they are published", "", True, any_latent=False)]

    # -- wishes that are none of this program's -------------------------------------------------------------

    def _say(self, text: str) -> None:
        self._note = (text, time.monotonic() + _NOTE_S)

    def select_network(self, name: str) -> None:
        """Said, and not done."""
        self._say("the network is chosen where the pictures are made")

    def set_latents(self, latents: tuple[float, ...]) -> None:
        """Instants are chosen where the pictures are made."""

    def hold(self, ordinal: int | None) -> None:
        """What is on screen stays there by itself."""

    def request_latents(self, latents: tuple[float, ...], *, again: bool = False) -> None:
        """No other instants are to be had."""

    def command(self, verb: str, **arguments: Any) -> None:
        """`restart` connects anew where listening has failed or nothing comes; the rest is for others."""
        quiet = self._failed or time.monotonic() - self._heard > ANSWER_S
        if verb == "restart" and quiet and self._thread is not None:
            self.stop()
            self._stopping.clear()
            with self._lock:
                self._fault, self._connected, self._failed = "", False, False
            self.start()

    def arm_recorder(self, preroll_s: float, *, ready: bool = False) -> None:
        """Nothing is kept: events do not come."""

    def begin_recording(self, request: RecordRequest) -> None:
        """Refused.

        Raises:
            UsageError: always.
        """
        raise UsageError("published pictures hold no events; record where the cameras are: halfmirror record")

    def finish_recording(self) -> None:
        """Nothing to finish."""

    def disk_trial(self, folder: Path) -> str:
        """Nothing will be written."""
        return ""

    @property
    def recording(self) -> RecorderWatch:
        """Off."""
        return self._watch
