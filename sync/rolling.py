"""Rolling shutters: rows that are exposed one after another, and events told as if all were exposed together.

Row y of an image begins and ends `delay(y)` after the row that is exposed first. An event that reaches row y at
t has to that row's exposure the relation that one at t − delay(y) would have, were all rows exposed with the
first. So every event's time is moved by the delay of the row that it falls on, and whatever restores need not
know of rolling shutters. A pixel's events keep their order and distances, since all are moved alike.

What comes out is each row at its own instant, as the camera saw it: without blur, and skewed as before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from capture.compiled import njit
from capture.packets import EventPacket, Events, Frame, TriggerEdges
from capture.shutter import delay_us
from sync.rig import Rig
from sync.rig_map import RigMap, lattice

I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
U16 = NDArray[np.uint16]
Bool = NDArray[np.bool_]

_MOST_BINS = 1 << 22  # µs; longer windows are sorted the general way


def longest_delay_us(rig: Rig) -> int:
    """From the first row's exposure to the last one's, µs; 0 with a global shutter."""
    return round(abs(rig.image.rolling_us))


def delays_of(rig: Rig) -> I32 | None:
    """The delay of every event pixel, µs: (h · w) int32, row by row, read-only; None with a global shutter."""
    if longest_delay_us(rig) == 0:
        return None
    return _delays(RigMap.of(rig), rig.events.width, rig.events.height, rig.image.height, rig.image.rolling_us)


@lru_cache(maxsize=4)
def _delays(m: RigMap, width: int, height: int, rows: int, rolling_us: float) -> I32:
    table = np.rint(delay_us(m.to_image(lattice(width, height))[:, 1], rows, rolling_us)).astype(np.int32)
    table.flags.writeable = False
    return table


def as_if_global(events: Events, delays: I32, start_us: int, end_us: int) -> Events:
    """Events whose moved time lies in `start_us <= t < end_us`, in order of it.

    Args:
        events: all of `start_us <= t < end_us` and the longest delay after it.
        delays: of `delays_of`.
        start_us, end_us: of the first row.
    """
    bins = end_us - start_us
    if 0 < bins <= _MOST_BINS:
        place = np.zeros(bins + 1, np.int64)
        e = events
        t, x, y, p = _laid_out(e.t, e.x, e.y, e.p, delays, np.int64(e.width), np.int64(start_us), place)
        return Events(t, x, y, p, e.width, e.height)
    moved = _moved(events, delays)
    inside = np.flatnonzero((moved >= start_us) & (moved < end_us))
    order = inside[np.argsort(moved[inside], kind="stable")]
    return Events(moved[order], events.x[order], events.y[order], events.p[order], events.width, events.height)


def _moved(events: Events, delays: I32) -> I64:
    return np.asarray(events.t - delays[events.y.astype(np.int64) * events.width + events.x])


@njit(nogil=True)
def _laid_out(
    t: I64, x: U16, y: U16, p: Bool, delays: I32, width: int, start: int, place: I64
) -> tuple[I64, U16, U16, Bool]:
    """Moved events from `start` to less than `start + len(place) - 1`, by time, those of one time as they are.

    Times lie close together and are whole µs, so each has a bin: counted and laid out in two passes. `place` is
    zero, one longer than there are bins.
    """
    bins = len(place) - 1
    for i in range(len(t)):
        at = t[i] - delays[y[i] * width + x[i]] - start
        if 0 <= at < bins:
            place[at + 1] += 1
    for k in range(bins):
        place[k + 1] += place[k]
    n = place[bins]
    t2, x2, y2, p2 = np.empty(n, t.dtype), np.empty(n, x.dtype), np.empty(n, y.dtype), np.empty(n, p.dtype)
    for i in range(len(t)):
        at = t[i] - delays[y[i] * width + x[i]] - start
        if 0 <= at < bins:
            k = place[at]
            t2[k], x2[k], y2[k], p2[k] = at + start, x[i], y[i], p[i]
            place[at] += 1
    return t2, x2, y2, p2


class MovedStream:
    """A stream of packets with every event moved: for files whose layout knows global shutters only.

    An event is held until no later one can come before it; so the promise of completeness lies the longest
    delay behind. Edges stay as they are. With a global shutter packets pass as they came.

    Args:
        rig: of both cameras.
    """

    def __init__(self, rig: Rig) -> None:
        self._delays, self._longest = delays_of(rig), longest_delay_us(rig)
        self._held: Events | None = None
        self._last: EventPacket | None = None

    def push(self, packet: EventPacket) -> EventPacket:
        """The packet with what is complete now instead of its own events."""
        if self._delays is None:
            return packet
        if self._last is not None and packet.epoch != self._last.epoch:
            self._last = self._held = None  # another time axis: what is held has no place on it
        return self._given(packet, packet.complete_until_us - self._longest)

    def finish(self) -> EventPacket | None:
        """At the end of the stream: what is still held; None when nothing is."""
        last, held = self._last, self._held
        if last is None or held is None or not len(held):
            return None
        nothing = Events.empty(held.width, held.height)
        end = max(last.complete_until_us, int(held.t[-1]) + 1)
        return self._given(
            replace(last, events=nothing, triggers=TriggerEdges.empty(), imu=None, gap=False), end
        )

    def _given(self, packet: EventPacket, mark: int) -> EventPacket:
        assert self._delays is not None
        first = int(packet.events.t[0]) if len(packet.events) else packet.complete_until_us
        # Before the stream's first event only some rows are known.
        begin = first if self._last is None else self._last.complete_until_us
        mark = max(begin, mark)
        held = packet.events
        if self._held is not None and len(self._held):
            held = Events.concatenate([self._held, held])
        later = _moved(held, self._delays) >= mark
        self._held = Events(
            held.t[later], held.x[later], held.y[later], held.p[later], held.width, held.height
        )  # fmt: skip
        out = as_if_global(held, self._delays, begin, mark)
        self._last = replace(packet, events=out, complete_until_us=mark)
        return self._last


def moved(items: Iterable[EventPacket | Frame], rig: Rig) -> Iterator[EventPacket | Frame]:
    """Both streams with every event moved, see `MovedStream`; the rest comes at the end."""
    stream = MovedStream(rig)
    for item in items:
        yield stream.push(item) if isinstance(item, EventPacket) else item
    rest = stream.finish()
    if rest is not None:
        yield rest
