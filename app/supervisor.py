"""Starts, watches, restarts and stops worker processes; owns the rings and the sockets' directory.

    with Supervisor() as s:
        ring = s.create_ring(RingLayout("events", 64 << 20, readers=("restore",)))
        s.add(WorkerPlan("events", run_camera_worker, CameraWorkerSpec("simulated", events=ring)))
        s.start()
        while …:
            for message in s.poll(): …
            s.statuses()

One thread of its own does all waiting, spawning and killing, so no public method blocks (`stop` waits for the
end, at most its time limit). The rings outlive every worker; the next writer or reader goes on where its
predecessor was killed. However this process ends, nothing stays behind: `stop` is also called at exit, workers
die with their parent, the resource tracker removes the segments of a killed one, and the next start sweeps the
directory it left.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import zmq

from app.session import WorkerStatus
from app.signals import exit_on_signals, shielded, start_tracker
from app.supervised import Supervised, WorkerPlan, clock
from capture import messages, notices
from capture.errors import CameraError, UsageError
from capture.link import one_line
from capture.messages import Command, InvalidMessage, Published, Reply, Start, Status, Stop
from capture.notices import RuntimeDirectory
from capture.ring import RingLayout, RingMemory, RingRef, RingStats, require_room

__all__ = ["FromWorker", "Supervisor", "WorkerPlan", "exit_on_signals"]

_TICK_MS = 50
_KEPT = 2000


@dataclass(frozen=True, slots=True)
class FromWorker:
    """Something that a worker published."""

    worker: str
    topic: str
    body: dict[str, Any]


class WorkerGoneError(CameraError):
    """A worker that does not run was asked for something."""


@dataclass(slots=True)
class _Pending:
    future: Future[dict[str, Any]]
    worker: str
    deadline: float


class Supervisor:
    """See the module.

    Attributes:
        refused: messages that were none, or came from nobody.
        overlooked: published messages thrown away because nobody polled.
    """

    def __init__(self, *, epoch_lead_s: float = 0.05, command_timeout_s: float = 10.0) -> None:
        # Before the thread exists: it would otherwise be started from there, with that thread's signal mask.
        start_tracker()
        self._runtime = RuntimeDirectory()
        self._router = notices.socket(zmq.ROUTER, hwm=1000)
        self._control = self._runtime.address("control")
        self._router.bind(self._control)
        self._router.setsockopt(zmq.ROUTER_MANDATORY, 1)
        self._wake_r, self._wake_w = os.pipe()
        self._wake_lock = threading.Lock()
        os.set_blocking(self._wake_r, False)
        os.set_blocking(self._wake_w, False)
        self._rings: dict[str, RingMemory] = {}
        self._workers: dict[str, Supervised] = {}
        self._requests: deque[Callable[[], None]] = deque()
        self._published: deque[FromWorker] = deque(maxlen=_KEPT)
        self._pending: dict[int, _Pending] = {}
        self._numbers = iter(range(1, 2**62))
        self._thread: threading.Thread | None = None
        self._leaving = False
        self._closed = False
        self._epoch_lead_ns, self._command_timeout_s = int(epoch_lead_s * 1e9), command_timeout_s
        self._epoch_ns: int | None = None
        self.refused = 0
        self.overlooked = 0
        atexit.register(self.stop)

    # Setting up

    def create_ring(self, layout: RingLayout) -> RingRef:
        """Make a ring that lives as long as this supervisor. Raises `RingError`."""
        if layout.label in self._rings:
            raise UsageError(f"there is a ring {layout.label!r} already; choose another label")
        with shielded():  # one that is made is also known, and so removed at the end
            self._rings[layout.label] = RingMemory.create(layout)
        return self.ring_ref(layout.label)

    def create_rings(self, *layouts: RingLayout) -> tuple[RingRef, ...]:
        """Make several, or none where there is not enough shared memory for all. Raises `RingError`."""
        require_room(layouts)
        return tuple(self.create_ring(layout) for layout in layouts)

    def ring_ref(self, label: str) -> RingRef:
        """How workers, and readers in this process, find a ring."""
        notice = self._runtime.address(f"{list(self._rings).index(label)}.ring")
        return RingRef(self._rings[label].name, label, notice)

    def ring(self, label: str) -> RingMemory:
        """A ring, for its counters and `set_lossless`."""
        return self._rings[label]

    def ring_stats(self) -> list[RingStats]:
        """Counters of all rings, in the order they were made; after `stop` as they were at the end."""
        return [r.stats() for r in self._rings.values()]

    def add(self, plan: WorkerPlan) -> None:
        """Add a worker; it is started by `start` (or, when that was called already, by `start_worker`)."""
        if plan.name in self._workers:
            raise UsageError(f"there is a worker {plan.name!r} already; choose another name")
        # A new dictionary: the thread may be walking over the old one.
        self._workers = {**self._workers, plan.name: Supervised(plan, self._control)}

    def set_payload(self, worker: str, payload: Any) -> None:
        """What the worker is given from its next start on."""
        self._worker(worker).payload = payload

    # Running

    def start(self) -> None:
        """Start all workers; returns at once."""
        if self._closed:
            raise UsageError("this supervisor was stopped; make a new one")

        def all_of_them() -> None:
            for w in self._workers.values():
                w.start(clock())

        if self._thread is not None:
            self._ask(all_of_them)
            return
        all_of_them()  # at once, so that no status says STOPPED after this
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float = 2.0) -> None:
        """Stop all workers and remove every ring; returns when nothing is left, after `timeout_s` at most.

        Idempotent. SIGINT and SIGTERM are held off meanwhile (when called in the main thread).
        """
        with shielded():
            if self._closed:
                return
            self._closed = True
            atexit.unregister(self.stop)
            if self._thread is not None:
                self._ask(lambda: self._leave(timeout_s))
                self._thread.join(timeout_s + 1.0)
                if self._thread.is_alive():  # held up somewhere: at least the workers must not be left
                    for w in self._workers.values():
                        w.kill()
                    self._thread.join(1.0)
            self._fail_all(None, "the program is stopping")
            self._router.close()
            for ring in self._rings.values():
                ring.close()
            self._runtime.remove()
            with self._wake_lock:
                os.close(self._wake_w)
                os.close(self._wake_r)
                self._wake_w = -1  # its number may belong to another file soon

    def __enter__(self) -> Supervisor:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start_worker(self, worker: str) -> None:
        """Start one that is stopped or has been given up, with a fresh budget."""
        w = self._worker(worker)
        self._ask(lambda: w.start(clock()))

    def stop_worker(self, worker: str, timeout_s: float = 2.0) -> None:
        """Stop one; returns at once."""
        w = self._worker(worker)
        self._ask(lambda: self._stop_one(w, timeout_s))

    def restart(self, worker: str, timeout_s: float = 2.0) -> None:
        """Stop one if it runs and start it again, with a fresh budget; returns at once."""
        w = self._worker(worker)

        def again() -> None:
            self._stop_one(w, timeout_s)
            w.start(clock())

        self._ask(again)

    # Watching

    def statuses(self) -> list[WorkerStatus]:
        """Every worker's state, in the order they were added."""
        return [w.status() for w in self._workers.values()]

    def report(self, worker: str) -> Status | None:
        """The newest figures of the worker's present process."""
        return self._worker(worker).report

    def last_error(self, worker: str) -> str:
        """The worker's last error, "" if it had none; it stays after a successful restart."""
        return self._worker(worker).last_error

    def last_traceback(self, worker: str) -> str:
        """The traceback of the worker's last unforeseen error, for a bug report."""
        return self._worker(worker).last_traceback

    @property
    def epoch_ns(self) -> int | None:
        """`time.monotonic_ns` at which the common time axis begins; None before all are ready."""
        return self._epoch_ns

    def poll(self) -> list[FromWorker]:
        """What workers have published since the last call."""
        out = []
        with contextlib.suppress(IndexError):
            while True:
                out.append(self._published.popleft())
        return out

    def command(
        self, worker: str, verb: str, arguments: dict[str, Any] | None = None, *, target: str = ""
    ) -> Future[dict[str, Any]]:
        """Ask a worker for something; the answer, or a `CameraError`, comes through the future.

        Poll `future.done()`; nothing here blocks. A worker that dies, or does not answer in time, fails it.
        """
        w, future = self._worker(worker), Future[dict[str, Any]]()
        future.set_running_or_notify_cancel()  # it cannot be called back any more
        message = Command(number=next(self._numbers), verb=verb, arguments=arguments or {}, target=target)
        data = messages.pack(message)  # here: what cannot be sent is the caller's error
        self._pending[message.number] = _Pending(future, worker, clock() + self._command_timeout_s)

        def send() -> None:
            if not (w.connected and w.process is not None and self._send(w, data)):
                gone = f"worker {worker!r} does not run; {verb!r} was not done"
                self._fail(message.number, gone, WorkerGoneError)

        if self._thread is None or self._closed:
            send()
        else:
            self._ask(send)
        return future

    # Inside

    def _worker(self, name: str) -> Supervised:
        if name not in self._workers:
            raise UsageError(f"no worker {name!r}; there are {', '.join(self._workers) or 'none'}")
        return self._workers[name]

    def _ask(self, request: Callable[[], Any]) -> None:
        """Have the supervisor's thread do something."""
        self._requests.append(request)
        with self._wake_lock, contextlib.suppress(BlockingIOError):  # a full pipe wakes as well
            if self._wake_w >= 0:
                os.write(self._wake_w, b"!")

    def _send(self, w: Supervised, data: bytes) -> bool:
        assert w.spec is not None
        try:
            self._router.send_multipart([w.spec.identity, data], zmq.NOBLOCK)
        except zmq.ZMQError:
            return False
        return True

    def _stop_one(self, w: Supervised, timeout_s: float) -> None:
        w.stop(clock(), timeout_s, lambda given_s: self._send(w, messages.pack(Stop(given_s=given_s))))

    def _leave(self, timeout_s: float) -> None:
        self._leaving = True
        for w in self._workers.values():
            self._stop_one(w, timeout_s)

    def _run(self) -> None:
        # Children inherit the mask: Ctrl+C cannot hit one before it has learnt to ignore it.
        blocked = {signal.SIGINT}
        signal.pthread_sigmask(signal.SIG_BLOCK, blocked)
        try:
            before = clock()
            while not (self._leaving and all(w.process is None for w in self._workers.values())):
                self._wait()
                now = clock()
                if now - before > 1.0 + _TICK_MS / 1e3:
                    for w in self._workers.values():
                        w.excuse(now)
                before = now
                while self._requests:
                    self._requests.popleft()()
                self._receive(now)
                for w in self._workers.values():
                    had = w.process
                    signal.pthread_sigmask(signal.SIG_BLOCK, blocked)
                    w.tick(now)
                    if had is not None and w.process is None:
                        self._fail_all(w.plan.name, f"worker {w.plan.name!r} ended before it answered")
                self._time_out(now)
                self._settle_epoch()
        except Exception as e:
            traceback.print_exc()
            for w in self._workers.values():
                w.abandon(f"the supervisor failed: {one_line(e)}")

    def _wait(self) -> None:
        poller = zmq.Poller()
        poller.register(self._router, zmq.POLLIN)
        poller.register(self._wake_r, zmq.POLLIN)
        for w in self._workers.values():
            # One whose end is known already would make this return at once, over and over.
            if w.process is not None and not w.ended:
                poller.register(w.process.sentinel, zmq.POLLIN)
        poller.poll(_TICK_MS)
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake_r, 4096)

    def _receive(self, now: float) -> None:
        by_identity = {w.spec.identity: w for w in self._workers.values() if w.spec is not None}
        for _ in range(_KEPT):  # a worker that floods must not keep the others waiting
            try:
                parts = self._router.recv_multipart(zmq.NOBLOCK)
            except zmq.ZMQError:
                return
            w = by_identity.get(parts[0])
            try:
                if w is None or len(parts) != 2:
                    raise InvalidMessage("from nobody")
                message = messages.from_worker(parts[1])
            except InvalidMessage:
                self.refused += 1
                continue
            if isinstance(message, Status):
                w.heard(message, now)
                if message.ready and self._epoch_ns is not None:
                    self._send(w, messages.pack(Start(epoch_ns=self._epoch_ns)))
                continue
            w.heard_something(now)
            if isinstance(message, Published):
                self.overlooked += len(self._published) == _KEPT
                self._published.append(FromWorker(w.plan.name, message.topic, message.body))
            else:
                self._answered(message)

    def _answered(self, reply: Reply) -> None:
        pending = self._pending.pop(reply.number, None)
        if pending is None:
            return  # too late
        if reply.error:
            pending.future.set_exception(CameraError(reply.error))
        else:
            pending.future.set_result(reply.result)

    def _fail(self, number: int, text: str, kind: type[CameraError] = CameraError) -> None:
        pending = self._pending.pop(number, None)
        if pending is not None:
            pending.future.set_exception(kind(text))

    def _fail_all(self, worker: str | None, text: str) -> None:
        for number, p in list(self._pending.items()):
            if worker in (None, p.worker):
                self._fail(number, text)

    def _time_out(self, now: float) -> None:
        for number, p in list(self._pending.items()):
            if now > p.deadline:
                self._fail(number, f"worker {p.worker!r} did not answer within {self._command_timeout_s:g} s")

    def _settle_epoch(self) -> None:
        """Once every worker of the common start is ready (or faulted), set the epoch and tell them."""
        if self._epoch_ns is not None:
            return
        ready = [w for w in self._workers.values() if w.ready]
        if not ready or any(w.holds_up_epoch for w in self._workers.values()):
            return
        self._epoch_ns = time.monotonic_ns() + self._epoch_lead_ns
        start = messages.pack(Start(epoch_ns=self._epoch_ns))
        for w in ready:
            self._send(w, start)  # lost ones are sent again at the next sign of life
