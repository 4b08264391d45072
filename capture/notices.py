"""Wake-up notices over ZeroMQ, and the private directory in which their sockets live.

A notice says only "something was written"; the ring is the truth. A notice that is lost (a full queue, a
reader that connects late, a writer that was restarted) costs a reader at most `LOOK_S` of delay, never an
item.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import tempfile
import weakref
from pathlib import Path

import zmq

from capture.errors import HalfmirrorError
from capture.passing_folder import LOCK, lock_folder
from capture.ring_memory import process_token
from capture.ring_segment import remove_segments
from capture.scratch import scratch_root

LOOK_S = 0.02
"""How often a waiting reader looks at the ring by itself, in case a notice was lost."""

_HWM = 8
_PREFIX = "halfmirror-"
_NAME = re.compile(rf"{_PREFIX}(\d+)-(\d+)-")
_LONGEST_PATH = 100  # a Unix socket's path has at most 107 bytes


def context() -> zmq.Context[zmq.Socket[bytes]]:
    """This process's ZeroMQ context (one I/O thread)."""
    return zmq.Context.instance()


def socket(kind: int, *, hwm: int = _HWM) -> zmq.Socket[bytes]:
    """A socket that never holds up anybody: short queues, nothing lingers when it is closed."""
    s = context().socket(kind)
    s.setsockopt(zmq.LINGER, 0)
    s.setsockopt(zmq.SNDHWM, hwm)
    s.setsockopt(zmq.RCVHWM, hwm)
    s.setsockopt(zmq.RECONNECT_IVL, 20)
    s.setsockopt(zmq.RECONNECT_IVL_MAX, 200)
    return s


class RuntimeDirectory:
    """A directory only this user can enter (mode 0700), for sockets; removed at the end.

    What an earlier process left behind when it was killed is swept away, its rings' memory too. A lock in the
    directory tells that its owner lives: two containers that share it see no process of each other.

    Raises:
        NoScratch: no place for it can be written to.
    """

    def __init__(self) -> None:
        root = scratch_root()
        if len(str(root)) > _LONGEST_PATH - 50:
            root = Path("/tmp")
        _sweep(root)
        mine = os.getpid()
        made = Path(tempfile.mkdtemp(prefix=f".{_PREFIX}{mine}-{process_token(mine)}-", dir=root))
        lock = lock_folder(made)
        self.path = made.rename(made.with_name(made.name[1:]))  # seen by others only with its lock
        self._remove = weakref.finalize(self, _remove, self.path, lock)

    def address(self, name: str) -> str:
        """ZeroMQ address of a socket in this directory.

        Raises:
            HalfmirrorError: the name makes the path too long for a socket.
        """
        path = self.path / name
        if len(os.fsencode(path)) > _LONGEST_PATH:
            raise HalfmirrorError(f"socket path {path} is too long; set TMPDIR to a shorter one")
        return f"ipc://{path}"

    def remove(self) -> None:
        """Remove the directory and all in it. Idempotent."""
        self._remove()


def _remove(directory: Path, lock: int | None) -> None:
    shutil.rmtree(directory, ignore_errors=True)
    if lock is not None:
        os.close(lock)


def _sweep(root: Path) -> None:
    try:
        entries = list(root.glob(_PREFIX + "*"))
    except OSError:
        return
    dead: list[tuple[Path, int]] = []
    alive: set[int] = set()  # also ids of other containers, whose rings may lie where ours do
    for d in entries:
        m = _NAME.match(d.name)
        try:
            # Only our own, only dead: another user's directory is none of our business.
            if m and d.stat().st_uid == os.getuid():
                if _owner_lives(d, int(m[1]), int(m[2])):
                    alive.add(int(m[1]))
                else:
                    dead.append((d, int(m[1])))
        except OSError:
            continue
    for d, pid in dead:
        if pid not in alive and not process_token(pid):  # else a later process may have rings of the same name
            remove_segments(pid)
        shutil.rmtree(d, ignore_errors=True)


def _owner_lives(directory: Path, pid: int, token: int) -> bool:
    """By its lock; where there is none by its process id, which only its own container knows."""
    with contextlib.suppress(FileNotFoundError):
        fd = os.open(directory / LOCK, os.O_RDWR)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            pass  # no locks here
        else:
            return False
        finally:
            os.close(fd)
    return process_token(pid) == token


class Notifier:
    """The writer's side: `notify` wakes all listeners and never waits."""

    def __init__(self, address: str) -> None:
        self._socket = socket(zmq.PUB)
        self._socket.bind(address)

    def notify(self) -> None:
        """Wake whoever listens."""
        with contextlib.suppress(zmq.ZMQError):  # the ring has it; the reader looks by itself
            self._socket.send(b"", zmq.NOBLOCK)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


class Listener:
    """A reader's side: `wait` returns when a notice came, or after `LOOK_S`, whichever is first."""

    def __init__(self, address: str) -> None:
        self.socket = socket(zmq.SUB)
        self.socket.setsockopt(zmq.SUBSCRIBE, b"")
        self.socket.connect(address)

    def wait(self, timeout_s: float) -> None:
        """Wait for a notice; what is queued is used up."""
        if self.socket.poll(max(0, round(1e3 * min(timeout_s, LOOK_S)))):
            self.drain()

    def drain(self) -> None:
        """Use up all queued notices."""
        with contextlib.suppress(zmq.Again):
            while True:
                self.socket.recv(zmq.NOBLOCK)

    def close(self) -> None:
        """Close the socket."""
        self.socket.close()
