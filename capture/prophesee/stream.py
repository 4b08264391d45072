"""An EVT3 byte stream, as it comes off the wire, into event packets on one rising time axis."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from capture import evt_time
from capture.axis import Axis
from capture.evt3 import runs
from capture.packets import EventPacket, Events, Rejected, TriggerEdges

QUIET_US = 20_000
"""A scene without events is told of in such steps."""


def compiled() -> None:
    """Have the decoder compiled now (seconds where that was never done), not when events wait."""
    Evt3Stream("", 16, 16).feed(b"\x00\x00", 0)


class PacketMaker:
    """Arrays of events and edges into packets: the time axis, what is complete, what is refused.

    Args:
        name: of the camera, for its time axis.
        width, height: of the sensor.
    """

    def __init__(self, name: str, width: int, height: int) -> None:
        self.width, self.height = width, height
        self._name = name
        self.axis: Axis | None = None
        self._until: int | None = None
        self._edge_us: int | None = None

    def make(
        self, t: NDArray[Any], x: NDArray[Any], y: NDArray[Any], p: NDArray[Any],
        et: NDArray[np.int64], rising: NDArray[np.bool_], host_ns: int, *, dropped: int = 0, gap: bool = False,
    ) -> EventPacket:  # fmt: skip
        """A packet; times in µs of the device, which count from the camera's start.

        The host's clock at the first event is added to them, so that a camera that was started anew does not
        begin again at 0. By how much, `axis.shift_us` says.
        """
        firsts = [int(a[0]) for a in (t, et) if len(a)]
        shift, jumped = 0, False
        if firsts:
            first, last = min(firsts), max(int(a[-1]) for a in (t, et) if len(a))
            if self.axis is None:
                self.axis = Axis(self._name, host_ns // 1000 - last)
            shift, jumped = self.axis.place("events", first, last, host_ns)
        until = self._until
        t = t.astype(np.int64, copy=False)
        events, bad = Events.sanitised(
            t + shift if shift else t, x, y, p, self.width, self.height, not_before_us=until
        )
        edges = et + shift
        floor = max((v for v in (until, self._edge_us) if v is not None), default=-(2**62))
        keep = (edges >= floor) & (edges >= np.maximum.accumulate(edges) if len(edges) else edges >= floor)
        bad += Rejected(decreasing=int(len(edges) - np.count_nonzero(keep)))
        triggers = TriggerEdges(edges[keep], rising[keep])
        if len(triggers):
            self._edge_us = int(triggers.t[-1])
        # One stream carries both, in order of time: what is behind its newest time has been delivered.
        newest = [int(a[-1]) for a in (events.t, triggers.t) if len(a)]
        if newest:
            self._until = max(newest if until is None else [*newest, until])
        return EventPacket(
            events, triggers, self._until or 0, host_ns, dropped=dropped, gap=gap or jumped, rejected=bad
        )

    def quiet(self, now_us: int, host_ns: int) -> EventPacket | None:
        """A packet without events where the device's time has moved on by `QUIET_US` without one, else None.

        Without it nobody could tell silence from a camera that does not answer. Nothing of before `now_us`
        may come after it.
        """
        axis, until = self.axis, self._until
        if axis is not None and until is not None and now_us + axis.shift_us < until + QUIET_US:
            return None
        if self.axis is None:
            self.axis = Axis(self._name, host_ns // 1000 - now_us)
        shift, jumped = self.axis.place("events", now_us, now_us, host_ns)
        self._until = now_us + shift if until is None else max(now_us + shift, until)
        events = Events.empty(self.width, self.height)
        return EventPacket(events, TriggerEdges.empty(), self._until, host_ns, gap=jumped)


class Evt3Stream:
    """Bytes in, packets out; words and packets may be cut anywhere.

    Args:
        name, width, height: see `PacketMaker`.
        channel: of the trigger input; edges of others are passed over.

    Attributes:
        words: 16-bit words decoded.
    """

    def __init__(self, name: str, width: int, height: int, channel: int = 0) -> None:
        self.maker = PacketMaker(name, width, height)
        self.words = 0
        self._channel = channel
        self._state = evt_time.new_state()
        self._rest = b""

    def feed(self, data: bytes, host_ns: int, *, dropped: int = 0, gap: bool = False) -> list[EventPacket]:
        """Decode what came; `dropped` and `gap` are those of the first packet.

        Where time goes on without events, packets without any say so (`QUIET_US`).
        """
        if self._rest:
            data = self._rest + data
        whole = len(data) & ~1
        self._rest = data[whole:]
        heads = np.frombuffer(data, "<u2", whole // 2)
        self.words += len(heads)
        packets: list[EventPacket] = []
        for r in runs(heads, self._state):
            ours = r.channel == self._channel
            if len(r.t) or len(r.et) or gap or dropped:
                packets.append(
                    self.maker.make(
                        r.t, r.x, r.y, r.p, r.et[ours], r.rising[ours], host_ns, dropped=dropped, gap=gap
                    )
                )
                dropped, gap = 0, False
        if not packets and self._state[evt_time.HIGH] >= 0:
            # Whatever comes behind a high word is not before it.
            silent = self.maker.quiet(int(self._state[evt_time.HIGH]) << 12, host_ns)
            packets = [] if silent is None else [silent]
        return packets

    def faults(self) -> dict[str, int]:
        """What was wrong with the words so far, by kind."""
        s = self._state
        return {
            "unknown_words": int(s[evt_time.UNKNOWN]), "damaged_times": int(s[evt_time.BAD_TIME]),
            "clock_backwards": int(s[evt_time.BACKWARDS]), "untimed": int(s[evt_time.UNTIMED]),
        }  # fmt: skip
