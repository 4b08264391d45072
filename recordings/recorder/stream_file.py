"""The file that a recording's chunks go into: written by a thread, flushed twice a second.

`put` never waits for the disk. What it hands over waits in a queue of bounded size; when that is full, the
caller leaves items in the rings, which lose the oldest and count them. A second thread flushes, so that the
writing goes on meanwhile, and gives the page cache back: a long recording must not push everything else out.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from recordings.formats.own_about import INDEX_FILE, STREAMS
from recordings.formats.own_chunks import INDEX, Draft
from recordings.recorder.disk import free_bytes

QUEUE_BYTES = 384 << 20
FLUSH_S = 0.5
STALL_S = 0.25
TOO_SLOW = "the disk was too slow; what still waited for it at the end is missing"
_LOOK_S = 0.1
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class StreamFile:
    """Two files in a folder, chunks and index, open until `close`. `put` and the figures are for one thread.

    Args:
        folder: a new recording's.
        reserve: bytes that stay free on its disk.
        queue_bytes: what may wait for the disk; `limit`.

    Attributes:
        written: bytes on their way to the disk, whole chunks only.
        chunks: how many those are.
        stopped: why nothing more is written, one sentence; "" while all is well.
        discarded: chunks handed over that could not be written.
        stalls, longest_stall_s: writes and flushes that took longer than `STALL_S`.

    Raises:
        OSError: the files cannot be made.
    """

    def __init__(self, folder: Path, *, reserve: int, queue_bytes: int = QUEUE_BYTES) -> None:
        self._folder, self._reserve, self.limit = folder, reserve, queue_bytes
        self._fd = os.open(folder / STREAMS, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        try:
            self._index = os.open(folder / INDEX_FILE, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        except OSError:
            os.close(self._fd)
            raise
        self.written = self.chunks = self.discarded = self.stalls = 0
        self.longest_stall_s = 0.0
        self.stopped = ""
        self._queue: deque[Draft] = deque()
        self._queued = 0
        self._changed = threading.Condition()
        self._ending = self._given_up = False
        self._failed: OSError | None = None  # a flush; the writing thread cuts off what is not whole
        self._looked = 0.0
        self._room = 0  # bytes that may be written before the next look at what is free
        self._writer = threading.Thread(target=self._write_all, name="disk", daemon=True)
        self._aside: Callable[[], None] | None = None
        self._flushed = threading.Event()
        self._flusher = threading.Thread(target=self._flush_all, name="flush", daemon=True)
        self._writer.start()
        self._flusher.start()

    @property
    def queued(self) -> int:
        """Bytes that wait for the disk."""
        return self._queued

    @property
    def full(self) -> bool:
        """No more may be handed over for now."""
        return self._queued >= self.limit

    def put(self, chunk: Draft) -> None:
        """Hand over the next chunk."""
        with self._changed:
            if self.stopped or self._ending:
                self.discarded += 1
                return
            self._queue.append(chunk)
            self._queued += chunk.size
            self._changed.notify()

    def aside(self, job: Callable[[], None]) -> None:
        """Have the flushing thread do this after its next flush; the newest replaces one that waits."""
        self._aside = job

    def give_up(self) -> None:
        """Write nothing more but the chunk in hand; what waits is discarded. Callable from any thread."""
        with self._changed:
            self._given_up = True
            self._changed.notify()

    def close(self) -> None:
        """Write what waits, flush, close. Idempotent. Afterwards all figures are final."""
        with self._changed:
            self._ending = True
            self._changed.notify()
        self._writer.join()
        self._flushed.set()
        self._flusher.join()
        if self._failed is not None and not self.stopped:
            self._stop(self._failed)
        for fd in (self._fd, self._index):
            if fd >= 0:
                with contextlib.suppress(OSError):
                    os.fsync(fd)
                with contextlib.suppress(OSError):
                    os.close(fd)
        self._fd = self._index = -1

    # -- the writing thread --------------------------------------------------------------------------------

    def _write_all(self) -> None:
        while True:
            with self._changed:
                while not self._queue and not self._ending and self._failed is None:
                    self._changed.wait()
                if not self._queue and self._failed is None:
                    return
                if self._given_up and self._failed is None:
                    self._discard(TOO_SLOW)
                    return
                chunk = self._queue[0] if self._failed is None else None
            try:
                if chunk is None:
                    assert self._failed is not None
                    raise self._failed
                self._write(chunk)
            except OSError as e:
                self._stop(e)
                return
            with self._changed:
                self._queue.popleft()
                self._queued -= chunk.size

    def _write(self, chunk: Draft) -> None:
        began = time.monotonic()
        if began - self._looked > _LOOK_S or self._room < chunk.size:
            self._looked = began
            self._room = free_bytes(self._folder) - self._reserve
            if self._room < chunk.size:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._room -= chunk.size
        head = chunk.sealed(self.chunks)
        _write_whole(self._fd, [memoryview(head), memoryview(chunk.meta), *chunk.parts])
        _write_whole(self._index, [memoryview(self.written.to_bytes(8, "little") + head)])
        self.written += chunk.size
        self.chunks += 1
        self._note_stall(time.monotonic() - began)

    def _stop(self, e: OSError) -> None:
        """Nothing more can be written: cut off what is not whole, so that what was written before is valid."""
        why = e.strerror or str(e)
        if e.errno in _FULL:
            reserve = f"{self._reserve / 1e6:.0f} MB stay free there"
            if e.errno == errno.EFBIG:  # FAT32 ends at 4 GiB
                reserve = f"or no file can be larger than {self.written / 1e9:.2f} GB there"
            why = f"disk full ({reserve}): free some space or record to another disk"
        with contextlib.suppress(OSError):
            os.ftruncate(self._fd, self.written)
        with contextlib.suppress(OSError):
            os.ftruncate(self._index, self.chunks * INDEX.itemsize)
        with self._changed:
            self._discard(why)

    def _discard(self, why: str) -> None:
        """Write nothing more. Under the lock."""
        self.stopped = f"{self._folder}: {why}"
        self.discarded += len(self._queue)
        self._queue.clear()
        self._queued = 0

    def _note_stall(self, took: float) -> None:
        with self._changed:  # both threads meet stalls
            self.stalls += took > STALL_S
            self.longest_stall_s = max(self.longest_stall_s, took)

    # -- the flushing thread -------------------------------------------------------------------------------

    def _flush_all(self) -> None:
        while not self._flushed.wait(FLUSH_S):
            upto, began = self.written, time.monotonic()
            try:
                os.fdatasync(self._fd)
                os.fdatasync(self._index)
            except OSError as e:
                with self._changed:
                    self._failed = e
                    self._changed.notify()
                return
            self._note_stall(time.monotonic() - began)
            job, self._aside = self._aside, None
            if job is not None:
                job()
            with contextlib.suppress(OSError, AttributeError):
                os.posix_fadvise(self._fd, 0, upto, os.POSIX_FADV_DONTNEED)


def _write_whole(fd: int, parts: list[memoryview]) -> None:
    """All bytes, however many calls it takes."""
    left = [p for p in parts if len(p)]
    while left:
        done = os.writev(fd, left)
        while left and done >= len(left[0]):
            done -= len(left[0])
            left.pop(0)
        if left and done:
            left[0] = left[0][done:]
