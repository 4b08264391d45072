"""Readers of a ring. How they and the writer keep out of each other's way: `capture.ring`."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Literal

import zmq

from capture import codec
from capture import ring_words as k
from capture.notices import LOOK_S, Listener
from capture.packets import EventPacket, Frame
from capture.ring_memory import (
    ReaderStats,
    RingMemory,
    RingRef,
    TornItem,
    fence,
    process_token,
)
from capture.ring_segment import RingError

Array = codec.Array


@dataclass(frozen=True, slots=True, eq=False)
class Item:
    """One item of a ring.

    Attributes:
        sequence: its number; consecutive over all writers of the ring.
        kind, header: as written.
        arrays: read-only; views of the ring (valid while the lease lasts) or copies of one's own.
        host_ns: `time.monotonic_ns` when it was written.
        nbytes: its size in the ring.
        lost_before: items lost to this reader (overwritten or aborted) since the item handed out before.
    """

    sequence: int
    kind: str
    header: dict[str, Any]
    arrays: tuple[Array, ...]
    host_ns: int
    nbytes: int
    lost_before: int

    def packet(self) -> EventPacket | Frame | codec.StreamEnd:
        """The item as a packet over the same arrays. Raises `RingError` if it is none."""
        return codec.decode(self.kind, self.header, self.arrays)

    def copied(self) -> Item:
        """The same with arrays of its own."""
        arrays = tuple(a.copy() for a in self.arrays)
        for a in arrays:
            a.flags.writeable = False
        return Item(self.sequence, self.kind, self.header, arrays, self.host_ns, self.nbytes, self.lost_before)


class Lease:
    """An item held in place: `with reader.next(0.1) as item:`; `item` is None when none came.

    Leaving the block counts the item as read, or raises `TornItem` when it was overwritten meanwhile.
    """

    def __init__(self, reader: RingReader | None, item: Item | None) -> None:
        self._reader, self.item = reader, item

    @property
    def intact(self) -> bool:
        """What has been read from the item up to now is what was written."""
        return self._reader is None or self.item is None or self._reader._whole(self.item.sequence)

    def release(self) -> bool:
        """Give the item back; True when it was whole to the end. Idempotent (True when repeated)."""
        reader, self._reader = self._reader, None
        return True if reader is None or self.item is None else reader._give_back(self.item.sequence)

    def __enter__(self) -> Item | None:
        return self.item

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self.release() and (error is None or isinstance(error, Exception)):
            # An error inside the block may itself come from garbage; it is kept as the cause.
            assert self.item is not None
            raise TornItem(
                f"item {self.item.sequence} ({self.item.kind}) was overwritten while it was being read; "
                f"hold leases for a shorter time, copy, or make the ring larger"
            ) from error


class RingReader:
    """One reader of a ring, attached under its name. For one thread.

    Args:
        ref: the ring.
        name: of the reader, one of the layout's.
        start: where to begin. "resume": where the last reader of this name stopped (a new one: with the
            oldest item there is; what is gone counts as lost). "newest": only what is written from now on;
            what is passed over counts as superseded.

    Raises:
        RingError: no such reader, the ring is gone, or a living process reads under this name.
    """

    def __init__(self, ref: RingRef, name: str, *, start: Literal["resume", "newest"] = "resume") -> None:
        self._memory = m = RingMemory.attach(ref)
        self.name, self.label, w = name, ref.label, m.words
        try:
            self._index = m.index_of(name)
            a = m.reader_at(self._index)
            pid = int(w[a + k.R_PID])
            if pid and process_token(pid) == w[a + k.R_TOKEN]:
                raise RingError(f"ring {ref.label!r}: {name!r} is being read already, by process {pid}")
        except RingError:
            m.close()
            raise
        self._w, self._a, self._closed = w, a, False
        w[a + k.R_LEASE] = 0
        w[a + k.R_TOKEN], w[a + k.R_PID] = process_token(os.getpid()), os.getpid()
        w[a + k.R_ATTACHED] += 1
        self._lost_told = int(w[a + k.R_LOST] + w[a + k.R_ABORTED])
        if start == "newest":
            self._count_lost()
            w[a + k.R_SUPERSEDED] += w[k.H_WRITTEN] - m.cursor(self._index)
        self._listener = Listener(ref.notice) if ref.notice else None

    def _count_lost(self) -> None:
        w = self._w
        gone = w[k.H_TAIL] - self._memory.cursor(self._index)
        if gone > 0:
            w[self._a + k.R_LOST] += gone

    def _take(self, newest: bool) -> Item | None:
        """Lease the next (or the newest) item, if there is one."""
        w, a, m = self._w, self._a, self._memory
        while True:
            self._count_lost()
            n, written = m.cursor(self._index), int(w[k.H_WRITTEN])
            if n >= written:
                return None
            if newest and written - 1 > n:
                w[a + k.R_SUPERSEDED] += written - 1 - n
                n = written - 1
            w[a + k.R_LEASE] = n + 1
            fence()
            if w[k.H_TAIL] > n:
                w[a + k.R_LEASE] = 0
                continue  # counted as lost at the top
            d = m.descriptor_at(n)
            if w[d + k.D_ABORTED]:
                w[a + k.R_LEASE] = 0
                w[a + k.R_ABORTED] += 1
                continue
            size, meta, host_ns = int(w[d + k.D_SIZE]), int(w[d + k.D_META]), int(w[d + k.D_HOST_NS])
            at = int(w[d + k.D_START]) % m.arena_bytes
            whole = w[d + k.D_GENERATION] == n + 1
            try:
                if not whole:
                    raise RingError(f"item {n} of ring {m.label!r} is marked {w[d + k.D_GENERATION]}")
                kind, header, arrays = codec.unpack(meta, m.arena_readonly[at : at + size])
            except RingError:
                # Overwritten since the look at `tail` (this process was stopped in between): a torn item.
                # If not, the ring itself is damaged, which must not stay unnoticed.
                damaged = self._whole(n)
                self._lose_torn()
                if damaged:
                    raise
                continue
            lost = int(w[a + k.R_LOST] + w[a + k.R_ABORTED])
            item = Item(n, kind, header, arrays, host_ns, size, lost - self._lost_told)
            self._lost_told = lost
            return item

    def _whole(self, n: int) -> bool:
        fence()
        return bool(self._w[k.H_FLOOR] <= n)

    def _lose_torn(self) -> None:
        w, a = self._w, self._a
        w[a + k.R_LEASE] = 0
        w[a + k.R_TORN] += 1
        w[a + k.R_LOST] += 1

    def _give_back(self, n: int) -> bool:
        if self._closed:
            return True  # the reader was closed inside the block
        if not self._whole(n):
            self._lose_torn()
            return False
        self._w[self._a + k.R_LEASE] = 0
        self._w[self._a + k.R_READ] += 1
        return True

    def _await(self, newest: bool, timeout_s: float) -> Item | None:
        item = self._take(newest)
        if item is not None or timeout_s <= 0:
            return item
        deadline = time.monotonic() + timeout_s
        while (left := deadline - time.monotonic()) > 0:
            self.wait(left)
            item = self._take(newest)
            if item is not None:
                return item
        return None

    def wait(self, timeout_s: float) -> None:
        """Wait for a notice, at most `LOOK_S`. Something may have been written, or not."""
        if self._listener is not None:
            self._listener.wait(timeout_s)
        else:
            time.sleep(max(0.0, min(timeout_s, LOOK_S / 10)))

    def next(self, timeout_s: float = 0.0) -> Lease:
        """The next item in order, held in place (zero-copy). One lease at a time."""
        self._one_lease()
        return Lease(self, self._await(False, timeout_s))

    def newest(self, timeout_s: float = 0.0) -> Lease:
        """The newest item, held in place; those between are counted as superseded."""
        self._one_lease()
        return Lease(self, self._await(True, timeout_s))

    def _one_lease(self) -> None:
        if self._w[self._a + k.R_LEASE]:
            raise RingError(f"reader {self.name!r} of ring {self.label!r} holds an item; give it back first")

    def read(self, timeout_s: float = 0.0) -> Item | None:
        """The next item in order, copied. Torn ones are counted as lost and passed over."""
        return self._copied(self.next, timeout_s)

    def read_newest(self, timeout_s: float = 0.0) -> Item | None:
        """The newest item, copied."""
        return self._copied(self.newest, timeout_s)

    def _copied(self, take: Callable[[float], Lease], timeout_s: float) -> Item | None:
        told = 0
        while True:
            lease = take(timeout_s)
            if lease.item is None:
                self._lost_told -= told  # nobody has heard of those yet
                return None
            told += lease.item.lost_before
            item = lease.item.copied()
            if lease.release():
                return replace(item, lost_before=told)

    @property
    def waiting(self) -> int:
        """Items written and not taken yet, lost ones included until they are counted; 0 once closed."""
        if self._closed:
            return 0
        return int(self._w[k.H_WRITTEN]) - self._memory.cursor(self._index)

    def stats(self) -> ReaderStats:
        """This reader's counters."""
        return self._memory.stats().reader(self.name)

    def close(self) -> None:
        """Let go of the place. Counters and cursor stay for the next reader of this name. Idempotent."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        if not self._closed:
            self._closed = True
            w, a = self._w, self._a
            w[a + k.R_LEASE] = 0
            w[a + k.R_PID] = 0
            self._memory.close()


def wait_any(readers: Sequence[RingReader], timeout_s: float) -> bool:
    """Wait until one of several readers has something; False when the time is over."""
    deadline = time.monotonic() + timeout_s
    listeners = [r._listener for r in readers if r._listener is not None]
    while not any(r.waiting for r in readers):
        left = deadline - time.monotonic()
        if left <= 0:
            return False
        if len(listeners) < len(readers):
            time.sleep(min(left, LOOK_S / 10))
            continue
        poller = zmq.Poller()
        for li in listeners:
            poller.register(li.socket, zmq.POLLIN)
        poller.poll(max(1, round(1e3 * min(left, LOOK_S))))
        for li in listeners:
            li.drain()
    return True
