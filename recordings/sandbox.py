"""Reads what cannot be trusted in a child process with a deadline.

Native readers (dv-processing) may hang, segfault or abort on damaged files. They run in a child process;
what they read comes back through an arena of shared memory whose slots are credits: the child waits for
free slots, so memory is constant whatever the file's size, and a slow reader slows the child.

The arena is an anonymous file that both processes map: no name in /dev/shm that could be left behind. How the
child is started: `recordings.sandbox_process`.

Everything that arrives from the child is taken as data from outside: sizes, types and slots are checked
here, contents are checked by whoever asked (see `recordings.merging`).
"""

from __future__ import annotations

import contextlib
import mmap
import os
import signal
import tempfile
import time
import weakref
from collections.abc import Iterator
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
from numpy.typing import NDArray

from recordings.kept_memory import keep_freed_memory
from recordings.recording import ReadCancelled, RecordingError
from recordings.sandbox_child import PAGE
from recordings.sandbox_child import Reply as Reply
from recordings.sandbox_process import ChildProcess

SLOTS = 8
SLOT_BYTES = 4 << 20
_SIZE = SLOTS * SLOT_BYTES + PAGE
_DTYPES = frozenset({"<i8", "<u2", "<i2", "|u1", "|i1", "|b1"})
_POLL_S = 0.05
# A disk that sleeps, or a server that stalls, may take so long to give something.
DISK_S = 120.0


class ReaderBroken(RecordingError):
    """The child hung or crashed; the sandbox is closed.

    Attributes:
        how: "hung" or "crashed", for a report.
        stage: what the server had marked last (`sandbox_child.mark`).
    """

    def __init__(self, text: str, how: str, stage: int) -> None:
        super().__init__(text)
        self.how, self.stage = how, stage


