"""Frames and events to aligned exposures: every frame answered once, in order, aligned or refused by name.

Where an exposure comes from, in falling order of trust:

1. stamps on the event clock itself (`FrameClock.EVENT`, one sensor gives both): they are the exposure, ±1 µs;
   edges could not say it better, and on such a camera they usually belong to something else;
2. trigger edges (`TRIGGER`; `CHUNK` where one or both edges of a frame are missing and the camera's own stamps
   stand in through the measured clock);
3. arrival times (`ESTIMATED`), when the rig has no wire or not one edge ever came.

A frame waits for what is still to come: its edges, and events up to the end of its window. The wait is bounded
by the streams' own progress (`max_wait_us`) and, live, by host time (`max_wait_host_s`).

All work is done when an item is pushed; `take` hands over what is ready. So the same items in the same order
give the same outputs, however often `take` is called (only the host time limit depends on the caller's clock).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace

from capture.errors import InvalidPacket
from capture.packets import EventPacket, Frame, FrameClock, FrameKind
from sync.acquisition import Stamp
from sync.clock import HostClock
from sync.exposure import (
    AlignedExposure,
    Exposure,
    ExposureSource,
    Refusal,
    RefusedExposure,
    SyncCounters,
)
from sync.matching import Match, TriggerMatcher
from sync.rig import Rig
from sync.windows import EventStore

Outcome = AlignedExposure | RefusedExposure

# The stream's true beginning is unknown within the time to its first event.
EDGE_SLACK_US = 1_000
# While the edges are not yet matched, frames wait longer: it happens once, and more frames make it surer.
ACQUIRE_WAIT_US = 600_000
# More than this share of an exposure outside of the stream is not restored.
OUTSIDE_SHARE = 0.1


@dataclass(slots=True)
class _Waiting:
    """A frame that has no answer yet."""

    frame: Frame
    ordinal: int
    clock_us: int | None  # its end on whatever clock it has, to see the frame stream's progress
    since_us: int | None  # the events' watermark when it came
    exposure: Exposure | None = None
    seen_ns: int | None = None  # host time of the first `take` that found it


@dataclass(frozen=True, slots=True)
class SyncStatus:
    """How the clocks stand, for a status strip or a report.

    Attributes:
        source: where the newest exposure came from, "" before the first.
        uncertainty_us: of it.
        locked: the frame camera's clock is known through its edges.
        how: what resolved which edge is whose: "pattern", "arrival", "start-up", "" when not locked.
        odds: that many to one against another match of frames and edges.
        drift_ppm, residual_us: of the clock fit, 0 when there is none.
        resets: how often a clock was found anew, by cause.
        why: one line, while edges are there and not locked.
    """

    source: str = ""
    uncertainty_us: float = 0.0
    locked: bool = False
    how: str = ""
    odds: float = 0.0
    drift_ppm: float = 0.0
    residual_us: float = 0.0
    resets: tuple[tuple[str, int], ...] = ()
    why: str = ""


class Synchroniser:
    """Puts both streams together. Not thread-safe; knows no wall clock of its own.

    Args:
        rig: geometry for the outputs, clock relation for matching.
        margin_before_us, margin_after_us: events wanted around each exposure.
        max_wait_us: how far a stream may run on, in its own time, before a waiting frame is refused.
        max_wait_host_s: how long a frame may wait by host time (only when `take` is told the time).
        retain_us, retain_bytes: bounds of the event store.
    """

    def __init__(
        self, rig: Rig, *, margin_before_us: int = 0, margin_after_us: int = 0, max_wait_us: int = 250_000,
        max_wait_host_s: float = 1.0, retain_us: int = 4_000_000, retain_bytes: int = 512 * 2**20,
    ) -> None:  # fmt: skip
        self.rig = rig
        self.counters = SyncCounters()
        self._max_wait_us, self._max_wait_ns = max_wait_us, int(max_wait_host_s * 1e9)
        self._store = EventStore(
            rig.events.width, rig.events.height, retain_us=retain_us, retain_bytes=retain_bytes
        )
        self.set_margins(margin_before_us, margin_after_us)
        self._out: list[Outcome] = []
        self._epoch = 0
        self._last_source: Exposure | None = None
        self._resets: dict[str, int] = {}
        self._edges_done = [0, 0]  # matched, unmatched in earlier epochs
        self._begin()

    def _begin(self) -> None:
        """The state of one epoch."""
        self._queue: deque[_Waiting] = deque()
        self._ordinal = 0
        self._last_sequence: int | None = None
        self._newest_frame_us: int | None = None
        self._any_edges = self._gave_up_on_edges = False
        self._steps: deque[int] = deque(maxlen=32)  # by which the watermark moved on, µs
        self._event_host, self._frame_host = HostClock(), HostClock()
        clock = self.rig.clock
        self._matcher = TriggerMatcher(active_high=clock.active_high, delay_us=clock.delay_us)
        self._store.clear()

    # -- what comes in ---------------------------------------------------------------------------------------

    def set_margins(self, before_us: int, after_us: int) -> None:
        """Events wanted before the start and after the end of each exposure from now on."""
        if before_us < 0 or after_us < 0:
            raise ValueError(f"margins {before_us}, {after_us} µs must not be negative")
        self._before, self._after = int(before_us), int(after_us)

    def push_events(self, packet: EventPacket) -> None:
        """Take the next packet of the event camera.

        Raises:
            InvalidPacket: the packet is of another sensor size than the rig says.
        """
        e, want = packet.events, self.rig.events
        if (e.width, e.height) != (want.width, want.height):
            raise InvalidPacket(
                f"events of a {e.width}×{e.height} sensor, but the rig {self.rig.name!r} says "
                f"{want.width}×{want.height}; use the rig file of these cameras"
            )
        c = self.counters
        c.events_in += len(e)
        c.edges_in += len(packet.triggers)
        c.events_dropped_upstream += packet.dropped
        c.events_rejected += packet.rejected.total
        if not self._enter(packet.epoch):
            c.edges_unmatched += len(packet.triggers)
            return
        before = self._store.complete_until_us
        out_of_order = self._store.out_of_order_events
        self._store.push(packet)
        c.events_rejected += self._store.out_of_order_events - out_of_order
        self._event_host.add(packet.complete_until_us, packet.host_ns)
        if len(packet.triggers):
            self._any_edges = True
            self._gave_up_on_edges = False
            if self.rig.clock.relation == "host":
                self._edges_done[1] += len(packet.triggers)
            else:
                self._matcher.add_edges(packet.triggers.t, packet.triggers.rising)
        assert self._store.complete_until_us is not None
        if before is not None:
            self._steps.append(self._store.complete_until_us - before)
        start = self._store.start_us if self._store.start_us is not None else packet.complete_until_us
        self._matcher.covered(start, self._store.complete_until_us)
        for w in self._queue:
            if w.since_us is None:
                w.since_us = self._store.complete_until_us
        self._advance()

    def push_frame(self, frame: Frame) -> None:
        """Take the next frame.

        Raises:
            InvalidPacket: the frame is of another size than the rig says.
        """
        want = self.rig.image
        if (frame.width, frame.height) != (want.width, want.height):
            raise InvalidPacket(
                f"a frame of {frame.width}×{frame.height}, but the rig {self.rig.name!r} says "
                f"{want.width}×{want.height}; use the rig file of these cameras"
            )
        self.counters.frames_in += 1
        if not self._enter(frame.epoch):
            self.counters.superseded += 1
            return
        if self._last_sequence is not None and frame.sequence > self._last_sequence + 1:
            self.counters.frames_missing += frame.sequence - self._last_sequence - 1
        self._last_sequence = frame.sequence
        stamp_ns = frame.device_end_ns if frame.device_end_ns is not None else frame.device_start_ns
        clock_us = stamp_ns // 1000 if stamp_ns is not None else frame.host_ns // 1000 or None
        w = _Waiting(frame, self._ordinal, clock_us, self._store.complete_until_us)
        self._ordinal += 1
        self._newest_frame_us = clock_us
        if frame.device_end_ns is not None and frame.clock is FrameClock.DEVICE:
            self._frame_host.add(frame.device_end_ns // 1000, frame.host_ns)
        if self._uses_edges(frame):
            start_ns, end_ns = frame.device_start_ns or 0, frame.device_end_ns or 0
            self._matcher.latency_us = 1.5e3 * self.rig.clock.host_latency_ms
            self._matcher.packet_us = None if frame.host_ns > 0 else max(self._steps, default=0)
            arrival = self._arrival(frame)
            self._matcher.add_frame(Stamp(w.ordinal, start_ns, end_ns, frame.sequence, arrival))
        self._queue.append(w)
        self._advance()

    def events_lost(self, packets: int) -> None:
        """The reader of the event ring was lapped: packets are missing before the next one."""
        if packets > 0:
            self._store.mark_lost()

    def frames_lost(self, frames: int) -> None:
        """The reader of the frame ring was lapped."""
        self.counters.frames_lapped += max(0, frames)

    def _enter(self, epoch: int) -> bool:
        """Whether an item of this epoch belongs to now; a newer one ends what was."""
        if epoch < self._epoch:
            return False
        if epoch > self._epoch:
            self.counters.superseded += len(self._queue)
            self._retire_matcher()
            self._epoch = epoch
            self._begin()
            self._count()
        return True

    def _retire_matcher(self) -> None:
        m = self._matcher
        self._edges_done[0] += m.edges_matched
        self._edges_done[1] += m.edges_unmatched + m.edges_held
        for cause, n in [*m.resets.items(), *m.fit.resets.items()]:
            self._resets[cause] = self._resets.get(cause, 0) + n

    def _uses_edges(self, frame: Frame) -> bool:
        return (
            frame.clock is FrameClock.DEVICE and frame.kind is FrameKind.SENSOR
            and self.rig.clock.relation != "host" and (frame.exposure_ns or 0) > 0
        )  # fmt: skip

    def _arrival(self, frame: Frame) -> int | None:
        """When a frame arrived, on the event clock: by host times, or by its place among the packets."""
        if frame.host_ns > 0 and self._event_host.ready:
            return self._event_host.source_us_of(frame.host_ns)
        return self._store.complete_until_us

    # -- what goes out ---------------------------------------------------------------------------------------

    def take(self, now_ns: int | None = None) -> list[Outcome]:
        """Everything that is ready, in order of ordinal.

        Args:
            now_ns: `time.monotonic_ns`, live; frames that waited too long by host time are refused. None
                offline: waits are bounded by the streams' own progress only.
        """
        if now_ns is not None:
            self._expire(now_ns)
        out, self._out = self._out, []
        return out if now_ns is None else [_stamped(o, now_ns) for o in out]

    def finish(self) -> list[Outcome]:
        """End of both streams: all that waits is aligned with what there is, or refused."""
        self._advance(final=True)
        return self.take()

    def _expire(self, now_ns: int) -> None:
        while self._queue:
            head = self._queue[0]
            if head.seen_ns is None:
                for w in self._queue:
                    w.seen_ns = now_ns if w.seen_ns is None else w.seen_ns
                return
            if now_ns - head.seen_ns <= self._max_wait_ns:
                return
            self._overdue(head, f"after {(now_ns - head.seen_ns) / 1e9:.2f} s")
            self._advance()

    def _advance(self, *, final: bool = False) -> None:
        """Answer frames from the front as far as possible."""
        while self._queue:
            head = self._queue[0]
            if head.exposure is None and not self._find_exposure(head, final):
                if not self._waited_for_edges(head):
                    break
                self._overdue(head, f"in {self._max_wait_us / 1e3:.0f} ms or more of data")
                continue
            if self._queue and self._queue[0] is head and not self._align(head, final):
                break
        self._count()

    def _find_exposure(self, w: _Waiting, final: bool) -> bool:
        """Determine the exposure or refuse the frame; False while that is open."""
        f = w.frame
        if f.kind is FrameKind.ACCUMULATOR:
            self._refuse(w, Refusal.ACCUMULATOR, f"frame {f.sequence} was drawn from events")
            return True
        if f.device_start_ns is None or f.device_end_ns is None:
            self._refuse(w, Refusal.NO_EXPOSURE, f"frame {f.sequence} carries no start and end of exposure")
            return True
        if f.device_end_ns <= f.device_start_ns:
            self._refuse(w, Refusal.ZERO_EXPOSURE, f"frame {f.sequence} starts and ends at one stamp")
            return True
        if f.clock is FrameClock.EVENT:
            start, end = round(f.device_start_ns / 1000), round(f.device_end_ns / 1000)
            self._settle(w, start, end, ExposureSource.CHUNK, 1.0)
            return True
        if self.rig.clock.relation == "host" or self._gave_up_on_edges:
            if self.rig.clock.relation != "host":
                self._matcher.give_up(w.ordinal)
            self._estimate(w)
            return True
        m = self._matcher.match(w.ordinal, final=final)
        if m is not None:
            self._take_match(w, m)
            return True
        if final:
            self._overdue(w, "before the end of the streams")
            return True
        return False

    def _take_match(self, w: _Waiting, m: Match) -> None:
        source = ExposureSource.TRIGGER if m.edges == 2 else ExposureSource.CHUNK
        self.counters.frames_matched += m.edges > 0
        self.counters.frames_unmatched += m.edges == 0
        self._settle(w, m.start_us, m.end_us, source, m.uncertainty_us)

    def _settle(self, w: _Waiting, start: int, end: int, source: ExposureSource, uncertainty: float) -> None:
        if end <= start:
            self._refuse(w, Refusal.ZERO_EXPOSURE, f"frame {w.frame.sequence} is exposed for less than 1 µs")
            return
        w.exposure = self._last_source = Exposure(start, end, source, uncertainty)

    def _estimate(self, w: _Waiting) -> None:
        """Exposure by arrival times: the device's own length, placed by the two lower envelopes."""
        f = w.frame
        start_ns, end_ns = f.device_start_ns or 0, f.device_end_ns or 0
        if f.host_ns <= 0 or not self._event_host.ready:
            self._refuse(
                w, Refusal.NO_EXPOSURE,
                f"frame {f.sequence}: no trigger edges and no arrival times relate its clock to the events",
            )  # fmt: skip
            return
        latency_ms = self.rig.clock.host_latency_ms
        arrived_ns = self._frame_host.host_ns_of(end_ns / 1000)
        end = self._event_host.source_us_of(arrived_ns - round(latency_ms * 1e6))
        length = (end_ns - start_ns) / 1000
        # The latency itself is unknown within about its own size.
        spread = self._frame_host.uncertainty_us / max(1.0, self._frame_host.arrivals**0.5)
        uncertainty = 500.0 + 1e3 * latency_ms + spread
        self._settle(w, round(end - length), end, ExposureSource.ESTIMATED, uncertainty)

    def _align(self, w: _Waiting, final: bool) -> bool:
        """Cut the window, or refuse; False while events are still to come."""
        x, store = w.exposure, self._store
        assert x is not None
        mark = store.complete_until_us
        if mark is None:
            if final or self._frames_ran_on(w, 0):
                self._refuse(w, Refusal.NO_EVENT_STREAM, "not one event packet has come")
                return True
            return False
        begin, end = x.start_us - self._before, x.end_us + self._after
        if mark < end and not final:
            if not self._frames_ran_on(w, self._after):
                return False
            if mark < x.end_us:
                self._refuse(
                    w, Refusal.NO_EVENTS_YET,
                    f"events are complete until {mark} µs, the exposure ends at {x.end_us} µs",
                )  # fmt: skip
                return True
        first = mark if store.start_us is None else store.start_us
        outside = max(0, min(first, x.end_us) - x.start_us) + max(0, x.end_us - max(mark, x.start_us))
        if outside > max(EDGE_SLACK_US, OUTSIDE_SHARE * x.duration_us) or outside >= x.duration_us:
            self._refuse(
                w, Refusal.OUTSIDE_STREAM,
                f"exposure {x.start_us} to {x.end_us} µs, events {first} to {mark} µs",
            )  # fmt: skip
            return True
        begin, end = max(begin, min(first, x.start_us)), min(end, max(mark, x.end_us))
        events = store.cut(begin, end)
        gap = store.gap_in(begin, end)
        if (
            gap is not None
            and gap.touches(x.start_us, x.end_us)
            and not len(events.between(x.start_us, x.end_us))
        ):
            self._refuse(w, Refusal.EVENT_GAP, f"{gap.cause} from {gap.start_us} to {gap.end_us} µs")
            return True
        complete = gap is None and outside <= EDGE_SLACK_US
        self._out.append(AlignedExposure(w.frame, x, events, begin, end, self.rig, w.ordinal, complete))
        self.counters.aligned += 1
        self._queue.popleft()
        return True

    # -- waits and refusals ----------------------------------------------------------------------------------

    def _frames_ran_on(self, w: _Waiting, extra_us: int) -> bool:
        """Frames have come whose time lies further ahead than events may lag."""
        if self._newest_frame_us is None or w.clock_us is None:
            return False
        return self._newest_frame_us - w.clock_us > self._max_wait_us + extra_us

    def _waited_for_edges(self, w: _Waiting) -> bool:
        mark, extra = self._store.complete_until_us, 0
        if self._any_edges and not self._matcher.locked:
            extra = max(0, ACQUIRE_WAIT_US - self._max_wait_us)
        if mark is not None and w.since_us is not None and mark - w.since_us > self._max_wait_us + extra:
            return True
        return self._frames_ran_on(w, extra)

    def _overdue(self, w: _Waiting, when: str) -> None:
        """The wait is over: refuse by what was missing, or estimate where no edge ever came."""
        if self._store.complete_until_us is None:
            self._refuse(w, Refusal.NO_EVENT_STREAM, f"not one event packet has come {when}")
        elif w.exposure is not None:
            self._refuse(w, Refusal.NO_EVENTS_YET, f"events up to {w.exposure.end_us} µs did not come {when}")
        elif self._any_edges:
            m = self._matcher.match(w.ordinal, overdue=True)
            if m is not None:
                self._take_match(w, m)
                return
            why = self._matcher.verdict.why or "its edges do not fit the measured clock"
            self.counters.frames_unmatched += 1
            self._refuse(w, Refusal.UNMATCHED_TRIGGER, f"{when}: {why}")
        else:
            self._gave_up_on_edges = True
            self._find_exposure(w, False)

    def _refuse(self, w: _Waiting, reason: Refusal, detail: str) -> None:
        self._out.append(RefusedExposure(w.frame, reason, detail, w.ordinal, w.exposure))
        self.counters.refused[reason.name] = self.counters.refused.get(reason.name, 0) + 1
        if self._uses_edges(w.frame):
            self._matcher.give_up(w.ordinal)
        self._queue.popleft()

    def _count(self) -> None:
        c, m = self.counters, self._matcher
        c.waiting = len(self._queue)
        c.edges_matched = self._edges_done[0] + m.edges_matched
        c.edges_unmatched = self._edges_done[1] + m.edges_unmatched

    # -- how it stands ---------------------------------------------------------------------------------------

    def host_ns_of(self, event_us: int) -> int | None:
        """Host time (`time.monotonic_ns`) of an event time as best known; None without arrival times."""
        return self._event_host.host_ns_of(event_us) if self._event_host.ready else None

    @property
    def status(self) -> SyncStatus:
        """See `SyncStatus`."""
        m, x = self._matcher, self._last_source
        resets = dict(self._resets)
        for cause, n in [*m.resets.items(), *m.fit.resets.items()]:
            resets[cause] = resets.get(cause, 0) + n
        return SyncStatus(
            source=x.source.value if x else "", uncertainty_us=x.uncertainty_us if x else 0.0,
            locked=m.locked, how=m.verdict.how if m.locked else "",
            odds=min(1e12, 2.718281828 ** min(m.verdict.margin, 27.0)) if m.locked else 0.0,
            drift_ppm=m.fit.drift_ppm if m.locked else 0.0,
            residual_us=m.fit.residual_us if m.locked else 0.0,
            resets=tuple(sorted(resets.items())), why="" if m.locked else m.verdict.why,
        )  # fmt: skip


def _stamped(o: Outcome, now_ns: int) -> Outcome:
    """The same with the host time at which it left."""
    if isinstance(o, AlignedExposure):
        return replace(o, ready_ns=now_ns)
    return replace(o, ready_ns=now_ns)
