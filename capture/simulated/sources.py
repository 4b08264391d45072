"""The two streams of the simulated rig in order of time, played from prepared loops, faults included.

Cameras and `SimulatedRig.items` both read these, so a live run and an offline run give the same items.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from capture.camera import CameraRole
from capture.packets import EventPacket, Events, Frame, FrameClock, TriggerEdges
from capture.simulated.event_sensor import RawEvents, read_out
from capture.simulated.faults import Fault, FaultBook
from capture.simulated.loops import EventLoop, exposure_in_loop
from capture.simulated.presets import SimulatedConfig


def device_ns(config: SimulatedConfig, t_us: float) -> int:
    """What the frame camera's clock shows (ns) at a time on the event clock (µs)."""
    if config.one_sensor:
        return round(t_us * 1000.0)
    return round(config.clock_offset_ms * 1e6) + round(t_us * 1000.0 * (1.0 + config.clock_drift_ppm * 1e-6))


class EventSource:
    """The event stream: packets one after another, each up to the next multiple of `packet_us`.

    Attributes:
        position_us: everything before it was given, or is lost.
        book: the camera's faults.
        packet_us: length of packets from now on.
    """

    def __init__(self, config: SimulatedConfig, loop: EventLoop) -> None:
        self.config, self.loop = config, loop
        self.book = FaultBook.of(config.faults, CameraRole.EVENTS)
        self.packet_us = config.packet_us
        self.position_us = 0
        self._gap = False
        self._dropped = 0
        self._edge = 0
        self._exposures: tuple[tuple[int, SimulatedConfig], ...] = ()  # first frame of each later one
        self._busy_until = -1e300

    def due_us(self) -> int:
        """When the next packet is there, on the event clock."""
        start = self._start()
        self.book.advance(start)
        end = self._end(start)
        return max(end, self.book.held_until_us) if self.book.held_until_us > start else end

    def take(self) -> EventPacket:
        """The next packet."""
        start = self._start()
        if start > self.position_us:
            self.jump(start)
        end = self._end(start)
        edges = self._edges(start, end)  # first: a fault may come between two of them
        self.book.advance(end)
        events, dropped = self._events(start, end)
        packet = EventPacket(events, edges, end, dropped=dropped + self._dropped, gap=self._gap)
        self.position_us, self._gap, self._dropped = end, False, 0
        return packet

    def jump(self, to_us: int) -> None:
        """Go on at a later time; what lies between is lost, counted, and the next packet says so.

        The scene's events are counted; what the read-out would have dropped of them anyway is not.
        """
        if to_us <= self.position_us:
            return
        self._dropped += self._count(to_us) - self._count(self.position_us)
        self._gap = True
        self.position_us = to_us
        self._skip_edges(to_us)

    def begin_at(self, t_us: int, gap: bool) -> None:
        """Start the stream at a time; what was before is not this reader's loss."""
        self.position_us, self._gap, self._dropped = t_us, gap, 0
        self._skip_edges(t_us)

    def _start(self) -> int:
        return self.book.out_of_lost(self.position_us)

    def _end(self, start: int) -> int:
        end = (start // self.packet_us + 1) * self.packet_us
        lost = self.book.next_lost(start)
        return end if lost is None else min(end, lost)

    def _count(self, t_us: int) -> int:
        """Events of the scene from time 0 up to a time."""
        lap, rest = divmod(t_us, self.config.loop_us)
        return int(lap * len(self.loop.t) + np.searchsorted(self.loop.t, np.uint32(rest)))

    def _events(self, start: int, end: int) -> tuple[Events, int]:
        c, loop = self.config, self.loop
        t_parts: list[NDArray[np.int64]] = []
        x, y, p = [], [], []
        dropped, at = 0, start
        while at < end:
            lap = at // c.loop_us
            base = lap * c.loop_us
            until = min(end, base + c.loop_us)
            # A key of the array's own type: another type would convert the whole array first.
            i, j = np.searchsorted(loop.t, np.array([at - base, until - base], np.uint32))
            t_parts.append(loop.t[i:j].astype(np.int64) + base)
            x.append(loop.x[i:j])
            y.append(loop.y[i:j])
            p.append(loop.p[i:j])
            a, b = np.searchsorted(loop.dropped_t, [at - base, until - base])
            dropped += int(b - a)
            at = until
        t = np.concatenate(t_parts) if len(t_parts) > 1 else t_parts[0]
        xs = np.concatenate(x) if len(x) > 1 else x[0]
        ys = np.concatenate(y) if len(y) > 1 else y[0]
        ps = np.concatenate(p) if len(p) > 1 else p[0]
        w, h = c.event_width, c.event_height
        bursts = [b for b in self.book.bursts if b[0] < end and b[1] > start]
        if not bursts:
            return Events(t, xs, ys, ps, w, h), dropped
        return self._with_bursts(RawEvents(t, ys.astype(np.int32) * w + xs, ps), bursts, start, end, dropped)

    def _with_bursts(
        self, raw: RawEvents, bursts: list[tuple[int, int, int]], start: int, end: int, dropped: int
    ) -> tuple[Events, int]:
        c = self.config
        rng = np.random.default_rng([c.seed, 31, start])
        t, pixel, p = [raw.t], [raw.pixel], [raw.p]
        for a, b, n in bursts:
            lo, hi = max(a, start), min(b, end)
            share = round(n * (hi - a) / (b - a)) - round(n * (lo - a) / (b - a))
            t.append(np.sort(rng.integers(lo, hi, share, dtype=np.int64)))
            pixel.append(rng.integers(0, c.event_width * c.event_height, share, dtype=np.int32))
            p.append(rng.random(share) < 0.5)
        all_t = np.concatenate(t)
        order = np.argsort(all_t, kind="stable")
        kept, lost, self._busy_until = read_out(
            RawEvents(all_t[order], np.concatenate(pixel)[order], np.concatenate(p)[order]),
            c.effective_events(), self._busy_until,
        )  # fmt: skip
        # Read after the packet's end: stamped at its end, since the packet promises completeness.
        stamps = np.clip(kept.t, start, end - 1)
        y, x = np.divmod(kept.pixel, np.int32(c.event_width))
        events = Events(
            stamps, x.astype(np.uint16), y.astype(np.uint16), kept.p, c.event_width, c.event_height
        )  # fmt: skip
        return events, dropped + len(lost)

    def _edge_at(self, number: int) -> int:
        """Time of edge `number`: two per frame, rising first, with its own jitter, never out of order."""
        k, falling = divmod(number, 2)
        c = next((c for first, c in self._exposures if k >= first), self.config)
        t = exposure_in_loop(c, k)[falling]
        if c.trigger_jitter_us > 0:
            most = min(5.0 * c.trigger_jitter_us, 0.4 * min(c.exposure_us, c.period_us - c.exposure_us))
            jitter = c.trigger_jitter_us * np.random.default_rng([c.seed, 41, number]).standard_normal()
            t += round(float(np.clip(jitter, -most, most)))
        return t

    def expose(self, exposure_us: int, first: int) -> None:
        """The frame camera exposes so long from frame `first` on: its edges say so. For any thread."""
        self._exposures = (
            (first, self.config.model_copy(update={"exposure_us": exposure_us})),
            *self._exposures,
        )

    def _skip_edges(self, t_us: int) -> None:
        """Go to the first edge at or after a time."""
        self._edge = max(0, 2 * (t_us // self.config.period_us) - 4)
        while self._edge_at(self._edge) < t_us:
            self._edge += 1

    def _edges(self, start: int, end: int) -> TriggerEdges:
        if not self.config.triggers:
            return TriggerEdges.empty()
        times: list[int] = []
        rising: list[bool] = []
        while (t := self._edge_at(self._edge)) < end:
            up = self._edge % 2 == 0
            self._edge += 1
            self.book.advance(t)
            if t >= start and not self.book.take_edge(up):
                times.append(t)
                rising.append(up)
        return TriggerEdges(np.array(times, np.int64), np.array(rising, np.bool_))


class FrameSource:
    """The frame stream: frame after frame, each when its exposure has ended.

    Attributes:
        number: of the next frame; the camera's own counter.
        book: the camera's faults.
        readout_us: from exposure end to arrival, from now on.
    """

    def __init__(self, config: SimulatedConfig, frames: NDArray[np.uint8]) -> None:
        self.config, self.frames = config, frames
        self.book = FaultBook.of(config.faults, CameraRole.FRAMES)
        self.readout_us = config.readout_us
        self.number = 0
        self.lost = 0

    def position_us(self) -> int:
        """End of the exposure of the next frame that the camera makes, whether it will arrive or not."""
        return exposure_in_loop(self.config, self.number)[1]

    def end_us(self) -> int:
        """End of the exposure of the next frame that will arrive, on the event clock."""
        self._pass_over()
        return exposure_in_loop(self.config, self.number)[1]

    def read_us(self) -> int:
        """End of its last row's exposure."""
        return self.end_us() + abs(self.config.rolling_us)

    def due_us(self) -> int:
        """When the next frame is there, on the event clock."""
        end = self.read_us()
        due = end + self.readout_us
        return max(due, self.book.held_until_us) if self.book.held_until_us > end else due

    def take(self) -> Frame:
        """The next frame."""
        self._pass_over()
        c, k = self.config, self.number
        start, end = exposure_in_loop(c, k)
        self.number += 1
        return Frame(
            self.frames[k % len(self.frames)], c.frame_sensor.layout, k, device_ns(c, start), device_ns(c, end),
            FrameClock.EVENT if c.one_sensor else FrameClock.DEVICE,
        )  # fmt: skip

    def jump(self, to_us: int) -> None:
        """Go on with the first frame whose exposure ends after a time; those before are lost."""
        first = max(0, to_us // self.config.period_us - 1)
        while exposure_in_loop(self.config, first)[1] <= to_us:
            first += 1
        if first > self.number:
            self.lost += first - self.number
            self.number = first

    def begin_at(self, t_us: int) -> None:
        """Start the stream at a time; frames before are not this reader's loss."""
        before = self.lost
        self.jump(t_us)
        self.lost = before

    def add(self, fault: Fault, now_us: int) -> None:
        """A fault on request."""
        self.book.add(fault, now_us)

    def _pass_over(self) -> None:
        """Leave out frames that never arrive: asked to drop, or exposed while the camera was away."""
        while True:
            end = exposure_in_loop(self.config, self.number)[1]
            self.book.advance(end)
            if self.book.out_of_lost(end) == end and not self.book.take_frame():
                return
            self.number += 1
            self.lost += 1
