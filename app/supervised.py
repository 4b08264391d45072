"""One supervised worker: its plan, its process, and the policy of restarts, hangs and stopping.

It is driven by `tick`; only the supervisor's own thread touches it. It keeps no thread and no socket.
"""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.context import SpawnProcess
from typing import Any

from app.session import WorkerStatus
from capture.camera import CameraState
from capture.link import LinkSpec, Target, one_line, serve
from capture.messages import Status

_SETTLE_S = 0.1
"""After a process has ended: how long its last words may take to arrive."""
_LAST_WORDS_S = 1.0
"""The same where it failed and has not said why: a busy machine may hand the reason over late."""
_TERM_S, _KILL_S = 0.9, 0.4
"""Before the end of the time in which a worker has to stop: it is sent SIGTERM, and SIGKILL."""
_OFTEN = 3
"""From so many times on that it was killed from outside, that is no accident: memory is short, say."""
_RUNS_WELL_S = 10.0
"""A worker that failed and has given nothing since runs well all the same when it says no fault for so long."""
NO_GUARD = 'put what uses halfmirror.live under: if __name__ == "__main__":'
"""What a worker has to say that read the program anew and came upon the start of workers in it."""
NO_GUARD_STATUS = 78
"""It leaves with this exit status, since it has no link yet to say so by."""


@dataclass(frozen=True, slots=True)
class WorkerPlan:
    """How to make a worker, and when to give up on it.

    Attributes:
        name: short and unique: "events", "frames", "restore", …
        target: an importable function `target(link, payload)`.
        payload: picklable; what it is to do.
        joins_epoch: it waits (`link.wait_start`) until every such worker is ready; all begin at one epoch.
        heartbeat_s: a running worker that says nothing for so long hangs, and is killed.
        starting_s: the same for one that is still starting (imports, compiling, opening).
        budget, window_s: so many restarts within so many seconds, or however far apart while it never once
            runs; then it stays FAULTED.
        killed_hint: what a person may do where it is killed from outside again and again.
    """

    name: str
    target: Target
    payload: Any = None
    joins_epoch: bool = False
    heartbeat_s: float = 5.0
    starting_s: float = 120.0
    budget: int = 5
    window_s: float = 60.0
    killed_hint: str = ""


