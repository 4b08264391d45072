"""Trigger edges with frames, one to one: by order, count and duration.

The rising and the falling edge of the exposure signal are two separate lines of points in time. A frame is
matched with the point that lies where its own stamp, taken through the measured clock, says that it must lie.
So a missed, an extra or a bouncing edge concerns its own frame only and nothing that follows.

Before the clock is known, `sync.acquisition` finds it from the pattern. Afterwards every match refines it
(`ClockFit`), and every frame that finds no edge where others stand nearby calls it into question: such a frame
waits until a later one confirms the clock, or until several in a row have failed, whereupon the clock is found
anew.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sync.acquisition import CLOCK_SLACK_US, DECISION, Evidence, Stamp, Verdict, acquire
from sync.clock import ClockFit
from sync.earlier_clock import WELL_KNOWN, EarlierClock, tolerance_us
from sync.edges import EdgeLine

RETAIN_US = 4_000_000  # edges without a frame, while the clock is not known
RETAIN_FRAMES, RETAIN_LONGEST_US = 8, 60_000_000  # at a low rate those of so many frames, which tell it
STABLE_FRAMES = 2
MATURE = 5
LOST_AFTER = 3  # frames that miss while edges stand nearby
OVERLAP_NS = 200_000  # of neighbouring exposures, by rounding and by row-wise read-out
SEEN_US = 100_000  # events that came after a frame; not before are its edges missed
RESTART_US = 300_000  # a longer interruption of the events: their clock may be another one after it
KEPT_HOLES = 64
LEARNED_US = 4_000.0  # by which the least latency may change from one stretch to the next
LEARNED_FROM = 16  # frames


@dataclass(frozen=True, slots=True)
class Match:
    """The exposure of one frame as the edges, or the clock measured from them, tell it.

    Attributes:
        start_us, end_us: event clock.
        edges: how many of the two were seen (2, 1 or 0; what was not seen comes from the frame's own stamps).
        uncertainty_us: about 95 %.
    """

    start_us: int
    end_us: int
    edges: int
    uncertainty_us: float


class TriggerMatcher:
    """Matches frames with trigger edges. Pure state; the caller says what has happened and asks.

    Args:
        active_high: the shutter is open while the signal is high.
        delay_us: added to every edge.
        earlier: the clock before the time axis jumped; it holds from the first frame on that shows it.

    Attributes:
        latency_us, packet_us: what is known of arrivals, see `acquisition.Evidence`.
    """

    def __init__(
        self, *, active_high: bool = True, delay_us: float = 0.0, earlier: EarlierClock | None = None
    ) -> None:
        self._earlier = earlier
        self._active_high, self._delay = active_high, round(delay_us)
        self.latency_us = (0.0, 40_000.0)
        self.packet_us: float | None = None
        self.fit = ClockFit()
        self.resets: dict[str, int] = {}
        self.edges_in = self.edges_matched = 0
        self.verdict = Verdict()
        self._starts, self._ends = EdgeLine(), EdgeLine()
        self._frames: deque[Stamp] = deque(maxlen=64)  # recent ones, for acquisition
        self._queue: deque[Stamp] = deque()  # asked about, unanswered
        self._former: ClockFit | None = None
        self._former_key = -1
        self._bias_us = 0.0
        self._bias_n = 0
        self._first_key: int | None = None
        self._first_sequence = 0
        self._covered_from: int | None = None
        self._watermark: int | None = None
        self._new_frame = self._new_edges = False
        self._tried_at_us = -(2**62)
        self._early = 0  # frames in a row that arrived before their exposures ended
        self._attempts = 0  # to find the clock
        self._silent = False  # no edges come any more
        self._matched = 0  # since the clock was found
        self._candidate: tuple[list[tuple[int, int]], int] = ([], 0)
        self._holes: tuple[tuple[int, int], ...] = ()
        self._retain_us = RETAIN_US
        self._latencies: deque[float] = deque(maxlen=64)  # of frames that were matched

    @property
    def locked(self) -> bool:
        """The frame camera's clock is known through its edges."""
        return len(self.fit) > 0

    @property
    def edges_unmatched(self) -> int:
        """Edges given up without a frame."""
        return self._starts.unmatched + self._ends.unmatched

    @property
    def edges_held(self) -> int:
        """Edges that may still find a frame."""
        return len(self._starts) + len(self._ends)

    def add_edges(self, t_us: NDArray[np.int64], rising: NDArray[np.bool_]) -> None:
        """Take edges as the event camera stamped them."""
        for t, up in zip(t_us.tolist(), rising.tolist(), strict=True):
            line = self._starts if up == self._active_high else self._ends
            line.add(t + self._delay)
            self.edges_in += 1
            self._new_edges, self._silent = True, False

    def covered(self, from_us: int, until_us: int, holes_us: Iterable[tuple[int, int]] = ()) -> None:
        """All edges of this stretch of time have been given, but for holes in it (all known ones, in order)."""
        newest = self._holes[-1] if self._holes else None
        oldest = until_us - self._retain_us
        told = tuple(holes_us)
        # The caller may forget a hole while edges of before it are still held here.
        earlier = (h for h in self._holes if h[1] >= oldest and not (told and h[0] >= told[0][0]))
        self._holes = (*earlier, *told)[-KEPT_HOLES:]
        if self._holes and self._holes[-1] != newest:
            begin, end = self._holes[-1]
            if end - begin >= RESTART_US and not self.locked:
                self._interrupted(begin, end)
        self._watermark = until_us + min(self._delay, 0)
        # What was given up does not come back when more is kept from now on.
        self._covered_from = max(from_us, oldest, from_us if self._covered_from is None else self._covered_from)
        if not self.locked:
            self._starts.discard_before(oldest)
            self._ends.discard_before(oldest)

    def _interrupted(self, start_us: int, end_us: int) -> None:
        """Edges and frames of before a long hole are no pattern together with those after it."""
        self._starts.discard_before(end_us)
        self._ends.discard_before(end_us)
        self._frames = deque((f for f in self._frames if (f.since_us or 0) >= start_us), maxlen=64)
        self._candidate = ([], 0)

    def forget_arrivals(self) -> None:
        """Arrivals until now were told on an event clock that is not the one from now on."""
        self._frames = deque((replace(f, arrival_us=None) for f in self._frames), maxlen=64)
        self._queue = deque(replace(f, arrival_us=None) for f in self._queue)

    def seen(self, key: int) -> bool:
        """The events went on far enough after this frame came: its edges have come, or they never will."""
        return next((self._went_on(f) for f in self._queue if f.key == key), False)

    def _went_on(self, f: Stamp) -> bool:
        since, mark = self._covered_from if f.since_us is None else f.since_us, self._watermark
        if since is None or mark is None:
            return False
        missing = sum(max(0, min(end, mark) - max(begin, since)) for begin, end in self._holes)
        return mark - since - missing >= SEEN_US

    def add_frame(self, stamp: Stamp) -> None:
        """Take the next frame; it is asked for later by its key, in order."""
        # Exposures of one sensor cannot overlap; a stamp that says so was made by another count of time.
        if self._frames and stamp.start_ns < self._frames[-1].end_ns - OVERLAP_NS:
            self._former = self.fit  # for the frames that still wait with stamps of before
            self._former_key = self._frames[-1].key
            self._lose("device clock ran back")
            self._frames.clear()
        if self._first_key is None:
            self._first_key, self._first_sequence = stamp.key, stamp.sequence
        self._frames.append(stamp)
        self._queue.append(stamp)
        self._new_frame = True
        self._retain_us = max(RETAIN_US, min(round(RETAIN_FRAMES * self.period_us()), RETAIN_LONGEST_US))

    def give_up(self, key: int) -> None:
        """The caller answers this frame in another way."""
        if self._queue and self._queue[0].key == key:
            self._queue.popleft()

    def _lose(self, cause: str) -> None:
        if self.locked:
            self.resets[cause] = self.resets.get(cause, 0) + 1
        self.fit = ClockFit()
        self._earlier = None
        self._bias_us, self._bias_n = 0.0, 0
        self._early = self._matched = self._attempts = 0
        self._candidate = ([], 0)
        self._first_key = -1  # whatever frames come now, none is the first
        self._new_frame = True

    @property
    def known_clock(self) -> EarlierClock | None:
        """What is known of the clock, for what comes after a jump of the time axis."""
        before = self._earlier
        if before is not None and len(self.fit) < min(WELL_KNOWN, len(before.fit)):
            return before
        return EarlierClock(self.fit, self._bias_us) if self.locked else None

    def _recall(self) -> bool:
        """The clock of before the jump, where a frame shows that it still holds."""
        before = self._earlier
        if before is None:
            return False
        for f in self._queue:
            found = before.pair(f.start_ns, f.end_ns, f.since_us, self._starts, self._ends)
            if found is not None:
                self.fit.add(f.start_ns, found[0])
                self._bias_us, self._bias_n = before.bias_us, 1
                self.verdict = Verdict([(f.start_ns, found[0])], self._bias_us, DECISION, "as before")
                return True
        return False

    def _try_to_lock(self, final: bool) -> None:
        if self._watermark is None or self._covered_from is None or self._recall():
            return
        # An attempt costs milliseconds: one for each new frame, and where edges lag behind, one in 10 ms; ever
        # fewer while they stay without success.
        pause = 0 if self._attempts < 30 else 40_000 if self._attempts < 100 else 200_000
        rested = self._watermark >= self._tried_at_us + pause
        fresh_edges = self._new_edges and self._watermark >= self._tried_at_us + max(10_000, pause)
        if not ((self._new_frame and rested) or fresh_edges or final):
            return
        self._attempts += 1
        self._new_frame = self._new_edges = False
        self._tried_at_us = self._watermark
        evidence = Evidence(
            covered_us=(self._covered_from, self._watermark), holes_us=self._holes,
            first_key=self._first_key, first_sequence=self._first_sequence,
            latency_us=self._known_latency_us(), packet_us=self.packet_us, final=final,
        )  # fmt: skip
        self.verdict = acquire(list(self._frames), self._starts.array(), self._ends.array(), evidence)
        if self.verdict.decided and (final or self._stands(self.verdict)):
            self._earlier = None  # refuted, or not needed any more
            for device_ns, event_us in self.verdict.pairs:
                self.fit.add(device_ns, event_us)
            self._bias_us, self._bias_n = self.verdict.end_bias_us, len(self.verdict.pairs)

    def _known_latency_us(self) -> tuple[float, float]:
        """Bounds of the least latency: the rig's, and closer ones where a clock that was lost had shown it."""
        low, high = self.latency_us
        if len(self._latencies) < LEARNED_FROM or not low <= min(self._latencies) <= high:
            return low, high
        least = min(self._latencies)
        return max(low, least - LEARNED_US), min(high, least + LEARNED_US)

    def _stands(self, verdict: Verdict) -> bool:
        """Found `STABLE_FRAMES` ago, too: so it does not hang on what the newest frames lack."""
        pairs = dict(verdict.pairs)
        count = self._frames[-1].key
        found, since = self._candidate
        if not any(pairs.get(device) == edge for device, edge in found):
            self._candidate = verdict.pairs, count
            return False
        self._candidate = verdict.pairs, since
        return count - since >= STABLE_FRAMES

    def _predict(self, f: Stamp, fit: ClockFit | None = None) -> tuple[float, float, float]:
        """Expected start and end (µs) and how far an edge may lie from them."""
        fit = self.fit if fit is None else fit
        start = fit.event_us(f.start_ns)
        end = fit.event_us(f.end_ns) + self._bias_us
        return start, end, tolerance_us(fit, f.start_ns)

    def match(self, key: int, *, final: bool = False, overdue: bool = False) -> Match | None:
        """The exposure of the oldest unanswered frame, None while that is open.

        Args:
            key: that frame's; asking out of order is an error.
            final: nothing more will come.
            overdue: it has waited long enough: where not one edge came meanwhile (the wire is off), the
                measured clock speaks for them; where events did not come either (`seen`), nothing does.
        """
        if not self._queue or self._queue[0].key != key:
            raise ValueError(f"frame {key} is not the next one to be matched")
        f = self._queue[0]
        if key <= self._former_key:
            return self._match_by_former(f)
        if not self.locked:
            self._try_to_lock(final)
            if not self.locked:
                return None
        start, end, tol = self._predict(f)
        if overdue and self.edges_held and self._went_on(f):
            # Not even now, or its time still lies ahead of all events: is it the frame, or the clock?
            fits, fails = self._later(None)
            if not fits and fails + 1 >= LOST_AFTER:
                self._drop_clock()
                return None
        if not final and (self._watermark is None or self._watermark < end + tol):
            return None
        s, e = self._starts.nearest(start, tol), self._ends.nearest(end, tol)
        if s is not None and e is not None and e <= s:
            s = e = None
        if s is None and e is None:
            self._silent |= overdue and not self.edges_held
            # Right after the clock was found, a frame that fits no edge may be older than the clock.
            trusted = self._matched >= MATURE and self._confirmed()
            if not (self._silent or trusted):
                return None
        elif (s is None or e is None) and self._doubtful(start, end, s, e) and not self._confirmed():
            return None
        return self._answer(f, s, e, start, end, tol)

    def _match_by_former(self, f: Stamp) -> Match | None:
        """A frame stamped before the device clock ran back: both edges by the old clock, or nothing."""
        if self._former is None or not len(self._former):
            return None
        start, end, tol = self._predict(f, self._former)
        s, e = self._starts.nearest(start, tol), self._ends.nearest(end, tol)
        if s is None or e is None or e <= s:
            return None
        self._queue.popleft()
        self._starts.use(s)
        self._ends.use(e)
        self.edges_matched += 2
        return Match(s, e, 2, max(1.0, 2.0 * self._former.residual_us))

    def _answer(
        self, f: Stamp, s: int | None, e: int | None, start: float, end: float, tol: float
    ) -> Match | None:
        self._queue.popleft()
        line = self.fit.uncertainty_us(f.start_ns)
        edge = max(1.0, 2.0 * self.fit.residual_us)
        length = end - start
        for at, kind in ((s, self._starts), (e, self._ends)):
            if at is not None:
                kind.use(at)
                self.edges_matched += 1
        newest = self.fit.last_device_ns
        if s is not None and (newest is None or f.start_ns > newest):  # those of the acquisition are in already
            self.fit.add(f.start_ns, s)
        if s is not None and e is not None:
            self._matched += 1
            self._bias_n = min(self._bias_n + 1, 64)
            self._bias_us += ((e - s) - (length - self._bias_us) - self._bias_us) / self._bias_n
            found = Match(s, e, 2, edge)
        elif s is not None:
            found = Match(s, round(s + length), 1, edge + 1.0)
        elif e is not None:
            found = Match(round(e - length), e, 1, edge + 1.0)
        else:
            found = Match(round(start), round(end), 0, line + 1.0)
        if f.arrival_us is not None and self.packet_us is None:
            if found.edges == 2:
                self._latencies.append(f.arrival_us - found.end_us)
            early = f.arrival_us < found.end_us - CLOCK_SLACK_US
            self._early = self._early + 1 if early else 0
            if self._early >= LOST_AFTER:
                self._latencies.clear()  # those of a wrong match
                self._lose("frames arrived before their exposures ended")
                return found
        # Whatever lies before this frame belongs to no frame to come.
        self._starts.discard_before(found.start_us - tol)
        self._ends.discard_before(found.start_us - tol)
        return found

    def _doubtful(self, start: float, end: float, s: int | None, e: int | None) -> bool:
        """An edge is not where it should be, yet free ones are near or passed over: did the clock jump?"""
        reach = max(2.0 * (end - start), self.period_us())
        for found, at, line in ((s, start, self._starts), (e, end, self._ends)):
            if found is None and (line.nearest(at, reach) is not None or line.any_before(at)):
                return True
        return False

    def period_us(self) -> float:
        """From one frame to the next, by their own stamps; 40 ms before there are two."""
        starts = [f.start_ns for f in list(self._frames)[-9:]]
        return float(np.median(np.diff(starts))) / 1e3 if len(starts) > 1 else 40_000.0

    def _confirmed(self) -> bool:
        """Later frames fit the clock with both edges; where too many do not, the clock is dropped."""
        fits, fails = self._later(self._watermark)
        if fails + 1 >= LOST_AFTER and fails > fits:
            self._drop_clock()
        return fits >= 2 and fits > fails

    def _later(self, until_us: int | None) -> tuple[int, int]:
        """How many frames behind the first fit the clock with both edges; how many have edges only elsewhere.

        Only frames whose exposure lies before a time count; None takes all whose edges must have come by now,
        wherever the clock says that they lie. A single edge says neither.
        """
        fits = fails = 0
        for f in list(self._queue)[1:]:
            start, end, tol = self._predict(f)
            if until_us < end + tol if until_us is not None else not self._went_on(f):
                break
            if self._in_hole(f, start - tol, end + tol):
                continue
            s, e = self._starts.nearest(start, tol), self._ends.nearest(end, tol)
            if s is not None and e is not None:
                fits += 1
                if fits >= 2 and fits > fails:
                    break
            elif s is None and e is None and (self._doubtful(start, end, None, None) or _long_past(f, end)):
                fails += 1
        return fits, fails

    def _in_hole(self, f: Stamp, start: float, end: float) -> bool:
        """Edges of this stretch may be lost (a frame that came long after the hole does not belong there)."""
        return not _long_past(f, end) and any(a < end and start < b for a, b in self._holes)

    def _drop_clock(self) -> None:
        self._frames = deque(self._queue, maxlen=64)
        self._lose("edges no longer fit the clock")


def _long_past(f: Stamp, end_us: float) -> bool:
    """The events were far beyond this end of its exposure when the frame came: the clock says it, wrongly."""
    return f.since_us is not None and f.since_us - end_us > RESTART_US
