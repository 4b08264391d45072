"""The child's side of the sandbox: serves requests until its parent is gone. See `recordings.sandbox`.

This module runs in a process that may hang, crash or be killed at any moment. It owns nothing that outlives
it: the arena is an anonymous file, the pipes close with the process.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib
import json
import mmap
import os
import re
import resource
import signal
import threading
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import msgpack
import numpy as np
from numpy.typing import NDArray

from recordings.kept_memory import keep_freed_memory

# Native readers trust sizes in a file; a damaged one must meet an allocation error, not exhaust the machine.
ADDRESS_SPACE_BYTES = 6 << 30
TOO_MUCH_MEMORY = f"a size in it asks for more memory than is allowed ({ADDRESS_SPACE_BYTES >> 30} GiB)"

ALIGN = 16
# Behind the slots, a page whose first byte is the stage that the server has marked.
PAGE = 4096


class Reply(NamedTuple):
    """One message from a server in the child: a kind, small plain values, and arrays.

    `kind` "progress" only resets the parent's deadline.

    `records` are contiguous arrays of one structured type, sent as they lie, one behind the other; their fields
    are in `arrays` when they arrive, so that who reads them makes the columns and no copy is made for the way.
    """

    kind: str
    header: dict[str, Any]
    arrays: dict[str, NDArray[Any]]
    records: Sequence[NDArray[np.void]] = ()


class Refused(Exception):
    """The server refuses the request; the text (one line) becomes a `RecordingError` in the parent."""


_stage: NDArray[np.uint8] = np.zeros(1, np.uint8)


def mark(stage: int) -> None:
    """Note what the server is about to do (0 … 255), for the parent to read should it never return."""
    _stage[0] = stage


class _NewRequest(Exception):
    """The parent asks for something else: what is being served stops."""


def layout(
    arrays: dict[str, NDArray[Any]], records: Sequence[NDArray[np.void]] = ()
) -> tuple[list[list[Any]], int, int]:
    """Where each array lies in a message's bytes.

    Returns:
        [name, dtype, shape, offset, stride] rows (stride of the first axis; 0: contiguous), where the records
        begin, and the total size.
    """
    rows: list[list[Any]] = []
    offset = 0
    for name, a in arrays.items():
        rows.append([name, a.dtype.str, list(a.shape), offset, 0])
        offset += -(-a.nbytes // ALIGN) * ALIGN
    begin = offset
    if records:
        count, kind = sum(map(len, records)), records[0].dtype
        for name, (field, at, *_) in (kind.fields or {}).items():
            rows.append([name, field.str, [count], begin + at, kind.itemsize])
        offset += -(-count * kind.itemsize // ALIGN) * ALIGN
    return rows, begin, offset


class _Link:
    """Pipe and arena: sends replies within the credit that the parent gives."""

    def __init__(self, connection: Connection, arena: mmap.mmap, slots: int, slot_bytes: int) -> None:
        self._connection = connection
        self._arena = np.frombuffer(arena, np.uint8, slots * slot_bytes).reshape(slots, slot_bytes)
        self._free = list(range(slots))
        self._slots, self._slot_bytes = slots, slot_bytes
        self._waiting: dict[str, Any] | None = None
        self.request_id = 0

    def _take(self) -> None:
        """One control message from the parent (blocks)."""
        m = msgpack.unpackb(self._connection.recv_bytes(), unicode_errors="surrogateescape")
        self._free.extend(m.get("free", ()))
        if "verb" in m:
            self._waiting = m

    def next_request(self) -> dict[str, Any]:
        while self._waiting is None:
            self._take()
        m, self._waiting = self._waiting, None
        self.request_id = int(m["id"])
        return m

    def _poll(self) -> None:
        while self._connection.poll(0):
            self._take()
        if self._waiting is not None:
            raise _NewRequest

    def send(self, reply: Reply) -> None:
        """Put a reply into free slots and tell the parent; waits for credit.

        Raises:
            _NewRequest: the parent does not want the rest.
        """
        self._poll()
        # What is contiguous already is not copied; `ascontiguousarray` also moves what is only not aligned.
        arrays = {k: a if a.flags.c_contiguous else np.ascontiguousarray(a) for k, a in reply.arrays.items()}
        rows, begin, size = layout(arrays, reply.records)
        need = -(-size // self._slot_bytes)
        if need > self._slots:
            raise Refused(f"one item takes {size / 2**20:.0f} MiB, more than this program handles")
        while len(self._free) < need:
            self._take()
            if self._waiting is not None:
                raise _NewRequest
        slots = [self._free.pop() for _ in range(need)]
        for (_, _, _, offset, _), a in zip(rows, arrays.values(), strict=False):
            self._put(slots, offset, a.reshape(-1).view(np.uint8))
        for r in reply.records:
            self._put(slots, begin, r.view(np.uint8))
            begin += r.nbytes
        self._connection.send_bytes(
            msgpack.packb(
                [self.request_id, reply.kind, reply.header, rows, size, slots],
                unicode_errors="surrogateescape",  # names of files need not be UTF-8
            )
        )

    def _put(self, slots: list[int], offset: int, data: NDArray[np.uint8]) -> None:
        done = 0
        while done < len(data):
            slot, at = divmod(offset + done, self._slot_bytes)
            n = min(len(data) - done, self._slot_bytes - at)
            self._arena[slots[slot], at : at + n] = data[done : done + n]
            done += n


def _die_with_parent(lifeline: int) -> None:
    """End this process when the other end of `lifeline` closes, even while native code holds the GIL.

    Nothing is ever written to the pipe. Its hang-up raises SIGIO, whose default action ends the process in
    the kernel; a thread does the same where O_ASYNC does not work on pipes.
    """
    with contextlib.suppress(OSError, AttributeError):
        fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)

    def watch() -> None:
        with contextlib.suppress(OSError):
            os.read(lifeline, 1)
        os._exit(0)

    threading.Thread(target=watch, daemon=True).start()


def one_line(e: BaseException) -> str:
    """The message of a native library's exception without C++ locations and stack traces."""
    lines = [s.strip() for s in str(e).splitlines() if s.strip()]
    # dv-processing: first line is a C++ location, the second the message, then a stack trace.
    text = lines[1] if len(lines) > 1 and ("/" in lines[0] or "::" in lines[0]) else (lines or [""])[0]
    text = re.sub(r"<unspecified file>\((\d+)\)", r"description, line \1", text)  # Boost's XML parser
    return re.sub(r"\s+", " ", text or type(e).__name__)[:200]