class Sandbox:
    """A child process that serves requests of one reader object.

    Args:
        target: `module:class` in this source tree; the child calls `class(**arguments)` once, then its
            generator methods `do_<verb>(**arguments)`, which yield `Reply`.
        arguments: plain values.
        what: what is read, for messages (usually the path).
        deadline_s: longest time without progress, while this side waits. Waiting for the disk does not count,
            up to `DISK_S`.
        bytes_to_read: size of the file; reading from disk up to four times this size, for each request,
            counts as progress (a library may scan a whole file in one call).
    """

    def __init__(
        self,
        target: str,
        arguments: dict[str, Any],
        *,
        what: str,
        deadline_s: float = 10.0,
        bytes_to_read: int = 0,
    ) -> None:
        self._what = what
        self.deadline_s = deadline_s
        self._cancelled = False
        self._request = 0
        self._may_read = self._read_limit = 4 * bytes_to_read + (64 << 20)
        self._rchar = 0
        arena_fd = _anonymous_file(_SIZE)
        here, there = Pipe(duplex=True)
        life_r, life_w = os.pipe()
        err_r, err_w = os.pipe()
        os.set_blocking(err_w, False)  # a chatty native library must not block on a pipe nobody reads
        os.set_blocking(err_r, False)
        plan = {"slots": SLOTS, "slot_bytes": SLOT_BYTES, "target": target, "arguments": arguments}
        try:
            self._process = ChildProcess(plan, there.fileno(), arena_fd, life_r, err_w)
            self._map = mmap.mmap(arena_fd, _SIZE)
        except OSError as e:
            os.close(life_w)
            os.close(err_r)
            here.close()
            raise RecordingError(f"{what}: the process that reads it cannot be started ({e})") from e
        finally:
            os.close(arena_fd)
            os.close(life_r)
            os.close(err_w)
            there.close()
        self._arena = np.frombuffer(self._map, np.uint8, SLOTS * SLOT_BYTES).reshape(SLOTS, SLOT_BYTES)
        self._connection = here
        keep_freed_memory()
        self._err_fd = err_r
        self._finalizer = weakref.finalize(self, _end, self._process, here, life_w, err_r)

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._process.pid

    @property
    def closed(self) -> bool:
        """The child has been ended."""
        return not self._finalizer.alive

    def cancel(self) -> None:
        """Make a read that waits in another thread raise `ReadCancelled` within 0.1 s. `resume` undoes it."""
        self._cancelled = True

    def resume(self) -> None:
        """Allow reads again after `cancel`."""
        self._cancelled = False

    def request(self, verb: str, **arguments: Any) -> Iterator[Reply]:
        """All replies to a request, lazily. A later request ends an earlier one.

        Raises:
            ReaderBroken: the child crashed, or made no progress for `deadline_s`; the sandbox is closed.
            RecordingError: the child refused; the disk gives nothing.
            ReadCancelled: by `cancel`.
        """
        if self.closed:
            raise RecordingError(f"{self._what}: is closed; open it again")
        self._request += 1
        number = self._request
        self._read_limit = max(0, has_read(self.pid)) + self._may_read
        self._send({"verb": verb, "id": number, "arguments": arguments})
        return self._replies(number)

    def call(self, verb: str, **arguments: Any) -> dict[str, Any]:
        """The header of the only reply to a request."""
        header: dict[str, Any] = {}
        for reply in self.request(verb, **arguments):
            header = reply.header
        return header

    def close(self) -> None:
        """End the child now. Idempotent, takes less than a second whatever the child does."""
        self._finalizer()

    def _replies(self, number: int) -> Iterator[Reply]:
        while True:
            if number != self._request:
                raise RecordingError(f"{self._what}: another read of it has begun; only one runs at a time")
            reply = self._receive(number)
            if reply is None or reply.kind == "progress":
                continue
            if reply.kind == "end":
                return
            if reply.kind == "refused":
                raise RecordingError(f"{self._what}: {reply.header.get('text', 'cannot be read')}")
            yield reply

    def _receive(self, number: int) -> Reply | None:
        """The next message; None when it belongs to an earlier request."""
        self._wait()
        try:
            request, kind, header, rows, size, slots = msgpack.unpackb(
                self._connection.recv_bytes(), unicode_errors="surrogateescape"
            )
            arrays = self._copy(rows, size, slots) if request == number else {}
        except (EOFError, ConnectionError):
            raise self._died() from None
        except (ValueError, TypeError, LookupError, ArithmeticError, msgpack.UnpackException) as e:
            self.close()
            raise RecordingError(f"{self._what}: the process that reads it sent nonsense ({e})") from e
        if slots:
            self._send({"free": slots})
        return Reply(str(kind), dict(header), arrays) if request == number else None

    def _copy(self, rows: list[Any], size: int, slots: list[int]) -> dict[str, NDArray[Any]]:
        """The arrays of a message, copied out of the arena."""
        if not rows:
            return {}
        if size > len(slots) * SLOT_BYTES or len(set(slots)) != len(slots):
            raise ValueError("sizes do not fit")
        if len(slots) == 1:
            buffer = self._arena[range(SLOTS)[slots[0]], :size]
        else:
            buffer = np.empty(size, np.uint8)
            for i, slot in enumerate(slots):
                part = buffer[i * SLOT_BYTES : (i + 1) * SLOT_BYTES]
                part[:] = self._arena[range(SLOTS)[slot], : len(part)]
        arrays: dict[str, NDArray[Any]] = {}
        for name, dtype, shape, offset, stride in rows:
            if dtype not in _DTYPES:
                raise ValueError(f"type {dtype}")
            # Which raises where it is not all in there.
            a = np.ndarray(shape, dtype, buffer, offset, (stride,) if stride else None)
            # What lies in the arena still belongs to the child.
            arrays[str(name)] = a.copy() if stride or len(slots) == 1 else a
        return arrays

    def _send(self, message: dict[str, Any]) -> None:
        try:
            self._connection.send_bytes(msgpack.packb(message, unicode_errors="surrogateescape"))
        except (OSError, ValueError):
            raise self._died() from None

    def _wait(self) -> None:
        """Until a message is there. Only this waiting counts against the deadline."""
        since = looked = moved = time.monotonic()
        while not self._poll():
            if self._cancelled:
                raise ReadCancelled
            now = time.monotonic()
            if now - looked > self.deadline_s / 8:
                looked = now
                if self._still_reading():
                    since = moved = now
                elif waits_for_disk(self.pid):
                    since = now
                    if now - moved > DISK_S:
                        self.close()
                        raise RecordingError(
                            f"{self._what}: its disk has given nothing for {DISK_S:g} s; see whether it is "
                            "still there, and try again"
                        )
            if now - since > self.deadline_s:
                stage = self._stage()
                self.close()
                raise ReaderBroken(
                    f"{self._what}: reading made no progress for {self.deadline_s:g} s and was stopped; "
                    "the file is probably damaged there", "hung", stage,
                )  # fmt: skip

    def _poll(self) -> bool:
        try:
            return self._connection.poll(min(_POLL_S, self.deadline_s))
        except (OSError, ValueError):
            raise self._died() from None

    def _still_reading(self) -> bool:
        """The child has read more of the file since the last look (a long scan is no hang)."""
        rchar = has_read(self.pid)
        moved = self._rchar < rchar <= self._read_limit
        self._rchar = rchar
        return moved

    def _died(self) -> RecordingError:
        """What to say about a child that is gone."""
        if self.closed:
            return RecordingError(f"{self._what}: is closed; open it again")
        code, stage = self._process.wait(1.0), self._stage()
        words = _last_words(self._err_fd)
        self.close()
        if code is not None and code < 0:
            how = f"crashed ({_signal_name(-code)})"
        else:
            how = f"ended early (exit status {code})"
        tail = f": {words}" if words else ""
        return ReaderBroken(
            f"{self._what}: the process that reads it {how}{tail}; the file is probably damaged", "crashed",
            stage,
        )  # fmt: skip

    def _stage(self) -> int:
        return int(self._map[SLOTS * SLOT_BYTES])