class Supervised:
    """State of one worker."""

    def __init__(self, plan: WorkerPlan, control: str) -> None:
        self.plan, self.payload, self._control = plan, plan.payload, control
        self.process: SpawnProcess | None = None
        self.spec: LinkSpec | None = None
        self.wanted = False
        self.state = CameraState.STOPPED
        self.detail = ""
        self.last_error = ""
        self.last_traceback = ""
        self.report: Status | None = None
        self.restarts = 0
        self.connected = False
        self._incarnation = -1
        self._failures: deque[float] = deque()
        self._killed = 0  # by a SIGKILL that was not ours
        self._vain = 0  # failures without running in between
        self._ran = False  # since the last failure
        self._seen = 0.0
        self._down_since: float | None = None
        self._down_items = 0  # that it had given when it failed first
        self._faulted = 0.0
        self._retry_at: float | None = None
        self._ended_at: float | None = None
        self._killed_for = ""
        self._again = False
        self._stop_steps: list[tuple[float, Callable[[], object]]] = []

    # What it is told

    def start(self, now: float) -> None:
        """Make it run, with a fresh budget; one that is being stopped starts again when it has ended."""
        self._failures.clear()
        self._vain, self._ran, self._killed = 0, False, 0
        if self.process is None:
            self.wanted, self._retry_at = True, now
            self.state, self.detail = CameraState.STARTING, ""
        elif not self.wanted:
            self._again = True

    def stop(self, now: float, timeout_s: float, ask: Callable[[float], object]) -> None:
        """Make it stop: ask, then SIGTERM, then SIGKILL, all within the time given.

        `ask` is told after how many seconds its process will be ended.
        """
        self.wanted, self._again, self._retry_at = False, False, None
        if self.process is None:
            self.state, self.detail = CameraState.STOPPED, ""
            return
        self.state, self.detail = CameraState.STOPPING, ""
        # One that is given a minute to finish is to have it.
        killed_s = max(0.8 * timeout_s, timeout_s - _KILL_S)
        # One that has not spoken yet cannot be asked.
        first = (lambda: ask(killed_s)) if self.connected else self.process.terminate
        self._stop_steps = [
            (now, first),
            (now + max(0.55 * timeout_s, timeout_s - _TERM_S), self.process.terminate),
            (now + killed_s, self.process.kill),
        ]

    def heard(self, status: Status, now: float) -> None:
        """A status from the present process."""
        self._seen, self.connected, self.report = now, True, status
        self._ran = self._ran or status.state is CameraState.RUNNING
        if status.state is CameraState.FAULTED and status.detail:
            self.last_error, self.last_traceback = status.detail, status.traceback
        self._reckon(status, now)
        if not self.wanted:
            return
        if status.state is CameraState.STARTING and not status.detail:
            self.state = status.state  # why it had to start again is worth more than nothing
        else:
            self.state, self.detail = status.state, status.detail

    def _reckon(self, status: Status, now: float) -> None:
        """Since when is it down? A camera that opens and then sends nothing has not come back by that."""
        if status.state is CameraState.FAULTED:
            self._faulted = now
            if self._down_since is None:
                self._down_since, self._down_items = now, status.items
        elif status.state is CameraState.RUNNING and (
            status.items > self._down_items or now - self._faulted > _RUNS_WELL_S
        ):
            self._down_since = None

    def heard_something(self, now: float) -> None:
        """Any other message from the present process: it lives."""
        self._seen = now

    def excuse(self, now: float) -> None:
        """The supervisor itself was held up (suspended, stopped): silence until now proves nothing."""
        self._seen = max(self._seen, now)

    def kill(self) -> None:
        """End its process now, whatever it does; callable from any thread."""
        process = self.process
        if process is not None:
            process.kill()

    def abandon(self, text: str) -> None:
        """Nobody will look after it any more: end its process."""
        if self.process is not None:
            self.process.kill()
            self.process.join()
            self.process = None
        self.wanted = self._again = False
        self.state, self.detail, self.last_error = CameraState.FAULTED, text, text

    # What it does

    def tick(self, now: float) -> None:
        """Look after the process: start, notice its end, kill it when it hangs, restart it."""
        if self.process is None:
            if self.wanted and self._retry_at is not None and now >= self._retry_at:
                self._spawn(now)
            return
        if self.process.exitcode is not None:
            if self._ended_at is None:
                self._ended_at = now
            elif now - self._ended_at >= (_SETTLE_S if self._said_all() else _LAST_WORDS_S):
                self._settle(now)
            return
        while self._stop_steps and now >= self._stop_steps[0][0]:
            self._stop_steps.pop(0)[1]()
        if self.wanted and not self._killed_for:
            starting = self.report is None or self.report.state is CameraState.STARTING
            limit = self.plan.starting_s if starting else self.plan.heartbeat_s
            if now - self._seen > limit:
                self._killed_for = f"no sign of life for {limit:g} s; killed"
                self.process.kill()

    def _spawn(self, now: float) -> None:
        self._incarnation += 1
        self._retry_at = self._ended_at = self.report = None
        self.connected, self._killed_for, self._seen, self._down_since = False, "", now, None
        again = f"started again after: {self.last_error}" if self._failures else ""
        self.state, self.detail = CameraState.STARTING, again
        self.spec = LinkSpec(self.plan.name, self._incarnation, self._control)
        process = multiprocessing.get_context("spawn").Process(
            target=serve, args=(self.spec, self.plan.target, self.payload), name=self.plan.name
        )
        try:
            process.start()
        except Exception as e:  # a payload that cannot be pickled, no more processes, no memory
            self.wanted = False
            self.state, self.detail = CameraState.FAULTED, f"cannot be started: {one_line(e)}"
            self.last_error = self.detail
            return
        self.process = process

    def _said_all(self) -> bool:
        """Nothing more is to be expected: it did not fail by itself, or has said why."""
        code = self.process.exitcode if self.process is not None else 0
        return code != 1 or (self.report is not None and self.report.state is CameraState.FAULTED)

    def _settle(self, now: float) -> None:
        """The process has ended, and what it had to say has been heard."""
        assert self.process is not None
        process, report = self.process, self.report
        code = process.exitcode or 0
        self.process, self._stop_steps = None, []  # another thread may ask for its id
        process.join()
        process.close()
        if not self.wanted:
            self.state, self.detail = CameraState.STOPPED, ""
            if self._again:
                self._again = False
                self.start(now)
            return
        if code == 0 and not self._killed_for:
            self.wanted = False
            self.state, self.detail = CameraState.STOPPED, "ended by itself"
            return
        self._failed(code, report, now)

    def _failed(self, code: int, report: Status | None, now: float) -> None:
        told = report is not None and report.state is CameraState.FAULTED
        if self._killed_for:
            text = self._killed_for
        elif code < 0:
            text = f"killed by {_signal_name(-code)}"
            self._killed += code == -signal.SIGKILL
            if self._killed >= _OFTEN and code == -signal.SIGKILL and self.plan.killed_hint:
                text += f", {self._killed} times now: {self.plan.killed_hint}"
        elif told and report is not None:
            text = report.detail
        elif code == NO_GUARD_STATUS:
            text = NO_GUARD
        else:
            text = f"left with exit status {code} without a word"
        self.state, self.detail, self.last_error = CameraState.FAULTED, text, text
        if text == NO_GUARD or (told and report is not None and report.permanent and code >= 0):
            self.wanted = False
            return
        while self._failures and now - self._failures[0] > self.plan.window_s:
            self._failures.popleft()
        self._vain, self._ran = 1 if self._ran else self._vain + 1, False
        within = f" in {self.plan.window_s:g} s" if len(self._failures) >= self.plan.budget else ", all in vain"
        if len(self._failures) >= self.plan.budget or self._vain > self.plan.budget:
            self.wanted = False
            self.detail = f"{text}; given up after {self.plan.budget} restarts{within}"
            return
        self._failures.append(now)
        self.restarts += 1
        self._retry_at = now + min(2.0, 0.1 * 2 ** (len(self._failures) - 1))

    @property
    def ended(self) -> bool:
        """Its process has ended; what is left is to hear its last words."""
        return self._ended_at is not None

    @property
    def holds_up_epoch(self) -> bool:
        """The others should still wait for it with the common start."""
        if not self.plan.joins_epoch or not self.wanted or self.state is CameraState.FAULTED:
            return False
        return self.state is CameraState.STARTING and not self.ready

    @property
    def ready(self) -> bool:
        """It is open and waits for the start."""
        return self.process is not None and self.report is not None and self.report.ready

    def status(self) -> WorkerStatus:
        """For the status strip."""
        process, down_since = self.process, self._down_since  # the supervisor's thread changes them
        live = self.report if process is not None else None
        running = live is not None and self.state is CameraState.RUNNING
        return WorkerStatus(
            self.plan.name,
            self.state,
            self.detail,
            self.restarts,
            process.pid if process is not None else None,
            live.fps if live else 0.0,
            live.backlog if live else 0,
            clock() - down_since if live is not None and down_since is not None else 0.0,
            int(clock() - self._seen) if running else 0,
        )


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def clock() -> float:
    """The supervisor's clock, in seconds; does not jump."""
    return time.monotonic()
