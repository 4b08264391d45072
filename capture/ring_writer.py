"""The one writer of a ring. How it and the readers keep out of each other's way: `capture.ring`."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

from capture import codec
from capture import ring_words as k
from capture.notices import Notifier
from capture.packets import EventPacket, Frame
from capture.ring_memory import (
    ItemTooLarge,
    RingMemory,
    RingRef,
    RingStalled,
    RingStats,
    fence,
    process_token,
)
from capture.ring_segment import RingError

Array = codec.Array
_NAP_S = 0.0003


class RingWriter:
    """The one writer of a ring. A second one is refused while the first lives.

    Args:
        ref: the ring.
        lease_wait_s: how long one write waits, at most, for readers that hold what it must overwrite.
    """

    def __init__(self, ref: RingRef, *, lease_wait_s: float = 0.01) -> None:
        self._memory = RingMemory.attach(ref)
        self._w = self._memory.words
        self._closed = False
        self._lease_wait_ns = int(lease_wait_s * 1e9)
        w = self._w
        pid = int(w[k.H_WRITER_PID])
        if pid and process_token(pid) == w[k.H_WRITER_TOKEN]:
            self._memory.close()
            raise RingError(f"ring {ref.label!r} has a writer already (process {pid}); stop that first")
        w[k.H_WRITER_TOKEN], w[k.H_WRITER_PID] = process_token(os.getpid()), os.getpid()
        w[k.H_WRITERS] += 1
        self._head = self._recover()
        self._notifier = Notifier(ref.notice) if ref.notice else None

    def _recover(self) -> int:
        """Close what a killed writer left open; the place behind the last item, on an endless axis."""
        w, m = self._w, self._memory
        n = w[k.H_WRITTEN]
        head = int(w[m.descriptor_at(n - 1) + k.D_END]) if n else 0
        if w[k.H_BUSY] == n + 1:
            # The dead writer had made room before it set the mark: slot `n` is free.
            d = m.descriptor_at(n)
            w[d + k.D_START] = w[d + k.D_END] = head
            w[d + k.D_META] = w[d + k.D_SIZE] = 0
            w[d + k.D_ABORTED], w[d + k.D_HOST_NS] = 1, time.monotonic_ns()
            w[d + k.D_GENERATION] = n + 1
            w[k.H_ABORTED] += 1
            fence()
            w[k.H_WRITTEN] = n + 1
        w[k.H_BUSY] = 0
        return head

    def write(
        self, kind: str, header: Mapping[str, Any], arrays: Sequence[Array] = (), *, timeout_s: float = 0.0
    ) -> int:
        """Write one item and wake the readers.

        Args:
            kind: a short word, e.g. "picture".
            header: plain values (msgpack); tuples come back as lists.
            arrays: numbers or booleans of any shape, copied in once.
            timeout_s: how long to wait for readers that must lose nothing.

        Returns:
            The item's sequence number.

        Raises:
            ItemTooLarge: it does not fit the arena, however empty.
            RingStalled: a lossless reader holds the place still needed. Nothing was written: try again.
            RingError: a header or an array that cannot travel.
        """
        w, m = self._w, self._memory
        p = codec.plan(kind, header, arrays)
        if p.size > m.arena_bytes:
            w[k.H_REFUSED] += 1
            raise ItemTooLarge(
                f"ring {m.label!r}: an item of {p.size / 2**20:.2f} MiB does not fit its "
                f"{m.arena_bytes / 2**20:.2f} MiB; make the ring with a larger arena"
            )
        at = self._head % m.arena_bytes
        # An item lies in one piece: what is left before the end of the arena is passed over.
        start = self._head if at + p.size <= m.arena_bytes else self._head + m.arena_bytes - at
        n = int(w[k.H_WRITTEN])
        self._make_room(n, start, start + p.size, timeout_s)
        d = m.descriptor_at(n)
        w[k.H_BUSY] = n + 1
        w[d + k.D_GENERATION] = -(n + 1)
        fence()
        at = start % m.arena_bytes
        codec.place(p, arrays, m.arena[at : at + p.size])
        w[d + k.D_START], w[d + k.D_END] = start, start + p.size
        w[d + k.D_META], w[d + k.D_SIZE] = len(p.meta), p.size
        w[d + k.D_ABORTED], w[d + k.D_HOST_NS] = 0, time.monotonic_ns()
        w[d + k.D_GENERATION] = n + 1
        fence()
        w[k.H_WRITTEN] = n + 1
        w[k.H_BUSY] = 0
        w[k.H_BYTES] += p.size
        self._head = start + p.size
        if self._notifier is not None:
            self._notifier.notify()
        return n

    def write_packet(self, packet: EventPacket | Frame | codec.StreamEnd, *, timeout_s: float = 0.0) -> int:
        """`write` for what cameras hand on."""
        return self.write(*codec.encode(packet), timeout_s=timeout_s)

    def _make_room(self, n: int, start: int, end: int, timeout_s: float) -> None:
        """Give up old items until slot `n` and the bytes [start, end) are free."""
        w, m = self._w, self._memory
        tail = int(w[k.H_TAIL])
        new, oldest = tail, n - m.slots + 1
        while new < n and (new < oldest or w[m.descriptor_at(new) + k.D_START] < end - m.arena_bytes):
            new += 1
        # `floor` may be behind `tail` when a writer died, or was interrupted, between the two.
        if new == w[k.H_FLOOR]:
            return
        self._wait_lossless(new, timeout_s)
        w[k.H_TAIL] = new
        fence()
        self._wait_leases(new)
        w[k.H_FLOOR] = new
        fence()

    def _wait_lossless(self, needed: int, timeout_s: float) -> None:
        w, m = self._w, self._memory
        deadline = time.monotonic() + timeout_s
        for i in range(m.n_readers):
            a, naps = m.reader_at(i), 0
            while w[a + k.R_LOSSLESS] and m.cursor(i) < needed:
                pid = int(w[a + k.R_PID])
                late = time.monotonic() >= deadline
                # Whether a process lives costs a look into /proc: not at every nap.
                dead = bool(pid) and (late or naps % 64 == 0) and process_token(pid) != w[a + k.R_TOKEN]
                if not (dead or late):
                    time.sleep(_NAP_S)
                    naps += 1
                    continue
                why = f"its process {pid} is gone" if dead else "it is slow" if pid else "it is not attached"
                name = m.reader_names[i]
                raise RingStalled(
                    f"ring {m.label!r} is full and its reader {name!r} must lose nothing, but {why}; "
                    f"start the reader again or let it go",
                    name,
                    dead,
                )

    def _wait_leases(self, new_tail: int) -> None:
        w, m = self._w, self._memory
        deadline = time.monotonic_ns() + self._lease_wait_ns
        floor = int(w[k.H_FLOOR])  # leases at or below it have expired already: wait for each only once
        for i in range(m.n_readers):
            a = m.reader_at(i)
            waited = False
            while floor < w[a + k.R_LEASE] <= new_tail:
                if not waited:
                    waited = True
                    w[k.H_LEASE_WAITS] += 1
                if time.monotonic_ns() >= deadline or process_token(int(w[a + k.R_PID])) != w[a + k.R_TOKEN]:
                    w[a + k.R_EXPIRED] += 1
                    break
                time.sleep(_NAP_S)

    @property
    def largest(self) -> int:
        """Bytes of the largest item that fits."""
        return self._memory.arena_bytes

    def stats(self) -> RingStats:
        """The ring's counters."""
        return self._memory.stats()

    def close(self) -> None:
        """Let another writer in. The ring and what it holds stay."""
        if self._notifier is not None:
            self._notifier.close()
            self._notifier = None
        if not self._closed:
            self._closed = True
            self._w[k.H_WRITER_PID] = 0
            self._memory.close()