def has_read(pid: int) -> int:
    """Bytes that a process has read from files; -1 where nobody tells (it is gone, or there is no /proc)."""
    try:
        first = Path(f"/proc/{pid}/io").read_text().split("\n", 1)[0]
        return int(first.removeprefix("rchar:"))
    except (OSError, ValueError):
        return -1


def waits_for_disk(pid: int) -> bool:
    """A thread of a process sleeps and cannot be interrupted: a read that a disk has not answered yet."""
    try:
        # Behind the name, which is in brackets and may hold anything.
        stats = [p.read_text(errors="replace") for p in Path(f"/proc/{pid}/task").glob("*/stat")]
    except OSError:
        return False
    return any(s.rpartition(") ")[2].startswith("D") for s in stats)


def _anonymous_file(size: int) -> int:
    """A file without a name, `size` bytes long, gone when its last user closes it."""
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("halfmirror-sandbox")
    else:
        with tempfile.TemporaryFile() as f:
            fd = os.dup(f.fileno())
    os.ftruncate(fd, size)
    return fd


def _end(process: ChildProcess, connection: Connection, life_w: int, err_r: int) -> None:
    os.close(life_w)  # which ends the child by itself, as a killed parent's end would
    process.kill()
    connection.close()
    with contextlib.suppress(OSError):
        os.close(err_r)


def _last_words(fd: int) -> str:
    """What the child wrote on stderr last, in one line."""
    data = b""
    with contextlib.suppress(OSError):
        while chunk := os.read(fd, 1 << 16):
            data = (data + chunk)[-4096:]
    lines = [s.strip() for s in data.decode("utf-8", "replace").splitlines() if s.strip()]
    return lines[-1][:200] if lines else ""


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
