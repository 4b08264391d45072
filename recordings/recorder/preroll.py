"""The last seconds before a recording begins, kept in memory while the recorder is armed."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace

from capture.codec import StreamEnd
from capture.packets import EventPacket, Frame
from recordings.event_peak import Windows
from recordings.formats.own_chunks import Draft

MAX_SECONDS = 60.0
MAX_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class Waiting:
    """An item that has been read and packed.

    Attributes:
        ring: 0 events, 1 frames.
        written_ns: `time.monotonic_ns` when its camera's worker wrote it.
        packet: its stamps, without data.
        chunk: what is written.
        lost: items of its ring that were lost right before it.
        windows: of its events, which the packet lacks; None: it has none.
    """

    ring: int
    written_ns: int
    packet: EventPacket | Frame | StreamEnd
    chunk: Draft
    lost: int
    windows: Windows | None = None


def budget() -> int:
    """Bytes that may be kept: `MAX_BYTES`, on small machines an eighth of the memory."""
    try:
        physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return MAX_BYTES
    return min(MAX_BYTES, physical // 8) if physical > 0 else MAX_BYTES


class PreRoll:
    """Keeps what was written in the last `seconds`, and no more than `most` bytes.

    Attributes:
        bytes: that it takes now.
    """

    def __init__(self, seconds: float, most: int | None = None) -> None:
        self._most = budget() if most is None else most
        self._items: deque[Waiting] = deque()
        self.bytes = 0
        self.resize(seconds)

    @property
    def wanted(self) -> bool:
        """Anything is to be kept at all."""
        return self._span_ns > 0

    @property
    def seconds(self) -> float:
        """So much is there now."""
        items = self._items
        return (items[-1].written_ns - items[0].written_ns) / 1e9 if items else 0.0

    def resize(self, seconds: float) -> None:
        """Keep so much from now on, 0 … `MAX_SECONDS`."""
        self._span_ns = round(min(max(0.0, seconds), MAX_SECONDS) * 1e9)
        if not self.wanted:
            self._items.clear()
            self.bytes = 0
        self._trim()

    def add(self, w: Waiting) -> None:
        """The next item; what is too old goes."""
        if isinstance(w.packet, StreamEnd):
            return
        self._items.append(w)
        self.bytes += w.chunk.size
        self._trim()

    def _trim(self) -> None:
        items = self._items
        while items and (items[-1].written_ns - items[0].written_ns > self._span_ns or self.bytes > self._most):
            self.bytes -= items.popleft().chunk.size

    def give(self) -> Iterator[Waiting]:
        """All that is there, in order; nothing stays. What was lost before the first of a ring is no loss."""
        told: set[int] = set()
        while self._items:
            w = self._items.popleft()
            yield replace(w, lost=w.lost if w.ring in told else 0)
            told.add(w.ring)
        self.bytes = 0
