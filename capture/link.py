"""A worker's side of its supervision: signals, status, commands, and how its errors are told.

`serve` is what every worker process runs. A worker is a function `target(link, payload)` that

* reports with `link.beat(…)` at least every second or so: silence is taken for a hang, and it is killed,
* looks at `link.poll()` for commands and at `link.stopping`, and returns soon after that is true,
* raises what it cannot deal with: the text goes to the supervisor, which starts the worker again.
"""

from __future__ import annotations

import contextlib
import faulthandler
import multiprocessing
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import zmq

from capture import messages, notices
from capture.camera import CameraState
from capture.errors import HalfmirrorError, UsageError
from capture.lifeline import end_with_parent
from capture.messages import Command, InvalidMessage, Published, Reply, Start, Status, Stop
from capture.ring_memory import ItemTooLarge

BEAT_S = 0.2
_LAST_WORDS_MS = 300
_LAST_WORDS_FAILED_MS = 1500  # why it failed is worth a wait on a busy machine; nobody waits for one that stops


@dataclass(frozen=True, slots=True)
class LinkSpec:
    """What a worker process is told about its supervision.

    Attributes:
        worker: its name.
        incarnation: how often it was started before.
        control: address of the supervisor's socket.
    """

    worker: str
    incarnation: int
    control: str

    @property
    def identity(self) -> bytes:
        """Tells this worker process from its predecessors."""
        return f"{self.worker}#{self.incarnation}".encode()


def one_line(error: BaseException) -> str:
    """An error as one line for a person: of our own its message, of others with the class."""
    text = " ".join(str(error).split())[:500]
    return text if isinstance(error, HalfmirrorError) and text else f"{type(error).__name__}: {text}"


class WorkerLink:
    """Status and commands of a worker. For the thread that made it.

    Attributes:
        name: of the worker.
        incarnation: 0 for the first process, 1 after the first restart, …
        epoch_ns: beginning of the common time axis once `Start` has come, else None.
        stopping: the worker is to return.
        stop_asked, stop_given_s: when it was told so (`time.monotonic`), and after how long its process is
            ended, whatever it does; None: nobody said.
        refused: messages that were none.
    """

    def __init__(self, spec: LinkSpec) -> None:
        self.name, self.incarnation = spec.worker, spec.incarnation
        self.epoch_ns: int | None = None
        self.stopping = False
        self.stop_asked = 0.0
        self.stop_given_s: float | None = None
        self.refused = 0
        self._socket = notices.socket(zmq.DEALER, hwm=1000)
        self._socket.setsockopt(zmq.IDENTITY, spec.identity)
        self._socket.connect(spec.control)
        self._commands: list[Command] = []
        self._last: tuple[Any, ...] = ()
        self._last_at = 0.0

    def _send(self, message: messages.FromWorker) -> bool:
        try:
            self._socket.send(messages.pack(message), zmq.NOBLOCK)
        except zmq.ZMQError:
            return False  # the supervisor does not read: it will see that nothing comes
        return True

    def status(self, state: CameraState, detail: str = "", **figures: Any) -> None:
        """Send a status now; `figures` as in `messages.Status`."""
        self._last, self._last_at = (state, detail, figures.get("ready")), time.monotonic()
        self._send(Status(state=state, detail=detail, **figures))

    def beat(self, state: CameraState, detail: str = "", **figures: Any) -> None:
        """Send a status when `BEAT_S` has passed since the last, or when state or detail changed."""
        if (
            time.monotonic() - self._last_at >= BEAT_S
            or (state, detail, figures.get("ready")) != self._last
        ):  # fmt: skip
            self.status(state, detail, **figures)

    @property
    def beat_due(self) -> bool:
        """`BEAT_S` has passed: for callers whose figures take work."""
        return time.monotonic() - self._last_at >= BEAT_S

    def publish(self, topic: str, body: Mapping[str, Any]) -> bool:
        """Send anything else to whoever polls the supervisor; False when it could not be sent.

        Raises:
            InvalidMessage: it cannot be packed, or is too large.
        """
        return self._send(Published(topic=topic, body=dict(body)))

    def reply(self, command: Command, result: Mapping[str, Any] | None = None, error: str = "") -> None:
        """Answer a command; a result that cannot travel is answered as an error."""
        try:
            self._send(Reply(number=command.number, result=dict(result or {}), error=error))
        except InvalidMessage as e:
            self._send(Reply(number=command.number, error=str(e)))

    def poll(self, timeout_s: float = 0.0) -> list[Command]:
        """Commands that have come; waits up to `timeout_s` for the first message."""
        if timeout_s > 0:
            with contextlib.suppress(InterruptedError):
                self._socket.poll(round(1e3 * timeout_s))
        while True:
            try:
                data = self._socket.recv(zmq.NOBLOCK)
            except zmq.Again:
                break
            try:
                message = messages.to_worker(data)
            except InvalidMessage:
                self.refused += 1
                continue
            if isinstance(message, Stop):
                self.stopping, self.stop_asked, self.stop_given_s = True, time.monotonic(), message.given_s
            elif isinstance(message, Start):
                self.epoch_ns = message.epoch_ns
            else:
                self._commands.append(message)
        commands, self._commands = self._commands, []
        return commands

    def wait_start(self, detail: str = "") -> int | None:
        """Say that this worker is ready, and wait for the common epoch; None when it is to stop instead.

        Commands that come meanwhile are kept for the next `poll`.
        """
        kept: list[Command] = []
        while self.epoch_ns is None and not self.stopping:
            self.beat(CameraState.STARTING, detail, ready=True)
            kept += self.poll(0.05)
        self._commands = kept + self._commands
        return None if self.stopping else self.epoch_ns

    def close(self, linger_ms: int = 0) -> None:
        """Close; what was sent last has `linger_ms` to leave."""
        self._socket.close(linger_ms)


Target = Callable[[WorkerLink, Any], None]


def serve(spec: LinkSpec, target: Target, payload: Any) -> None:
    """Run a worker in this process to its end: what the supervisor starts.

    SIGINT and SIGHUP are ignored (a terminal sends them to the whole group; the supervisor decides), SIGTERM
    asks to stop, and the process ends with its parent. The exit status is 0 when `target` returned, 1 when it
    raised.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    end_with_parent()
    with contextlib.suppress(OSError, ValueError):  # no stderr, no crash reports
        faulthandler.enable()
    link = WorkerLink(spec)

    def asked_to_end(*_: object) -> None:
        link.stopping = True

    signal.signal(signal.SIGTERM, asked_to_end)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})
    failed = True
    try:
        link.status(CameraState.STARTING)
        target(link, payload)
        failed = False
        link.status(CameraState.STOPPED)
    except Exception as e:
        ours = isinstance(e, HalfmirrorError)
        link.status(
            CameraState.FAULTED,
            one_line(e),
            permanent=isinstance(e, UsageError | ItemTooLarge),
            traceback="" if ours else traceback.format_exc()[-8000:],
        )
        if not ours:
            traceback.print_exc()
    finally:
        words_ms = _LAST_WORDS_FAILED_MS if failed else _LAST_WORDS_MS
        link.close(words_ms)
        notices.context().destroy(words_ms)
        sys.stderr.flush()
    if failed:
        # Threads that a failed SDK left behind must not keep the process alive, nor its own children.
        for child in multiprocessing.active_children():
            child.kill()
        os._exit(1)
