"""When the shutter was open, frame by frame: from stamps, trigger edges, or arrival times, in order of trust.

1. Stamps on the event clock itself (`FrameClock.EVENT`, one sensor gives both): they are the exposure, ±1 µs.
   Edges could not say it better, and on such a camera they usually belong to something else. Where somebody
   else put two cameras' streams on one clock, a calibration may tell by how much they are off (`delay_us`).
2. Trigger edges: `TRIGGER` when both were seen, `CHUNK` where the camera's own stamps stand in for a missing
   one (or both) through the measured clock.
3. Arrival times: `ESTIMATED`, when the rig has no wire or not one edge ever came. In the latter case the frame
   counts as one without its edges, and its picture says so (`AlignedExposure.doubts`).

Arrivals come with two clocks: the events' arrivals relate the event clock to host time, the frames' relate the
frame camera's clock to it. Of a replay those of the recording count: its own are of any pace, and begin anew
with every seek. Where a recording has none, or host time runs at another rate than the stream, the order of the
items says when a frame came.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from capture.packets import EventPacket, Frame, FrameClock, FrameKind
from sync.acquisition import Stamp
from sync.clock import HostClock
from sync.earlier_clock import EarlierClock
from sync.exposure import Exposure, ExposureSource, Refusal
from sync.matching import RESTART_US, Match, TriggerMatcher
from sync.rig import Clock

NO_STAMPS = "carries no"
"""In the detail of a refusal: the frame itself does not tell when it was exposed."""


@dataclass(frozen=True, slots=True)
class NoExposure:
    """Why a frame's exposure is not known and will not be."""

    reason: Refusal
    detail: str


