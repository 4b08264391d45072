"""Both rings as one stream of packed items, in the order in which the cameras wrote them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import numpy as np

from capture.codec import StreamEnd
from capture.errors import HalfmirrorError
from capture.packets import EventPacket, Events, Frame, Inertial, TriggerEdges
from capture.ring import RingReader, RingRef, wait_any
from recordings.event_peak import Windows
from recordings.formats.own_chunks import draft
from recordings.recorder.preroll import Waiting

READER = "recorder"
ITEMS_A_TURN = 128
AHEAD_BYTES, AHEAD_ITEMS = 64 << 20, 256
"""Of each ring; about so much may be out of it and wait for older items of the other ring."""


class Incoming:
    """Takes items out of the rings onto memory of its own. For one thread.

    Args:
        watermark: events are recorded up to here, None while nobody knows.
    """

    def __init__(
        self,
        events: RingRef,
        frames: RingRef,
        start: Literal["resume", "newest"],
        watermark: Callable[[], int | None],
    ) -> None:
        self._readers = (RingReader(events, READER, start=start), RingReader(frames, READER, start=start))
        self._watermark = watermark
        self._ahead: tuple[deque[Waiting], deque[Waiting]] = (deque(), deque())
        self._owed = [0, 0]  # lost items of each ring that no recorded item has told of yet

    @property
    def waiting(self) -> int:
        """Items that could be read now."""
        return sum(r.waiting for r in self._readers) + sum(len(q) for q in self._ahead)

    @property
    def backlog(self) -> int:
        """Of the ring in which most items wait."""
        return max(r.waiting for r in self._readers)

    def wait(self, timeout_s: float) -> None:
        """Until an item may have come, or so long."""
        wait_any(self._readers, timeout_s)

    def close(self) -> None:
        """Let go of the rings."""
        for r in self._readers:
            r.close()

    def read(
        self, most: int, sink: Callable[[Waiting], None], open_: Callable[[], bool] = lambda: True
    ) -> bool:
        """Hand on so many items in the order in which they were written, while `open_`; False: none came."""
        worked = False
        for _ in range(most):
            if not open_():
                break
            worked = self._fetch_ahead() or worked
            heads = [q for q in self._ahead if q]
            if not heads:
                break
            sink(min(heads, key=lambda q: q[0].written_ns).popleft())
            worked = True
        return worked

    def _fetch_ahead(self) -> bool:
        """Take an item out of each ring, though those before it in the other one are not recorded yet.

        A few frames fill their ring long before events fill theirs: when this process is behind with events,
        frames that waited in the ring for their turn would be lost.
        """
        worked = False
        for i, (reader, queue) in enumerate(zip(self._readers, self._ahead, strict=True)):
            while not queue and self._fetch(i, reader):  # one that was torn is followed by the next
                worked = True
            if 0 < len(queue) < AHEAD_ITEMS and len(queue) * queue[-1].chunk.size < AHEAD_BYTES:
                worked = self._fetch(i, reader) or worked
        return worked

    def pass_over(self) -> bool:
        """Keep nothing, so that what is read later begins with what comes; False: there was none."""
        worked, self._ahead, self._owed = False, (deque(), deque()), [0, 0]
        for reader in self._readers:
            for _ in range(ITEMS_A_TURN):
                lease = reader.next()
                if lease.item is None:
                    break
                lease.release()
                worked = True
        return worked

    def _fetch(self, i: int, reader: RingReader) -> bool:
        """Pack the next item of a ring; False: there is none."""
        lease = reader.next()
        item, error = lease.item, None
        if item is None:
            return False
        lost = item.lost_before + self._owed[i]
        try:
            packet = item.packet()
            chunk = draft(packet, self._watermark())
            windows = Windows.of(packet.events.t) if isinstance(packet, EventPacket) else None
            packet = _without_data(packet)
        except HalfmirrorError as e:  # garbage, because it was overwritten meanwhile, or an unsound packet
            error = e
        if not lease.release():
            self._owed[i] = lost  # the ring itself counts this one with the next
        elif error is not None:
            self._owed[i] = lost + 1
        else:
            self._owed[i] = 0
            self._ahead[i].append(Waiting(i, item.host_ns, packet, chunk, lost, windows))
        return True


def _without_data(packet: EventPacket | Frame | StreamEnd) -> EventPacket | Frame | StreamEnd:
    """The packet with its stamps, sizes and trigger edges, on memory of its own: what counting needs."""
    if isinstance(packet, Frame):
        return replace(packet, image=np.broadcast_to(np.uint8(0), packet.image.shape))
    if isinstance(packet, EventPacket):
        e, tr, n = packet.events, packet.triggers, len(packet.events)
        none = Events(
            np.broadcast_to(np.int64(0), n), np.broadcast_to(np.uint16(0), n),
            np.broadcast_to(np.uint16(0), n), np.broadcast_to(np.bool_(False), n), e.width, e.height,
        )  # fmt: skip
        imu = None if packet.imu is None else Inertial.of(packet.imu.t.copy(), packet.imu.values)
        edges = TriggerEdges(tr.t.copy(), tr.rising.copy())
        return replace(packet, events=none, triggers=edges, imu=imu)
    return packet
