"""Frames and events to aligned exposures: every frame answered once, in order, aligned or refused by name.

Where an exposure comes from is told in `sync.exposing`. A frame waits for what is still to come: its edges,
and events up to the end of its window. The wait is bounded by the streams' own progress (`max_wait_us`) and,
live, by host time (`max_wait_host_s`).

All work is done when an item is pushed; `take` hands over what is ready. So the same items in the same order
give the same outputs, however often `take` is called (only the host time limit depends on the caller's clock).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from capture.errors import InvalidPacket
from capture.packets import EventPacket, Frame, FrameClock, FrameKind
from sync.earlier_clock import EarlierClock
from sync.exposing import ExposureFinder, NoExposure
from sync.exposure import AlignedExposure, Exposure, Refusal, RefusedExposure, SyncCounters
from sync.matching import KEPT_HOLES
from sync.rig import Rig
from sync.rolling import as_if_global, delays_of, longest_delay_us
from sync.windows import EventStore

Outcome = AlignedExposure | RefusedExposure

LIVE_WAIT_US = 250_000
"""For `max_wait_us` where what is late for so long will hardly come."""
OFFLINE_WAIT_US = 2_000_000
"""For `max_wait_us` where what is late is there all the same: a recording keeps its items in the order in which
they were written, and a machine that was short of breath wrote one camera's long after the other's."""

# The stream's true beginning is unknown within the time to its first event.
EDGE_SLACK_US = 1_000
# While the edges are not yet matched, frames wait longer: it happens once, and more frames make it surer.
ACQUIRE_WAIT_US = 600_000
# At a low rate so many frames take longer; but no longer than events are kept.
ACQUIRE_FRAMES, ACQUIRE_LONGEST_US = 6, 3_000_000
# More than this share of an exposure outside of the stream is not restored.
OUTSIDE_SHARE = 0.1
# Before an answered exposure: margins may be set wider, and a fitted clock moves a little.
KEPT_BEHIND_US = 500_000


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
        how: what resolved which edge is whose: "pattern", "arrival", "start-up", "as before" a jump of the time
            axis, "" when not locked.
        odds: that many to one against another match of frames and edges.
        drift_ppm, residual_us: of the clock fit, 0 when there is none.
        resets: how often a clock was found anew, by cause.
        why: one line, while edges are expected of the frames and not locked.
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
        self, rig: Rig, *, margin_before_us: int = 0, margin_after_us: int = 0, max_wait_us: int = LIVE_WAIT_US,
        max_wait_host_s: float = 1.0, retain_us: int = 4_000_000, retain_bytes: int = 512 * 2**20,
    ) -> None:  # fmt: skip
        self.rig = rig
        self.counters = SyncCounters()
        self._max_wait_us, self._max_wait_ns = max_wait_us, int(max_wait_host_s * 1e9)
        self._store = EventStore(
            rig.events.width, rig.events.height, retain_us=retain_us, retain_bytes=retain_bytes
        )
        self._delays, self._longest_delay = delays_of(rig), longest_delay_us(rig)
        self.set_margins(margin_before_us, margin_after_us)
        self._out: list[Outcome] = []
        self._epoch = 0
        self._last_exposure: Exposure | None = None
        self._resets: dict[str, int] = {}
        self._done = [0, 0, 0, 0]  # edges and frames matched and unmatched in earlier epochs
        self._begin()

    def _begin(self, earlier: EarlierClock | None = None) -> None:
        """The state of one epoch; `earlier`: the clock as the last one knew it."""
        self._queue: deque[_Waiting] = deque()
        self._ordinal = 0
        self._last_sequence: int | None = None
        self._newest_frame_us: int | None = None
        self._finder = ExposureFinder(self.rig.clock, earlier)
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
        out_of_order = self._store.out_of_order_events
        self._store.push(packet)
        c.events_rejected += self._store.out_of_order_events - out_of_order
        mark, start = self._store.complete_until_us, self._store.start_us
        assert mark is not None
        assert start is not None
        self._finder.add_packet(packet, start, mark, self._store.losses(KEPT_HOLES))
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
        self._finder.add_frame(w.ordinal, frame)
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
            self._retire()
            self._epoch = epoch
            self._begin(self._finder.matcher.known_clock)
            self._count()
        return True

    def _retire(self) -> None:
        """Carry the finished epoch's figures over."""
        f = self._finder
        self._done[0] += f.matcher.edges_matched
        self._done[1] += f.matcher.edges_unmatched + f.matcher.edges_held + f.edges_unused
        self._done[2] += f.frames_matched
        self._done[3] += f.frames_unmatched
        for cause, n in f.resets().items():
            self._resets[cause] = self._resets.get(cause, 0) + n

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

    def outcomes(self, items: Iterable[EventPacket | Frame]) -> Iterator[Outcome]:
        """Both streams from here to their end, offline: what comes out of them, as soon as it is ready."""
        for item in items:
            if isinstance(item, EventPacket):
                self.push_events(item)
            else:
                self.push_frame(item)
            yield from self.take()
        yield from self.finish()

    def finish(self) -> list[Outcome]:
        """End of both streams: all that waits is aligned with what there is, or refused."""
        self._advance(final=True)
        return self.take()

    def _expire(self, now_ns: int) -> None:
        for w in self._queue:
            w.seen_ns = now_ns if w.seen_ns is None else w.seen_ns
        while self._queue:
            head = self._queue[0]
            waited = now_ns - (head.seen_ns or now_ns)
            if waited <= self._max_wait_ns:
                return
            if not self._overdue(head, f"after {waited / 1e9:.2f} s"):
                return
            self._advance()

    def _advance(self, *, final: bool = False) -> None:
        """Answer frames from the front as far as possible."""
        while self._queue:
            head = self._queue[0]
            if not self.rig.has_events:
                self._answer_without_events(head)
            elif head.exposure is None:
                found = self._finder.find(head.ordinal, head.frame, final=final)
                if found is not None:
                    self._settle(head, found)
                elif not self._waited_for_edges(head) or not self._overdue(
                    head, f"in {self._max_wait_us / 1e3:.0f} ms or more of data"
                ):
                    break
            elif not self._align(head, final):
                break
        self._count()

    def _answer_without_events(self, w: _Waiting) -> None:
        """A frame of a rig that has no event camera: nothing to wait for."""
        found: Exposure | NoExposure | None = None
        # On any other clock it would be related to events that do not exist.
        if w.frame.clock is FrameClock.EVENT or w.frame.kind is FrameKind.ACCUMULATOR:
            found = self._finder.find(w.ordinal, w.frame)
        if isinstance(found, NoExposure):
            self._refuse(w, found.reason, found.detail)
            return
        if found is not None:
            self._settle(w, found)
        self._refuse(w, Refusal.NO_EVENT_STREAM, "the source has frames only")

    def _settle(self, w: _Waiting, found: Exposure | NoExposure) -> None:
        """Note a frame's exposure, or refuse it."""
        if isinstance(found, NoExposure):
            self._refuse(w, found.reason, found.detail)
        else:
            w.exposure = self._last_exposure = found

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
        # With a rolling shutter the last row's exposure ends later; windows are told in the first row's time.
        late = self._longest_delay
        begin, end, last = x.start_us - self._before, x.end_us + self._after, x.end_us + late
        if mark < end + late and not final:
            if not self._frames_ran_on(w, self._after + late):
                return False
            if mark < last:
                self._refuse(
                    w, Refusal.NO_EVENTS_YET,
                    f"events are complete until {mark} µs, the exposure ends at {last} µs",
                )  # fmt: skip
                return True
        first = mark if store.start_us is None else store.start_us
        outside = max(0, min(first, last) - x.start_us) + max(0, last - max(mark, x.start_us))
        if outside > max(EDGE_SLACK_US, OUTSIDE_SHARE * x.duration_us) or outside >= x.duration_us:
            self._refuse(
                w, Refusal.OUTSIDE_STREAM, f"exposure {x.start_us} to {last} µs, events {first} to {mark} µs"
            )
            return True
        begin, end = max(begin, min(first, x.start_us)), min(end, max(mark - late, x.end_us))
        events = store.cut(begin, end + late)
        if self._delays is not None:
            events = as_if_global(events, self._delays, begin, end)
        gap, inside = store.gap_in(begin, end + late), store.gap_in(x.start_us, last)
        if inside is not None and not len(events.between(x.start_us, x.end_us)):
            self._refuse(w, Refusal.EVENT_GAP, f"{inside.cause} from {inside.start_us} to {inside.end_us} µs")
            return True
        covered = outside <= EDGE_SLACK_US
        aligned = AlignedExposure(
            w.frame, x, events, begin, end, self.rig, w.ordinal, complete=gap is None and covered,
            margins_only=gap is not None and covered and inside is None,
        )  # fmt: skip
        self._out.append(aligned)
        self.counters.aligned += 1
        self._queue.popleft()
        # No later frame asks for what came before; live, that is most of what the store would hold.
        store.release_before(x.start_us - max(self._before, KEPT_BEHIND_US))
        return True

    # -- waits and refusals ----------------------------------------------------------------------------------

    def _frames_ran_on(self, w: _Waiting, extra_us: int) -> bool:
        """Frames have come whose time lies further ahead than events may lag."""
        if self._newest_frame_us is None or w.clock_us is None:
            return False
        return self._newest_frame_us - w.clock_us > self._max_wait_us + extra_us

    def _waited_for_edges(self, w: _Waiting) -> bool:
        mark, extra = self._store.complete_until_us, 0
        if self._finder.any_edges and not self._finder.matcher.locked:
            wait_us = min(ACQUIRE_FRAMES * self._finder.matcher.period_us(), ACQUIRE_LONGEST_US)
            extra = max(0, round(max(wait_us, ACQUIRE_WAIT_US)) - self._max_wait_us)
        if mark is not None and w.since_us is not None:
            went_on = mark - w.since_us - self._store.missing_us(w.since_us, mark)
            if went_on > self._max_wait_us + extra:
                return True
        return self._frames_ran_on(w, extra)

    def _overdue(self, w: _Waiting, when: str) -> bool:
        """The wait is over: refuse by what is missing, or take the next best exposure; False: wait on."""
        if self._store.complete_until_us is None:
            self._refuse(w, Refusal.NO_EVENT_STREAM, f"not one event packet has come {when}")
        elif w.exposure is not None:
            self._refuse(w, Refusal.NO_EVENTS_YET, f"events up to {w.exposure.end_us} µs did not come {when}")
        else:
            found = self._finder.overdue(w.ordinal, w.frame, when)
            if found is None:
                return False
            self._settle(w, found)
        return True

    def _refuse(self, w: _Waiting, reason: Refusal, detail: str) -> None:
        self._out.append(RefusedExposure(w.frame, reason, detail, w.ordinal, w.exposure, at_us=_came_at_us(w)))
        self.counters.refused[reason.name] = self.counters.refused.get(reason.name, 0) + 1
        self._finder.matcher.give_up(w.ordinal)
        self._queue.popleft()

    def _count(self) -> None:
        c, f, done = self.counters, self._finder, self._done
        c.waiting = len(self._queue)
        c.edges_matched = done[0] + f.matcher.edges_matched
        c.edges_unmatched = done[1] + f.matcher.edges_unmatched + f.edges_unused
        c.frames_matched = done[2] + f.frames_matched
        c.frames_unmatched = done[3] + f.frames_unmatched

    # -- how it stands ---------------------------------------------------------------------------------------

    def host_ns_of(self, event_us: int) -> int | None:
        """Host time (`time.monotonic_ns`) of an event time as best known; None without arrival times."""
        clock = self._finder.event_host
        return clock.host_ns_of(event_us) if clock.ready else None

    @property
    def held_bytes(self) -> int:
        """Bytes of the events that are kept for frames to come."""
        return self._store.nbytes

    @property
    def status(self) -> SyncStatus:
        """See `SyncStatus`."""
        m, x = self._finder.matcher, self._last_exposure
        resets = dict(self._resets)
        for cause, n in self._finder.resets().items():
            resets[cause] = resets.get(cause, 0) + n
        return SyncStatus(
            source=x.source.value if x else "",
            uncertainty_us=x.uncertainty_us if x else 0.0,
            locked=m.locked,
            how=m.verdict.how if m.locked else "",
            odds=math.exp(min(m.verdict.margin, 27.0)) if m.locked else 0.0,
            drift_ppm=m.fit.drift_ppm if m.locked else 0.0,
            residual_us=m.fit.residual_us if m.locked else 0.0,
            resets=tuple(sorted(resets.items())),
            why=m.verdict.why if self._finder.edges_expected and not m.locked else "",
        )


def _came_at_us(w: _Waiting) -> int:
    """When a frame came, see `RefusedExposure.at_us`."""
    if w.exposure is not None:
        return w.exposure.end_us
    f = w.frame
    stamped = f.clock is FrameClock.EVENT and (f.device_end_ns is not None or f.device_start_ns is not None)
    if not stamped and w.since_us is not None:
        return w.since_us
    return w.clock_us or 0


def _stamped(o: Outcome, now_ns: int) -> Outcome:
    """The same with the host time at which it left."""
    if isinstance(o, AlignedExposure):
        return replace(o, ready_ns=now_ns)
    return replace(o, ready_ns=now_ns)
