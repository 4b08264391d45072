"""Runs a writer in a process of its own: HDF5 and dv-processing end the whole process on a full disk."""

from __future__ import annotations

import contextlib
import errno
import json
import multiprocessing
import os
import resource
import shutil
from collections.abc import Callable
from dataclasses import asdict
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capture.errors import HalfmirrorError
from capture.packets import Events, Inertial, TriggerEdges
from recordings.export.content import Facts
from recordings.export.writers import Writer
from recordings.recording import RecordingError

ANSWER_S = 120.0
# A writer that died on a disk with less than this has met its end; so near the largest file, likewise.
_FULL_BYTES = 1 << 20
_FAT32_BYTES = (1 << 32) - 1
_LONGEST = 1 << 20


class RemoteWriter:
    """See `Writer`; `content` and `notes` are known after `finish`.

    Args:
        make: an importable function or class that makes the writer in the child.
        arguments: its arguments, the path to write first; picklable.
    """

    def __init__(self, make: Callable[..., Writer], *arguments: Any) -> None:
        self.content, self.notes = Facts(), list[str]()
        self._path = Path(arguments[0])
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(theirs, make, arguments), daemon=True, name="export"
        )  # fmt: skip
        self._process.start()
        theirs.close()

    def add(self, events: Events, edges: TriggerEdges) -> None:
        """See `Writer.add`. Raises `OSError`, `RecordingError`."""
        if len(events) or len(edges):
            e = events
            own = Events(np.array(e.t), np.array(e.x), np.array(e.y), np.array(e.p), e.width, e.height)
            self._send(("add", own, TriggerEdges(np.array(edges.t), np.array(edges.rising))))

    def add_imu(self, samples: Inertial) -> None:
        """See `aedat4.Aedat4Writer.add_imu`. Raises `OSError`, `RecordingError`."""
        self._send(("add_imu", Inertial.of(np.array(samples.t), samples.values)))

    def add_frame(self, image: NDArray[np.uint8], start_us: int, end_us: int) -> None:
        """See `Writer.add_frame`. Raises `OSError`, `RecordingError`."""
        self._send(("add_frame", np.array(image), start_us, end_us))

    def finish(self) -> None:
        """See `Writer.finish`. Raises `OSError`, `RecordingError`."""
        with contextlib.suppress(OSError):  # it has gone; why, it may have said before
            self._pipe.send(("finish",))
        self._hear(ANSWER_S)  # its one last word: heard here alone, however soon it comes
        self._end()

    def abandon(self) -> None:
        """See `Writer.abandon`."""
        if self._process.is_alive():
            self._process.kill()
        self._end()

    def _end(self) -> None:
        self._pipe.close()
        self._process.join(ANSWER_S)

    def _send(self, what: tuple[Any, ...]) -> None:
        try:
            self._pipe.send(what)
        except OSError:  # it has gone; why, it may have said before
            self._hear(1.0)
        if self._pipe.poll():
            self._hear(0.0)

    def _hear(self, wait_s: float) -> None:
        """The child's last word: what was written, or what went wrong."""
        try:
            if not self._pipe.poll(wait_s):
                raise OSError(errno.ETIMEDOUT, f"nothing was heard from the writer for {wait_s:g} s")
            answer = json.loads(self._pipe.recv_bytes(_LONGEST))
        except (EOFError, ConnectionError):
            self._process.join(ANSWER_S)
            raise self._died() from None
        if "content" in answer:
            self.content, self.notes = Facts(**answer["content"]), list(answer["notes"])
        elif "errno" in answer:
            raise OSError(answer["errno"], answer["text"])
        else:
            raise RecordingError(answer["text"])

    def _died(self) -> OSError:
        with contextlib.suppress(OSError):
            size = self._path.stat().st_size
            if any(most - _FULL_BYTES <= size <= most for most in (_FAT32_BYTES, _allowed_bytes())):
                return OSError(errno.EFBIG, os.strerror(errno.EFBIG))
        with contextlib.suppress(OSError):
            if shutil.disk_usage(self._path.parent).free < _FULL_BYTES:
                return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return OSError(errno.EIO, f"the writer died ({self._process.exitcode})")


def _allowed_bytes() -> int:
    """The largest file that this process may write (`ulimit -f`), -1 for any."""
    return resource.getrlimit(resource.RLIMIT_FSIZE)[0]


def _serve(pipe: Connection, make: Callable[..., Writer], arguments: tuple[Any, ...]) -> None:
    """The child. Leaves without Python's farewell, which threads and half-closed files of libraries dislike."""
    # On a full disk HDF5 and dv-processing print pages of their own; what went wrong is said through the pipe.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    try:
        writer = make(*arguments)
        # Only this program's own process speaks at the other end, and nothing of a file's.
        while (what := pipe.recv())[0] != "finish":
            getattr(writer, what[0])(*what[1:])
        writer.finish()
        _say(pipe, content=asdict(Facts.of(writer.content)), notes=writer.notes)
    except EOFError:
        pass  # abandoned
    except OSError as e:
        _say(pipe, errno=e.errno or errno.EIO, text=e.strerror or str(e))
    except HalfmirrorError as e:
        _say(pipe, text=str(e))
    except Exception as e:
        # dv-processing: the first line is a place in C++, the second one the message.
        lines = [line for line in str(e).splitlines() if line.strip()] or [type(e).__name__]
        _say(pipe, errno=errno.EIO, text=lines[min(1, len(lines) - 1)])
    os._exit(0)


def _say(pipe: Connection, **what: Any) -> None:
    """The last word, as JSON: libraries that write files are at work here, so the parent unpickles nothing."""
    with contextlib.suppress(OSError):
        pipe.send_bytes(json.dumps(what).encode())
