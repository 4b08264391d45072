"""A first estimate of the clock when no wire tells: from when items arrived.

Latency is only ever positive, so the least late arrivals mark the relation (`sync.clock.HostClock`). Live,
and in our own recordings, both streams carry host times; the frames' least latency is then known as well as
the rig states it. In other recordings the order of the items tells: a frame comes after the packet that
reaches its end.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from calibration.time.result import AffineClock
from calibration.time.streams import Streams
from capture.packets import EventPacket, FrameClock, FrameKind
from sync.clock import HostClock
from sync.rig import Clock

ORDER_SLACK_US = 2_000.0


@dataclass(frozen=True, slots=True, eq=False)
class Arrival:
    """The estimate.

    Attributes:
        clock: the relation.
        reach_us: the truth lies within this, surely.
        by: "host" or "order".
        frames, events: the two envelopes, "host" only.
    """

    clock: AffineClock
    reach_us: float
    by: str
    frames: HostClock | None = None
    events: HostClock | None = None

    def latency_ms(self, clock: AffineClock) -> float | None:
        """Least time from the end of an exposure to the frame's arrival, if `clock` is right."""
        if self.frames is None or self.events is None:
            return None
        end_us = clock.event_us(clock.ref_ns)
        return (self.frames.host_ns_of(clock.ref_ns / 1e3) - self.events.host_ns_of(end_us)) / 1e6


def by_arrival(streams: Streams, rig: Clock) -> Arrival | None:
    """The clock from arrivals; None where neither host times nor the order of items say anything."""
    frames, events, order = HostClock(), HostClock(), HostClock()
    ends: list[int] = []
    watermark, longest, last = None, 0, None
    hosted = 0
    for item in streams.items:
        if isinstance(item, EventPacket):
            if last is not None:
                longest = max(longest, item.complete_until_us - last)
            watermark = last = item.complete_until_us
            events.add(item.complete_until_us, item.host_ns)
        elif item.clock is FrameClock.DEVICE and item.kind is FrameKind.SENSOR:
            if item.device_end_ns is None:
                continue
            ends.append(item.device_end_ns)
            frames.add(item.device_end_ns // 1000, item.host_ns)
            hosted += item.host_ns > 0
            if watermark is not None:
                order.add(item.device_end_ns // 1000, watermark * 1000)
    if len(ends) < 2:
        return None
    if hosted >= 2 and frames.ready and events.ready:
        latency = 1e6 * rig.host_latency_ms

        def event_us(device_ns: int) -> float:
            return float(events.source_us_of(round(frames.host_ns_of(device_ns / 1e3) - latency)))

        reach = 1e3 * rig.host_latency_spread_ms + 10_000.0
        return Arrival(_line(event_us, ends), reach, "host", frames, events)
    if not order.ready:
        return None

    def in_order(device_ns: int) -> float:
        return order.host_ns_of(device_ns / 1e3) / 1e3

    return Arrival(_line(in_order, ends), longest + ORDER_SLACK_US, "order")


def _line(event_us: object, ends: list[int]) -> AffineClock:
    at = np.array([min(ends), max(ends)], np.int64)
    assert callable(event_us)
    a, b = float(event_us(int(at[0]))), float(event_us(int(at[1])))
    span = (int(at[1]) - int(at[0])) / 1e3
    drift = 0.0 if span <= 0 else ((b - a) / span - 1.0) * 1e6
    middle = int(at.mean())
    return AffineClock(middle, a + (middle - int(at[0])) / 1e3 * (1 + drift * 1e-6), drift)
