"""The event store: recent events kept in order, windows cut out of them exactly, losses remembered.

Nothing here looks at single events: packets are kept as they came, a window is two binary searches and views,
or one copy of just the window where it spans several packets.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass

from capture.packets import EventPacket, Events


@dataclass(frozen=True, slots=True)
class Gap:
    """A stretch of time in which events are known to be lost.

    Attributes:
        start_us, end_us: both ends belong to it; they coincide where the place is known but no length.
        cause: "interrupted", "dropped in the camera", "reader was lapped" or "evicted".
    """

    start_us: int
    end_us: int
    cause: str

    def touches(self, start_us: int, end_us: int) -> bool:
        """Some of it lies in `start <= t < end`."""
        return self.start_us < end_us and self.end_us >= start_us


class EventStore:
    """Recent events of one sensor, bounded in time and in bytes.

    Arrays are kept, not copied: whoever pushes a packet must not reuse its memory. Every limit that bites is
    counted in `evicted_events`, and the evicted stretch is a `Gap` for whoever asks for it later.

    Attributes:
        complete_until_us: the watermark; every event with `t <` this is here (or counted as lost). None before
            the first packet.
        start_us: where the stream began, as far as one can tell: the first packet's first event or edge, or its
            end when it is empty. None before it.
        newest_us: time of the newest event, None before the first.
    """

    def __init__(
        self, width: int, height: int, *, retain_us: int = 4_000_000, retain_bytes: int = 512 * 2**20
    ) -> None:
        self._width, self._height = width, height
        self._retain_us, self._retain_bytes = retain_us, retain_bytes
        self.evicted_events = 0
        self.out_of_order_events = 0
        self.clear()

    def clear(self) -> None:
        """Forget all packets, gaps and the watermark; the counters stay."""
        self._packets: list[Events] = []
        self._first: list[int] = []
        self._last: list[int] = []
        self._bytes = 0
        self._gaps: list[Gap] = []
        self._lost_before_next = False
        self.complete_until_us: int | None = None
        self.start_us: int | None = None
        self.newest_us: int | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of the events that are held."""
        return self._bytes

    @property
    def gaps(self) -> tuple[Gap, ...]:
        """The gaps that are still remembered, oldest first."""
        return tuple(self._gaps)

    def losses(self, most: int) -> list[tuple[int, int]]:
        """Start and end of the last so many gaps, oldest first, without evicted events: they had been here."""
        return [(g.start_us, g.end_us) for g in self._gaps[-most:] if g.cause != "evicted"]

    def mark_lost(self) -> None:
        """Packets were lost on the way to here, before the next one (the reader was lapped)."""
        self._lost_before_next = True

    def push(self, packet: EventPacket) -> None:
        """Take the next packet.

        Events that run back behind the newest one held are left out and counted in `out_of_order_events`: the
        packet's contract forbids them, and one of them would break every later search.
        """
        events = packet.events
        if self.newest_us is not None and len(events) and int(events.t[0]) < self.newest_us:
            kept = events.between(self.newest_us, int(events.t[-1]) + 1)
            self.out_of_order_events += len(events) - len(kept)
            events = kept
        first = self._first_time(events, packet)
        self._note_losses(packet, first)
        if self.start_us is None:
            # An empty packet says nothing of the time before its own end; from there on, silence is known.
            self.start_us = packet.complete_until_us if first is None else first
        if self.complete_until_us is None or packet.complete_until_us > self.complete_until_us:
            self.complete_until_us = packet.complete_until_us
        if len(events):
            self._packets.append(events)
            self._first.append(int(events.t[0]))
            self._last.append(int(events.t[-1]))
            self._bytes += events.nbytes
            self.newest_us = self._last[-1]
        self._evict()

    @staticmethod
    def _first_time(events: Events, packet: EventPacket) -> int | None:
        firsts = [int(a[0]) for a in (events.t, packet.triggers.t) if len(a)]
        return min(firsts) if firsts else None

    def _note_losses(self, packet: EventPacket, first: int | None) -> None:
        lapped, self._lost_before_next = self._lost_before_next, False
        if not (lapped or packet.gap or packet.dropped):
            return
        # Lost events lie between what was complete before and the first thing that came after.
        begin = self.complete_until_us
        if begin is None:
            return  # nothing was promised before the first packet: the stream simply starts here
        end = packet.complete_until_us if first is None else first
        cause = "interrupted" if packet.gap else "reader was lapped" if lapped else "dropped in the camera"
        self._gaps.append(Gap(min(begin, end), max(begin, end), cause))

    def _evict(self) -> None:
        assert self.complete_until_us is not None
        oldest = self.complete_until_us - self._retain_us
        n = bisect_left(self._last, oldest)
        kept_bytes = self._bytes - sum(p.nbytes for p in self._packets[:n])
        while n < len(self._packets) - 1 and kept_bytes > self._retain_bytes:
            kept_bytes -= self._packets[n].nbytes
            n += 1
        if n:
            self.evicted_events += sum(len(p) for p in self._packets[:n])
            self._forget(n, kept_bytes)
        self._forget_gaps(oldest)

    def _forget(self, n: int, kept_bytes: int) -> None:
        begin, end = self._first[0], self._last[n - 1]
        del self._packets[:n], self._first[:n], self._last[:n]
        self._bytes = kept_bytes
        # One evicted gap grows at the front; gaps that lie wholly before it say nothing more.
        if self._gaps and self._gaps[0].cause == "evicted":
            begin = self._gaps.pop(0).start_us
        self._gaps = [g for g in self._gaps if g.end_us > end]
        self._gaps.insert(0, Gap(begin, end, "evicted"))

    def _forget_gaps(self, oldest: int) -> None:
        """Also where packets hold no events and none is evicted: else gaps without end would pile up."""
        n = 0
        while n < len(self._gaps) and self._gaps[n].end_us < oldest:
            n += 1
        if n and self._gaps[n - 1].cause != "evicted":
            self._gaps[:n] = [Gap(self._gaps[0].start_us, self._gaps[n - 1].end_us, "evicted")]

    def release_before(self, t_us: int) -> None:
        """Free packets that lie wholly before this time; nobody will ask for them. Not counted as evicted."""
        n = bisect_left(self._last, t_us)
        if n:
            self._forget(n, self._bytes - sum(p.nbytes for p in self._packets[:n]))

    def cut(self, start_us: int, end_us: int) -> Events:
        """All events held with `start_us <= t < end_us`.

        Views when the window lies in one packet; otherwise one copy of the window.
        """
        if end_us <= start_us:
            return Events.empty(self._width, self._height)
        a, b = bisect_left(self._last, start_us), bisect_left(self._first, end_us)
        if a >= b:
            return Events.empty(self._width, self._height)
        if b - a == 1:
            return self._packets[a].between(start_us, end_us)
        middle = self._packets[a + 1 : b - 1]
        head = self._packets[a].between(start_us, end_us)
        tail = self._packets[b - 1].between(start_us, end_us)
        return Events.concatenate([head, *middle, tail])

    def gap_in(self, start_us: int, end_us: int) -> Gap | None:
        """The first known loss that touches `start <= t < end`, None when there is none."""
        for g in self._gaps:
            if g.start_us >= end_us:
                break
            if g.touches(start_us, end_us):
                return g
        return None

    def missing_us(self, start_us: int, end_us: int) -> int:
        """How much of `start <= t < end` the gaps take, without those of evicted events: they had been here."""
        lost = 0
        for g in reversed(self._gaps):
            if g.end_us < start_us or g.cause == "evicted":
                break
            lost += max(0, min(g.end_us, end_us) - max(g.start_us, start_us))
        return lost

    def count_between(self, start_us: int, end_us: int) -> int:
        """Number of events held with `start_us <= t < end_us`."""
        return len(self.cut(start_us, end_us))

    def packets_between(self, start_us: int, end_us: int) -> int:
        """Number of packets that hold events of the window (1 means that `cut` gives views)."""
        return max(0, bisect_left(self._first, end_us) - bisect_right(self._last, start_us - 1))
