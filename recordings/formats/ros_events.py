"""The events of one topic of a ROS bag, in order, on the clock of the messages' headers."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from capture import evt_time
from recordings.formats import ros_messages as ros
from recordings.formats.dataset_source import Edges, Found, Ignored, Piece, coordinates, remark, side
from recordings.formats.ros_clock import Pair, SensorClock
from recordings.formats.trigger_channel import TriggerChannel
from recordings.sandbox_child import Refused

SEEN = 200
"""Messages with events that tell the size and, for EVT3, how the sensor's clock lies on the host's."""
ENOUGH = 50
"""So many at the end."""
# A read from the middle begins so much earlier in the order of writing, which has a delay that varies.
_EARLIER_NS = 2_000_000_000


class Messages(Protocol):
    """A bag; see `ros_bag.Bag`."""

    topics: dict[str, str]
    end_ns: int

    def messages(self, topics: Sequence[str], start_ns: int | None = None) -> Iterator[tuple[str, int, bytes]]:
        """(topic, time of writing in ns, the message)."""


class EventStream:
    """Reads the events of a topic.

    Args:
        bag: for a look at the beginning and the end.
        topic: to read.
        cdr: how messages are written.
        stated: the sensor's size where the person gave it.
        problems: what is found goes there.

    Attributes:
        size: (width, height) of the sensor.
        start_us, end_us: of the first and of the last message's events.
        has_edges: trigger edges were among the first events.

    Raises:
        Refused: no events, or in an encoding that is not read.
    """

    def __init__(
        self, bag: Messages, topic: str, cdr: bool, stated: tuple[int, int] | None, problems: list[str]
    ) -> None:
        self._topic, self._cdr = topic, cdr
        self._packets = bag.topics[topic] == ros.EVENT_PACKET
        self._clock: SensorClock | None = None  # of EVT3
        self._channel = TriggerChannel()
        self.encoding = ""
        filled = ((at, data) for _, at, data in bag.messages([topic]) if self._filled(data))
        written = list(islice(filled, SEEN))
        if not written:
            raise Refused(f"{topic}: no events in any of its messages")
        first = [data for _, data in written]
        size, why = None, ""
        for data in first:
            try:
                size = size or self._size_in(data)
            except ros.Malformed as e:
                why = why or str(e)
        if size is None:
            raise Refused(f"{topic}: none of its messages can be read; the first {why}")
        told = stated or size
        self.size = side(told[0], "a sensor's width"), side(told[1], "a sensor's height")
        if stated is not None and stated != size and 0 not in size:
            problems.append(f"its messages say {size[0]}×{size[1]}, {stated[0]}×{stated[1]} was stated")
        last = self._last(bag)
        if self.encoding == "evt3":
            pairs = self._pairs(first)
            if not pairs:
                raise Refused(f"{topic}: no events in its first {len(first)} messages")
            self._clock = SensorClock.of(pairs).followed(self._pairs(last))
            remark(problems, str(self._clock))
        found = [f for f in self._decoded(first) if isinstance(f, Piece | Edges)]
        times = [f.t for f in found if len(f.t)]
        if not times:
            raise Refused(f"{topic}: no events in its first {len(first)} messages")
        self.has_edges = any(isinstance(f, Edges) for f in found)
        self.start_us = int(min(t.min() for t in times))
        self._delay_ns = written[0][0] - 1000 * self.start_us
        self.end_us = max(int(max(t.max() for t in times)), self._last_us(last[-1]))

    def _filled(self, data: bytes) -> bool:
        """There is something in this message, if only damage: in a still scene drivers send empty ones."""
        try:
            if self._packets:
                return len(ros.packet(data, self._cdr).data) > 0
            return ros.event_array(data, self._cdr)[0].u32() > 0
        except ros.Malformed:
            return True

    def _size_in(self, data: bytes) -> tuple[int, int]:
        if self._packets:
            p = ros.packet(data, self._cdr)
            if p.encoding not in ("mono", "evt3"):
                raise Refused(
                    f"{self._topic}: events encoded as {p.encoding[:40]!r} are not read (mono and evt3 are); "
                    "convert them with event_camera_tools"
                )
            self.encoding = p.encoding
            return p.size
        return ros.event_array(data, self._cdr)[1]

    def _last(self, bag: Messages) -> deque[bytes]:
        """The last messages with events; there are some."""
        last: deque[bytes] = deque(maxlen=SEEN)
        for back_ns in (10**9, 10**10, 10**11, bag.end_ns):
            last.clear()
            later = bag.messages([self._topic], bag.end_ns - back_ns)
            last.extend(data for _, _, data in later if self._filled(data))
            if len(last) >= ENOUGH:
                break
        return last

    def _last_us(self, last: bytes) -> int:
        """When the events of the last message end."""
        try:
            times = [f.t for f in self._decoded([last]) if isinstance(f, Piece | Edges) and len(f.t)]
            return int(max(t.max() for t in times)) if times else ros.Wire(last, self._cdr).header() // 1000
        except ros.Malformed:
            return -(1 << 60)

    def _pairs(self, messages: Iterable[bytes]) -> list[Pair]:
        """The first event's time by the sensor, and the stamp, of messages that follow each other (EVT3)."""
        state, pairs = evt_time.new_state(), []
        for data in messages:
            try:
                p = ros.packet(data, self._cdr)
            except ros.Malformed:
                continue
            times = [f.t for f in self._evt3(p, state) if len(f.t)]
            if times:
                pairs.append((int(min(t[0] for t in times)), p.stamp_ns // 1000))
        return pairs

    def read(self, bag: Messages, start_us: int | None) -> Iterator[Found]:
        """Events and edges from `start_us` on, or a little earlier; a line of text where some are lost."""
        since = None if start_us is None else max(0, 1000 * start_us + self._delay_ns - _EARLIER_NS)
        yield from self._decoded(d for _, _, d in bag.messages([self._topic], since))

    def _decoded(self, messages: Iterable[bytes]) -> Iterator[Found]:
        state, clock = evt_time.new_state(), self._clock
        lift: int | None = None
        for data in messages:
            try:
                if not self._packets:
                    yield ros.event_array(data, self._cdr)[0].events()
                    continue
                p = ros.packet(data, self._cdr)
                if p.encoding != self.encoding:
                    yield f"a message of {self._topic} is encoded as {p.encoding[:40]!r}"
                elif p.encoding == "mono":
                    yield ros.mono_events(p)
                else:
                    found = [f for f in self._evt3(p, state) if len(f.t)]
                    if counts := self._channel.passed_over():
                        yield Ignored(counts)
                    if not found or clock is None:
                        continue
                    if lift is None:
                        lift = clock.lift((min(int(f.t[0]) for f in found), p.stamp_ns // 1000))
                    yield from (f._replace(t=clock.host(f.t + lift)) for f in found)
            except ros.Malformed as e:
                yield f"a message of {self._topic} {e}"

    def _evt3(self, p: ros.Packet, state: NDArray[np.int64]) -> list[Piece | Edges]:
        from capture.evt3 import runs  # numba takes its time to import

        out: list[Piece | Edges] = []
        for r in runs(np.frombuffer(p.data, "<u2", len(p.data) // 2), state):
            if len(r.et):
                ours = self._channel.ours(r.channel)
                out.append(Edges(r.et[ours], r.rising[ours]))
            if len(r.t):
                out.append(Piece(r.t, coordinates(r.x), coordinates(r.y), r.p))
        return out
