"""Starts the sandbox's children: a process that has imported what they need, and forks.

A child that starts from nothing spends a third of a second of processor time on numpy and the native reader
before it looks at the file. This process imports each reader once and forks, which takes milliseconds. It opens
no file and has one thread, so what it hands on is sound; whatever breaks, breaks in the child.

The messages (from the parent, over a stream socket): four bytes of length, then JSON; the descriptors of a
child come with the length. A child's status pipe tells its process id, and its exit status once it has one. See
`recordings.sandbox_process` for the parent's side.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import select
import signal
import socket
import struct
from typing import Any

from recordings import sandbox_child

LENGTH = struct.Struct("<I")
STATUS = struct.Struct("<i")
# What comes with a request to start: the child's own three, then its stderr, then its status pipe.
DESCRIPTORS = 5


class Nursery:
    """Serves one parent until it is gone.

    Args:
        control: the socket to the parent, this process's only tie to it.
    """

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._born: dict[int, int] = {}  # process id → status pipe
        self._by_number: dict[int, int] = {}
        self._wake, wake = os.pipe()
        os.set_blocking(self._wake, False)
        os.set_blocking(wake, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)

    def serve(self) -> None:
        """Start and end children until the parent is gone; they see that for themselves."""
        control = self._control.fileno()
        while True:
            ready, _, _ = select.select([control, self._wake], [], [])
            if self._wake in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._wake, 4096)
                self._reap()
            if control in ready:
                head, given, _, _ = socket.recv_fds(self._control, LENGTH.size, DESCRIPTORS)
                body = self._exactly(LENGTH.unpack(head)[0]) if len(head) == LENGTH.size else b""
                if not body:
                    return
                request = json.loads(body)
                if "kill" in request:
                    self._kill(int(request["kill"]))
                else:
                    self._start(int(request["number"]), request["plan"], given)

    def _exactly(self, n: int) -> bytes:
        data = b""
        while len(data) < n and (part := self._control.recv(n - len(data))):
            data += part
        return data if len(data) == n else b""

    def _start(self, number: int, plan: dict[str, Any], given: list[int]) -> None:
        # Whatever is wrong with it, the child meets again and tells.
        also: tuple[str, ...] = ()
        with contextlib.suppress(Exception):
            module = importlib.import_module(str(plan["target"]).partition(":")[0])
            also = getattr(module, "ALSO", ())
            gc.collect()
            gc.freeze()  # no collection in a child writes to the pages that it shares
        *own, stderr, status = given
        try:
            pid = os.fork()
        except OSError as e:
            with contextlib.suppress(OSError):
                os.write(stderr, f"no process could be started: {e}\n".encode())
            _tell(status, 0)
            _tell(status, 1)
            pid = -1
        if pid == 0:
            _be_born(plan, own, stderr)
        for fd in (*own, stderr):
            os.close(fd)
        if pid < 0:
            os.close(status)
            return
        self._born[pid], self._by_number[number] = status, pid
        _tell(status, pid)
        # For those that come after: the first one imports what its own file needs, and no more.
        with contextlib.suppress(Exception):
            for name in also:
                importlib.import_module(name)

    def _kill(self, number: int) -> None:
        """Its id is its own as long as it has not been reaped, which happens here."""
        pid = self._by_number.get(number)
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _reap(self) -> None:
        while self._born:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            pipe = self._born.pop(pid)
            self._by_number = {n: p for n, p in self._by_number.items() if p != pid}
            _tell(pipe, os.waitstatus_to_exitcode(status))
            os.close(pipe)


def _tell(pipe: int, value: int) -> None:
    with contextlib.suppress(OSError):  # nobody wants to know any more
        os.write(pipe, STATUS.pack(value))


def _behind_last_descriptor() -> int:
    """The limit on descriptors may be a thousand million, and not every system closes a range at once."""
    try:
        return max(map(int, os.listdir("/proc/self/fd"))) + 1
    except OSError:
        return os.sysconf("SC_OPEN_MAX")


def _be_born(plan: dict[str, Any], own: list[int], stderr: int) -> None:
    """The child, just forked; never returns."""
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        os.dup2(stderr, 2)
        kept = sorted(own)
        for low, high in zip([2, *kept], [*kept, _behind_last_descriptor()], strict=True):
            os.closerange(low + 1, high)
        plan = {**plan, "connection": own[0], "arena": own[1], "lifeline": own[2]}
        sandbox_child.main(json.dumps(plan))
    finally:
        os._exit(1)


def main(control_fd: int) -> None:
    """Entry of the process; never returns."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C is the parent's business
    os.chdir("/")  # no mount stays busy for it
    try:
        Nursery(socket.socket(fileno=control_fd)).serve()
    finally:
        os._exit(0)
