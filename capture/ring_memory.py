"""The shared memory under a ring: its layout, its owner, its counters, and who may attach.

One segment per ring: a header, a table of readers, a table of descriptors (one per item that can be held),
and a byte arena that the items' bytes lie in one behind the other, each in one piece. Every control value is
an aligned 64-bit word, written by one side only:

    header       written, tail, floor, in-progress, writer identity: the writer's.
    reader entry its counters and lease: that reader's (the count of expired leases is the writer's).
    descriptor   generation, place and size of one item: the writer's.

A reader's cursor is not stored: it is the sum of its counters (read + lost + superseded + aborted). Each
step of a reader is therefore one store, and `written = read + lost + superseded + aborted + waiting` holds
at any instant, also after a SIGKILL.

The process that creates a ring owns it and unlinks it. Only that process and its `multiprocessing` children
may attach: on Python < 3.13 the resource tracker of an unrelated process would remove the segment when that
process exits. After a SIGKILL of the owner the tracker removes it.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path

from capture import ring_words as k
from capture.ring_segment import PREFIX, RingError, advice, free_bytes, segment, why_gone

MAGIC = 0x48414C4652494E47  # "HALFRING"
VERSION = 1
ALIGN = 64


class ItemTooLarge(RingError):
    """An item does not fit the ring's arena; nothing was written."""


class RingStalled(RingError):
    """A reader that must lose nothing did not read in time; nothing was written.

    Attributes:
        reader: its name.
        dead: its process is gone (False: it is slow, or has not attached yet).
    """

    def __init__(self, message: str, reader: str, dead: bool) -> None:
        super().__init__(message)
        self.reader = reader
        self.dead = dead


class TornItem(RingError):
    """An item was overwritten while it was being read: whatever was made of it must be thrown away."""


@dataclass(frozen=True, slots=True)
class RingLayout:
    """What a ring is made of.

    Attributes:
        label: a short name for people, e.g. "frames".
        arena_bytes: bytes for items; rounded up to whole pages. One item can take all of it.
        slots: how many items can be held at most, however small.
        readers: names of all readers, in the order of their index. A reader attaches under its name.
        lossless: names of those the writer waits for, from the first item on, attached or not.
    """

    label: str
    arena_bytes: int
    slots: int = 256
    readers: tuple[str, ...] = ()
    lossless: tuple[str, ...] = ()

    @property
    def words(self) -> int:
        """64-bit words of the header and the tables."""
        return k.HEADER_WORDS + k.READER_WORDS * len(self.readers) + k.DESCRIPTOR_WORDS * self.slots

    @property
    def arena(self) -> int:
        """Bytes of the arena as it is made."""
        return _pad(self.arena_bytes, 4096)

    @property
    def nbytes(self) -> int:
        """Bytes of shared memory that it takes."""
        return _pad(self.words * 8, 4096) + self.arena


@dataclass(frozen=True, slots=True)
class RingRef:
    """How to find a ring: small, picklable, handed to workers.

    Attributes:
        segment: name of the shared-memory segment.
        label: as in `RingLayout`.
        notice: address on which the writer wakes readers, "" for none (readers then look every few ms).
    """

    segment: str
    label: str
    notice: str = ""


@dataclass(frozen=True, slots=True)
class ReaderStats:
    """What became of every item for one reader: `written = read + lost + superseded + aborted + waiting`.

    Attributes:
        name: of the reader.
        pid: its process, 0 when none is attached.
        read: handed out whole.
        lost: overwritten before it was read (torn ones included).
        superseded: passed over by a reader that wants the newest only.
        aborted: never finished, because the writer died in the middle.
        waiting: written, not read yet.
        torn: of `lost`, those overwritten while being read.
        expired: leases that the writer no longer waited for.
        lossless: the writer waits for this reader.
    """

    name: str
    pid: int
    read: int
    lost: int
    superseded: int
    aborted: int
    waiting: int
    torn: int
    expired: int
    lossless: bool


@dataclass(frozen=True, slots=True)
class RingStats:
    """A ring's counters since it was made."""

    label: str
    written: int
    bytes: int
    aborted: int
    refused: int
    lease_waits: int
    writer_pid: int
    readers: tuple[ReaderStats, ...]

    def reader(self, name: str) -> ReaderStats:
        """Counters of one reader by name."""
        return next(r for r in self.readers if r.name == name)