def _serve(link: _Link, target: str, arguments: dict[str, Any]) -> None:
    module, _, attribute = target.partition(":")
    server: Any = None
    while True:
        request = link.next_request()
        try:
            if server is None:
                server = getattr(importlib.import_module(module), attribute)(**arguments)
            replies: Iterator[Reply] = getattr(server, "do_" + str(request["verb"]))(**request["arguments"])
            for reply in replies:
                link.send(reply)
            link.send(Reply("end", {}, {}))
        except _NewRequest:
            continue
        except Refused as e:
            _try_send(link, Reply("refused", {"text": str(e)}, {}))
        except MemoryError:
            _try_send(link, Reply("refused", {"text": TOO_MUCH_MEMORY}, {}))
        except Exception as e:
            _try_send(link, Reply("refused", {"text": one_line(e)}, {}))


def _try_send(link: _Link, reply: Reply) -> None:
    with contextlib.suppress(_NewRequest):
        link.send(reply)


def main(arguments_json: str) -> None:
    """Entry of the child process; never returns."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C is the parent's business
    a = json.loads(arguments_json)
    _die_with_parent(int(a["lifeline"]))
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE_BYTES, ADDRESS_SPACE_BYTES))
    keep_freed_memory()
    size = int(a["slots"]) * int(a["slot_bytes"])
    arena = mmap.mmap(int(a["arena"]), size + PAGE)
    global _stage
    _stage = np.frombuffer(arena, np.uint8, 1, size)
    link = _Link(Connection(int(a["connection"])), arena, int(a["slots"]), int(a["slot_bytes"]))
    try:
        _serve(link, str(a["target"]), dict(a["arguments"]))
    except BaseException:
        # The parent is gone, or its side of the pipe broke: nothing to tell anybody.
        pass
    finally:
        # Native destructors may hang or abort; leave without them.
        os._exit(0)
