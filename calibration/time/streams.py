"""What the clock fit keeps of both streams: edges and stamps, in the order in which they came; no pixels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from capture.packets import EventPacket, Events, Frame, TriggerEdges

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_EDGES = 1_000_000
"""A floating input gives as many in a second; beyond them only the count goes on."""

# Of most packets nothing is kept: they share one nothing, and are a fifth as large.
_NO_EDGES = TriggerEdges.empty()
_no_events = cache(Events.empty)


def until_back(items: Iterable[EventPacket | Frame]) -> Iterator[EventPacket | Frame]:
    """Both streams until event time runs back (µs): behind that it is another axis, with another clock."""
    until = newest = None
    for item in items:
        if isinstance(item, EventPacket):
            t = item.events.t
            if until is not None and item.complete_until_us < until:
                return
            if newest is not None and len(t) and int(t[0]) < newest:
                return
            until, newest = item.complete_until_us, int(t[-1]) if len(t) else newest
        yield item


@dataclass(slots=True)
class Streams:
    """Both streams without events and images. Some 300 bytes for every packet, 800 with edges; 400 for a frame.

    Attributes:
        items: packets without events and frames with a stand-in image that takes no memory.
        edges: edges that came, those beyond `MAX_EDGES` included.
        events: events that came.
        span_us: (first, last) time of the event stream, None before the first packet.
    """

    items: list[EventPacket | Frame] = field(default_factory=list)
    edges: int = 0
    events: int = 0
    span_us: tuple[int, int] | None = None
    _came: list[tuple[int, int]] = field(default_factory=list)
    _blank: dict[tuple[int, ...], NDArray[np.uint8]] = field(default_factory=dict)

    @classmethod
    def of(cls, items: Iterable[EventPacket | Frame]) -> Streams:
        """Read all items."""
        s = cls()
        for item in items:
            s.add(item)
        return s

    def add(self, item: EventPacket | Frame) -> None:
        """The next item, in order of arrival."""
        if isinstance(item, EventPacket):
            self._add_packet(item)
        else:
            image = self._blank.setdefault(
                item.image.shape, np.broadcast_to(np.uint8(0), item.image.shape)
            )  # fmt: skip
            self.items.append(
                Frame(image, item.layout, item.sequence, item.device_start_ns, item.device_end_ns, item.clock,
                      item.host_ns, item.kind, item.epoch)
            )  # fmt: skip

    def _add_packet(self, p: EventPacket) -> None:
        n = len(p.triggers)
        edges = p.triggers if n and self.edges + n <= MAX_EDGES else _NO_EDGES
        self.edges += n
        self.events += len(p.events)
        self._came.append((p.complete_until_us, self.events))
        first = int(p.events.t[0]) if len(p.events) else p.complete_until_us
        began = first if self.span_us is None else self.span_us[0]
        self.span_us = (began, max(p.complete_until_us, first))
        # One event marks where the stream begins: the synchroniser asks for that.
        events = p.events[:1] if not self.items else _no_events(p.events.width, p.events.height)
        self.items.append(
            EventPacket(events, edges, p.complete_until_us, p.host_ns, p.dropped, p.gap, p.rejected, p.epoch)
        )

    def frames(self) -> Iterator[Frame]:
        """The frames, in order."""
        return (i for i in self.items if isinstance(i, Frame))

    def packets(self) -> Iterator[EventPacket]:
        """The event packets, in order."""
        return (i for i in self.items if isinstance(i, EventPacket))

    def arrived(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(N,) times (µs) until which packets are complete, and (N,) how many events had come by then."""
        at, n = np.array(self._came, np.int64).reshape(-1, 2).T
        return at, n

    def edge_times(self, rising: bool) -> NDArray[np.int64]:
        """Times (µs) of all edges of one kind."""
        parts = [p.triggers.t[p.triggers.rising == rising] for p in self.packets() if len(p.triggers)]
        return np.concatenate(parts) if parts else np.empty(0, np.int64)