class ExposureFinder:
    """Finds the exposures of one epoch's frames. Frames are asked for in the order in which they were added.

    Args:
        clock: the rig's clock relation.
        earlier: what the finder of the epoch before knew of the frame camera's clock.

    Attributes:
        any_edges: an edge has come.
        edges_expected: a frame has come whose edges should come too.
        frames_matched, frames_unmatched: of those that edges were expected for; also where not one ever came.
    """

    def __init__(self, clock: Clock, earlier: EarlierClock | None = None) -> None:
        self._clock = clock
        self._longer_us = round(clock.longer_us)
        self.matcher = TriggerMatcher(active_high=clock.active_high, delay_us=clock.delay_us, earlier=earlier)
        latency, spread = 1e3 * clock.host_latency_ms, 1e3 * clock.host_latency_spread_ms
        self.matcher.latency_us = max(0.0, latency - spread), latency + spread
        self.event_host, self.frame_host = HostClock(), HostClock()
        self._recorded = HostClock()  # the events' arrivals when they were recorded
        self.any_edges = self.edges_expected = False
        self.frames_matched = self.frames_unmatched = 0
        self.edges_unused = 0
        self._no_edges_come = False
        self._watermark: int | None = None
        self._steps: deque[int] = deque(maxlen=32)  # by which the watermark moved on, µs

    def add_packet(
        self, packet: EventPacket, start_us: int, watermark_us: int, holes_us: Iterable[tuple[int, int]] = ()
    ) -> None:
        """Take a packet's edges and arrival; events are complete from start to watermark, but for the holes."""
        if self._watermark is not None:
            self._steps.append(watermark_us - self._watermark)
        if packet.gap and self._watermark is not None and watermark_us - self._watermark >= RESTART_US:
            # A camera that was away may have begun another count.
            self.event_host.reset("interrupted")
            self._recorded.reset("interrupted")
            self.matcher.forget_arrivals()
        self._watermark = watermark_us
        self.event_host.add(packet.complete_until_us, packet.host_ns)
        self._recorded.add(packet.complete_until_us, packet.recorded_ns)
        if len(packet.triggers):
            if self._clock.relation == "host":
                self.edges_unused += len(packet.triggers)
            else:
                self.any_edges, self._no_edges_come = True, False
                t, rising = packet.triggers.t, packet.triggers.rising
                if self._longer_us:
                    # An end still lies behind its own start and before the next one: no order changes.
                    t = np.where(rising == self._clock.active_high, t, t - self._longer_us)
                self.matcher.add_edges(t, rising)
        self.matcher.covered(start_us, watermark_us - self._longer_us, holes_us)

    @property
    def _event_arrivals(self) -> HostClock:
        """The events' side of the two relations to host time."""
        return self._recorded if self._recorded.ready else self.event_host

    def resets(self) -> dict[str, int]:
        """How often a clock was found anew, by cause."""
        out = dict(self.matcher.resets)
        for clock, whose in ((self._event_arrivals, "events"), (self.frame_host, "frames")):
            out.update({f"{whose}: {cause}": n for cause, n in clock.resets.items()})
        return out

    def uses_edges(self, frame: Frame) -> bool:
        """Edges are expected for this frame."""
        return (
            frame.clock is FrameClock.DEVICE
            and frame.kind is FrameKind.SENSOR
            and self._clock.relation != "host"
            and (frame.exposure_ns or 0) > 0
        )

    def add_frame(self, key: int, frame: Frame) -> None:
        """Take the next frame."""
        if frame.clock is FrameClock.DEVICE and frame.device_end_ns is not None:
            self.frame_host.add(frame.device_end_ns // 1000, frame.arrival_ns)
        if not self.uses_edges(frame):
            return
        self.edges_expected = True
        start, end = frame.device_start_ns or 0, frame.device_end_ns or 0
        arrival, self.matcher.packet_us = self._watermark, float(max(self._steps, default=0))
        events = self._event_arrivals
        if frame.arrival_ns > 0 and events.ready:
            steady = events.steady
            if steady:
                arrival, self.matcher.packet_us = events.source_us_of(frame.arrival_ns), None
            elif steady is None:
                arrival = None  # too early to tell at which rate host time runs
        self.matcher.add_frame(Stamp(key, start, end, frame.sequence, arrival, self._watermark))

    def find(self, key: int, frame: Frame, *, final: bool = False) -> Exposure | NoExposure | None:
        """The frame's exposure, why there is none, or None while that is open."""
        start, end = frame.device_start_ns, frame.device_end_ns
        if frame.kind is FrameKind.ACCUMULATOR:
            return NoExposure(Refusal.ACCUMULATOR, f"frame {frame.sequence} was drawn from events")
        if start is None or end is None:
            missing = "start and end" if start is None and end is None else "start" if start is None else "end"
            detail = f"frame {frame.sequence} {NO_STAMPS} {missing} of exposure"
            return NoExposure(Refusal.NO_EXPOSURE, detail)
        if end <= start:
            return NoExposure(Refusal.ZERO_EXPOSURE, f"frame {frame.sequence} starts and ends at one stamp")
        if frame.clock is FrameClock.EVENT:
            late = self._clock.stamp_delay_us
            a, b = round(start / 1000 + late), round(end / 1000 + late)
            if b <= a:
                return NoExposure(
                    Refusal.ZERO_EXPOSURE, f"frame {frame.sequence} is exposed for {end - start} ns"
                )
            unsure = self._clock.uncertainty_us if self._clock.relation == "same" else None
            return Exposure(a, b, ExposureSource.CHUNK, max(1.0, unsure or 0.0))
        if self._clock.relation == "host":
            return self._estimate(frame)
        if self._no_edges_come:
            return self._without_edges(key, frame)
        m = self.matcher.match(key, final=final)
        if m is not None:
            return self._exposure(m)
        return self.overdue(key, frame, "before the end of the streams", final=True) if final else None

    def overdue(
        self, key: int, frame: Frame, when: str, *, final: bool = False
    ) -> Exposure | NoExposure | None:
        """The answer for a frame that has waited long enough for its edges.

        None when this very frame has shown that the clock must be found anew: then it may wait for that.
        """
        if not self.any_edges:
            self._no_edges_come = True
            return self._without_edges(key, frame)
        if not final and not self.matcher.seen(key):
            self.frames_unmatched += 1
            self.matcher.give_up(key)
            return NoExposure(Refusal.NO_EVENTS_YET, f"frame {frame.sequence}: no events came after it {when}")
        locked = self.matcher.locked
        m = self.matcher.match(key, overdue=True)
        if m is not None:
            return self._exposure(m)
        if locked and not self.matcher.locked:
            return None
        self.frames_unmatched += 1
        self.matcher.give_up(key)
        why = self.matcher.verdict.why
        if not why and self.matcher.locked:
            why = "its edges do not fit the measured clock"
        elif not why:  # found already, and to be found twice more before it is trusted
            why = "the clock between the cameras is just being found, for which frames come too seldom"
        return NoExposure(Refusal.UNMATCHED_TRIGGER, f"frame {frame.sequence}, {when}: {why}")

    def _exposure(self, m: Match) -> Exposure:
        self.frames_matched += m.edges > 0
        self.frames_unmatched += m.edges == 0
        source = ExposureSource.TRIGGER if m.edges == 2 else ExposureSource.CHUNK
        return Exposure(m.start_us, max(m.end_us, m.start_us + 1), source, m.uncertainty_us)

    def _without_edges(self, key: int, frame: Frame) -> Exposure | NoExposure:
        """A wire is said to be there, and nothing has come of it: the estimate does not replace the edges."""
        self.frames_unmatched += 1
        self.matcher.give_up(key)
        return self._estimate(frame)

    def _estimate(self, frame: Frame) -> Exposure | NoExposure:
        """By arrival times: the device's own length, placed by the two lower envelopes."""
        events = self._event_arrivals
        if frame.arrival_ns <= 0 or not events.ready:
            return NoExposure(
                Refusal.NO_EXPOSURE,
                f"frame {frame.sequence}: neither trigger edges nor arrival times relate it to the events",
            )
        start, end = (frame.device_start_ns or 0) / 1e3, (frame.device_end_ns or 0) / 1e3
        # The least late frame arrived the usual latency after its end; the others follow by their stamps.
        earliest = self.frame_host.host_ns_of(end) - round(1e6 * self._clock.host_latency_ms)
        end_us = events.source_us_of(earliest)
        scatter = self.frame_host.uncertainty_us / max(1, self.frame_host.arrivals)
        uncertainty = 1e3 * self._clock.host_latency_spread_ms + 500.0 + scatter
        start_us = min(round(end_us - (end - start)), end_us - 1)
        return Exposure(start_us, end_us, ExposureSource.ESTIMATED, uncertainty)