def process_token(pid: int) -> int:
    """A number that tells this process from a later one with the same id; 0 when it is gone.

    On Linux the start time in clock ticks; elsewhere 1 for any living process.
    """
    if pid <= 0:
        return 0
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        if Path("/proc/self/stat").exists():
            return 0
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return 0
        except PermissionError:
            pass
        return 1
    fields = text[text.rindex(")") + 2 :].split()
    return 0 if fields[0] in "ZX" else int(fields[19])


_barrier = threading.Lock()


def fence() -> None:
    """Order memory accesses before against those after.

    x86 may let a load overtake an earlier store, ARM more than that; taking and giving back a lock executes
    the processor's atomic instructions. Correctness does not rest on it alone: a reader verifies at the end.
    """
    _barrier.acquire()
    _barrier.release()


def _pad(n: int, to: int = ALIGN) -> int:
    return -(-n // to) * to


def _text(label: str, limit: int, what: str) -> bytes:
    raw = label.encode()
    if not raw or len(raw) > limit or b"\0" in raw:
        raise RingError(f"ring: {what} {label!r} must have 1 … {limit} bytes; choose another")
    return raw


class RingMemory:
    """A mapped ring segment, made (`create`) or found (`attach`). Writers and readers are built on it."""

    def __init__(self, shm: SharedMemory, *, owner: bool) -> None:
        self._shm: SharedMemory | None = shm
        _disarm(shm)
        self._last: RingStats | None = None
        self.owner = owner
        self.name = shm.name
        buf = _buffer(shm)
        head = buf[: k.HEADER_WORDS * 8].cast("q")
        self.slots, self.arena_bytes, self.n_readers = head[k.H_SLOTS], head[k.H_ARENA], head[k.H_READERS]
        self.readers_at = k.HEADER_WORDS
        self.descriptors_at = self.readers_at + k.READER_WORDS * self.n_readers
        end = self.descriptors_at + k.DESCRIPTOR_WORDS * self.slots
        head.release()
        self.words: memoryview = buf[: end * 8].cast("q")
        arena_at = _pad(end * 8, 4096)
        self.arena: memoryview = buf[arena_at : arena_at + self.arena_bytes]
        self.arena_readonly: memoryview = self.arena.toreadonly()
        self.label = bytes(buf[k.LABEL_AT : k.LABEL_AT + k.LABEL_BYTES]).rstrip(b"\0").decode()
        self.reader_names = tuple(
            bytes(buf[a : a + k.NAME_BYTES]).rstrip(b"\0").decode()
            for a in (8 * self.reader_at(i) + k.NAME_AT for i in range(self.n_readers))
        )

    @classmethod
    def create(cls, layout: RingLayout) -> RingMemory:
        """Make a ring and own it.

        Raises:
            RingError: a size or a name is not usable, or shared memory is not to be had: there is not enough,
                or a limit of the process (`ulimit`) is in the way.
        """
        label = _text(layout.label, k.LABEL_BYTES, "label")
        names = [_text(n, k.NAME_BYTES, "reader name") for n in layout.readers]
        if len(set(names)) != len(names) or not set(layout.lossless) <= set(layout.readers):
            raise RingError(f"ring {layout.label!r}: reader names must differ and include every lossless one")
        if layout.arena_bytes < 1 or layout.slots < 1:
            raise RingError(f"ring {layout.label!r}: arena_bytes and slots must be at least 1")
        shm = segment(layout.nbytes, layout.label)
        buf = _buffer(shm)
        head = buf[: layout.words * 8].cast("q")
        head[k.H_VERSION], head[k.H_OWNER], head[k.H_SLOTS] = VERSION, os.getpid(), layout.slots
        head[k.H_ARENA], head[k.H_READERS] = layout.arena, len(names)
        buf[k.LABEL_AT : k.LABEL_AT + len(label)] = label
        for i, (name, raw) in enumerate(zip(layout.readers, names, strict=True)):
            at = k.HEADER_WORDS + k.READER_WORDS * i
            head[at + k.R_LOSSLESS] = int(name in layout.lossless)
            buf[8 * at + k.NAME_AT : 8 * at + k.NAME_AT + len(raw)] = raw
        head[k.H_MAGIC] = MAGIC
        head.release()
        return cls(shm, owner=True)

    @classmethod
    def attach(cls, ref: RingRef | str) -> RingMemory:
        """Map a ring that the owner made.

        Raises:
            RingError: it is gone, or it is not a ring of this version, or this process is not one of the
                owner's children.
        """
        name = ref if isinstance(ref, str) else ref.segment
        what = name if isinstance(ref, str) else f"{ref.label!r} ({name})"
        # Looked at before SharedMemory() is, since that registers the segment with this process's tracker.
        if multiprocessing.parent_process() is None and not name.startswith(f"{PREFIX}{os.getpid()}_"):
            raise RingError(f"ring {what}: only the process that made it and its workers may attach")
        try:
            shm = SharedMemory(name=name)
        except FileNotFoundError:
            raise RingError(f"ring {what} is gone; {why_gone()}") from None
        head = _buffer(shm)[: k.HEADER_WORDS * 8].cast("q")
        magic, version = head[k.H_MAGIC], head[k.H_VERSION]
        head.release()
        if (magic, version) != (MAGIC, VERSION):
            shm.close()
            raise RingError(f"ring {what}: not a ring of version {VERSION}; restart the program")
        return cls(shm, owner=False)

    def reader_at(self, index: int) -> int:
        """Word at which a reader's entry begins."""
        return self.readers_at + k.READER_WORDS * index

    def descriptor_at(self, sequence: int) -> int:
        """Word at which the descriptor of this item begins."""
        return self.descriptors_at + k.DESCRIPTOR_WORDS * (sequence % self.slots)

    def cursor(self, index: int) -> int:
        """The next item that a reader will take."""
        w, a = self.words, self.reader_at(index)
        return int(w[a + k.R_READ] + w[a + k.R_LOST] + w[a + k.R_SUPERSEDED] + w[a + k.R_ABORTED])

    def index_of(self, reader: str) -> int:
        """Index of a reader by its name.

        Raises:
            RingError: the ring has no such reader; the message lists those it has.
        """
        if reader not in self.reader_names:
            raise RingError(
                f"ring {self.label!r} has no reader {reader!r}; it has {', '.join(self.reader_names) or 'none'}"
            )
        return self.reader_names.index(reader)

    def set_lossless(self, reader: str, on: bool) -> None:
        """Make the writer wait for a reader, or no longer."""
        at = self.reader_at(self.index_of(reader)) + k.R_LOSSLESS
        if self._shm is not None:
            self.words[at] = int(on)

    def stats(self) -> RingStats:
        """All counters now, or as they were when this was closed.

        Callable from any attached process and from any thread; it takes no lock and stops nobody.
        """
        if self._last is not None:
            return self._last
        w = self.words
        rows = []
        for index, name in enumerate(self.reader_names):
            a = self.reader_at(index)
            read, lost, over, aborted = (w[a + i] for i in (k.R_READ, k.R_LOST, k.R_SUPERSEDED, k.R_ABORTED))
            # `written` is looked at after the counters: what waits is then never negative.
            waiting = w[k.H_WRITTEN] - (read + lost + over + aborted)
            rows.append(
                ReaderStats(name, w[a + k.R_PID], read, lost, over, aborted, waiting, w[a + k.R_TORN],
                            w[a + k.R_EXPIRED], bool(w[a + k.R_LOSSLESS]))
            )  # fmt: skip
        return RingStats(
            self.label, w[k.H_WRITTEN], w[k.H_BYTES], w[k.H_ABORTED], w[k.H_REFUSED], w[k.H_LEASE_WAITS],
            w[k.H_WRITER_PID], tuple(rows),
        )  # fmt: skip

    def close(self) -> None:
        """Unmap; the owner also removes the segment. Idempotent. Views that are still in use stay valid."""
        if self._shm is None:
            return
        self._last = self.stats()
        shm, self._shm = self._shm, None
        for view in (self.words, self.arena_readonly, self.arena):
            try:
                view.release()
            except BufferError:
                break  # somebody still holds an array over it
        with contextlib.suppress(BufferError):  # the mapping then goes when the last array over it goes
            SharedMemory.close(shm)
        if self.owner:
            with contextlib.suppress(FileNotFoundError):  # the resource tracker was faster
                shm.unlink()


def _buffer(shm: SharedMemory) -> memoryview:
    assert shm.buf is not None  # None only after close()
    return shm.buf


def _disarm(shm: SharedMemory) -> None:
    """Keep the destructor from closing: it would print a warning when arrays over the memory still live."""
    nothing: Callable[[], None] = lambda: None  # noqa: E731
    shm.close = nothing  # type: ignore[method-assign]


def require_room(layouts: Sequence[RingLayout]) -> None:
    """Refuse rings for which there is not enough shared memory, before the first one is made.

    Raises:
        RingError: with what all of them need together.
    """
    need, free = sum(layout.nbytes for layout in layouts), free_bytes()
    if free is not None and need > free:
        raise RingError(f"this needs {need / 2**20:.0f} MiB of shared memory{advice(need, free)}")
