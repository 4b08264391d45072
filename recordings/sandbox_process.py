"""The sandbox's child as its parent sees it: started by a nursery, waited for, ended.

There is one nursery (`recordings.sandbox_nursery`) for each process that reads recordings, started with the
first child and gone with that process. It is a plain `Popen`: no name that could be left behind, no second
import of the caller's main module, and it also works inside daemonic `multiprocessing` workers, which may not
have children of their own kind.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from recordings.sandbox_nursery import LENGTH, STATUS

_ROOT = str(Path(__file__).resolve().parents[1])
_CODE = (
    f"import sys; sys.path.insert(0, {_ROOT!r}); "
    "from recordings.sandbox_nursery import main; main(int(sys.argv[1]))"
)


class ChildProcess:
    """One child of the sandbox.

    Args:
        plan: what `recordings.sandbox_child.main` takes, without the descriptors.
        connection, arena, lifeline, stderr: descriptors that the child gets; the caller closes its own.

    Raises:
        OSError: no process can be started.
    """

    def __init__(self, plan: dict[str, Any], connection: int, arena: int, lifeline: int, stderr: int) -> None:
        self._lock = threading.Lock()
        self._pid: int | None = None
        self._ended = False
        self.returncode: int | None = None
        self._status, status = os.pipe()
        try:
            fds = [connection, arena, lifeline, stderr, status]
            self._nursery, self._number = _started(plan, fds)
        except BaseException:
            os.close(self._status)
            raise
        finally:
            os.close(status)

    @property
    def pid(self) -> int:
        """Its process id; 0 when it never had one. Waits for it to be born."""
        with self._lock:
            if self._pid is None and not self._ended:
                self._pid = self._told()
        return self._pid or 0

    def wait(self, timeout_s: float) -> int | None:
        """Its exit status (negative: the signal that ended it); None when it has none by then."""
        _ = self.pid
        with self._lock:
            if not self._ended and select.select([self._status], [], [], timeout_s)[0]:
                self.returncode = self._told()
                self._end()
        return self.returncode

    def kill(self) -> None:
        """End it, and wait up to a second for that. Idempotent."""
        with self._lock:
            if self._ended:
                return
        with contextlib.suppress(OSError):
            self._nursery.send({"kill": self._number})
        # Not `pid`: a nursery that hangs must not make this wait.
        until = time.monotonic() + 0.9
        with self._lock:
            while (
                not self._ended and select.select([self._status], [], [], max(0, until - time.monotonic()))[0]
            ):
                value = self._told()
                if self._pid is None and value is not None:
                    self._pid = value
                    continue
                self.returncode = value
                self._end()
            self._end()

    def _told(self) -> int | None:
        """The next value from the status pipe; None when the nursery is gone."""
        data = os.read(self._status, STATUS.size)
        return int(STATUS.unpack(data)[0]) if len(data) == STATUS.size else None

    def _end(self) -> None:
        if not self._ended:
            self._ended = True
            os.close(self._status)


class _Nursery:
    """The nursery of this process."""

    def __init__(self) -> None:
        here, there = socket.socketpair()
        try:
            with there:
                self._process = subprocess.Popen(
                    [sys.executable, "-P", "-c", _CODE, str(there.fileno())], pass_fds=[there.fileno()],
                    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                    # One thread: what forks must have no other.
                    env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
                    # Its own session: Ctrl+C in the terminal reaches the parent only.
                    start_new_session=True,
                )  # fmt: skip
        except BaseException:
            here.close()
            raise
        self._socket = here
        self._lock = threading.Lock()
        self._count = 0

    def start(self, plan: dict[str, Any], fds: list[int]) -> int:
        """Ask for a child; its number for `kill`."""
        with self._lock:
            self._count += 1
            number = self._count
        self.send({"number": number, "plan": plan}, fds)
        return number

    def send(self, message: dict[str, Any], fds: list[int] | None = None) -> None:
        body = json.dumps(message).encode()
        with self._lock:
            if self._process.poll() is not None:
                raise BrokenPipeError("the process that starts readers has ended")
            socket.send_fds(self._socket, [LENGTH.pack(len(body))], fds or [])
            self._socket.sendall(body)

    def forget(self) -> None:
        """In a fork of the process that it belongs to."""
        self._socket.close()


_here: _Nursery | None = None
_lock = threading.Lock()


def _started(plan: dict[str, Any], fds: list[int]) -> tuple[_Nursery, int]:
    """From the nursery of this process; a new one where there is none any more."""
    global _here
    with _lock:
        if _here is not None:
            with contextlib.suppress(OSError):
                return _here, _here.start(plan, fds)
        _here = _Nursery()
        return _here, _here.start(plan, fds)


def prepare() -> None:
    """Start the nursery now, so that the first child need not wait for it."""
    global _here
    with _lock:
        if _here is None:
            _here = _Nursery()


def _forked() -> None:
    global _here, _lock
    nursery, _here, _lock = _here, None, threading.Lock()
    if nursery is not None:
        nursery.forget()


os.register_at_fork(after_in_child=_forked)
