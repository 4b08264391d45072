"""What a session asks of its workers: kept in order until all run, and told again to one that was restarted."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from app.supervisor import Supervisor, WorkerGoneError
from capture.camera import CameraState
from capture.errors import HalfmirrorError
from capture.link import one_line

LET_GO: dict[str, Any] = {"ordinal": None}
NOT_DONE = {
    "hold": "the frame is not held", "request": "this instant is not restored", "latents": "the instant stays",
    "network": "the network stays", "residual": "no re-blur residual is measured",
}  # fmt: skip


class Asking:
    """The commands of one session. For one thread; nothing blocks.

    Args:
        say: takes a line about a command that could not be sent, or that its worker refused.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._early: deque[tuple[str, str, dict[str, Any], str]] = deque()
        self._replies: deque[tuple[str, str, Future[dict[str, Any]]]] = deque()
        self._wishes: dict[tuple[str, str], dict[str, Any]] = {}
        self._incarnations: dict[str, int] = {}
        self._processes: dict[str, int] = {}
        self._running = False

    @property
    def waits(self) -> bool:
        """Something was asked for that is not sent yet."""
        return bool(self._early)

    def ask(
        self, supervisor: Supervisor | None, worker: str, verb: str, arguments: dict[str, Any], target: str = ""
    ) -> None:
        """Have a worker do something, now or as soon as it can be told."""
        self._early.append((worker, verb, arguments, target))
        self.send_early(supervisor)

    def keep(self, worker: str, verb: str, arguments: dict[str, Any]) -> None:
        """A restarted worker must be told this again; the newest of a verb counts."""
        self._wishes[worker, verb] = arguments

    def forget(self, worker: str, verb: str) -> None:
        """No longer is a restarted worker told this."""
        self._wishes.pop((worker, verb), None)

    def renew(self, supervisor: Supervisor, worker: str, incarnation: int) -> None:
        """Tell a restarted worker what is kept."""
        if incarnation > self._incarnations.get(worker, 0):
            self._incarnations[worker] = incarnation
            self._tell_again(supervisor, worker)

    def meet(self, supervisor: Supervisor, worker: str, process: int | None) -> None:
        """As `renew`, for a worker whose process alone tells that it was restarted."""
        before = self._processes.get(worker)
        if process is not None and process != before:
            self._processes[worker] = process
            if before is not None:
                self._tell_again(supervisor, worker)

    def _tell_again(self, supervisor: Supervisor, worker: str) -> None:
        for (name, verb), arguments in self._wishes.items():
            if name == worker:
                self.ask(supervisor, worker, verb, arguments)

    def send_early(self, supervisor: Supervisor | None) -> None:
        """Send what was asked for, in order: to a worker that runs, to any once all do for the first time.

        A camera that is not there must not keep the others from being asked.
        """
        if supervisor is None or not self._early:
            return
        states = {} if self._running else {w.name: w.state for w in supervisor.statuses()}
        self._running = all(s is CameraState.RUNNING for s in states.values())
        early, self._early = self._early, deque()
        for asked in early:
            if self._running or states.get(asked[0]) is CameraState.RUNNING:
                self._send(supervisor, *asked)
            else:
                self._early.append(asked)

    def _send(
        self, supervisor: Supervisor, worker: str, verb: str, arguments: dict[str, Any], target: str
    ) -> None:
        try:
            future = supervisor.command(worker, verb, arguments, target=target)
        except HalfmirrorError as e:
            self._say(one_line(e))
            return
        if arguments == LET_GO:
            return  # a worker that cannot be told holds nothing
        self._replies.append((worker, verb, future))

    def settle(self) -> None:
        """Say which of the commands that were answered failed."""
        for _ in range(len(self._replies)):
            worker, verb, future = self._replies.popleft()
            if not future.done():
                self._replies.append((worker, verb, future))
            elif not future.cancelled() and (error := future.exception()) is not None:
                gone = isinstance(error, WorkerGoneError)
                said = NOT_DONE.get(verb, f"{verb} was not done")
                self._say(f"{worker} does not run: {said}" if gone else words_of(verb, error))


def words_of(verb: str, error: BaseException) -> str:
    """What was not done and why; an error that begins with that word says it alone."""
    said = str(error)
    return said if said.startswith(f"{verb} ") else f"{verb}: {said}"
