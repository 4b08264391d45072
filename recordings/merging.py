"""Streams of one recording merged in order of time, cut into packets, checked on the way in.

A format's reader hands over raw batches in order of their first time (frames: the end of exposure). The
merger refuses what is unsound (counted), and gives `EventPacket`s and `Frame`s as a live rig would: packets
on a fixed grid of 20 ms, cut where an exposure ends, the frame after the events before that time.

The grid lies at whole multiples of 20 ms of the file's own time, so the packets do not depend on how the
file is laid out, and those read after a seek are those of a read from the start.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capture.errors import InvalidPacket
from capture.packets import (
    EventPacket,
    Events,
    Frame,
    FrameClock,
    FrameKind,
    PixelLayout,
    Rejected,
    TriggerEdges,
)
from recordings.backwards import Backwards
from recordings.recording import ReadReport

GRID_US = 20_000
MAX_EVENTS_PER_PACKET = 400_000
# A pause is passed over in at most this many empty packets, each a multiple of the grid.
MAX_EMPTY_PACKETS = 1_000
# With its stream at an end, the event camera counts as silent for so long, then as gone: a frame exposed later
# gets no claim that its events are complete.
TAIL_US = 250_000
# Times further outside the file's own span than this are damage, not data.
SPAN_MARGIN_US = 1_000_000

Item = EventPacket | Frame


class StreamMerger:
    """Merges one recording's streams. Feed in order of `key`; every method yields what became final.

    Args:
        event_size, image_size: (width, height); None when there is no such stream.
        span: (start_us, end_us) of the recording by its index.
        report: counts are added here.
        start_us: reading began here, in the middle of the file; None = at its start.
    """

    def __init__(
        self,
        event_size: tuple[int, int] | None,
        image_size: tuple[int, int] | None,
        span: tuple[int, int],
        report: ReadReport,
        start_us: int | None = None,
    ) -> None:
        self._event_size, self._image_size = event_size, image_size
        self._earliest, self._latest = span[0] - SPAN_MARGIN_US, span[1] + SPAN_MARGIN_US
        self._report = report
        self._held: list[Events] = []
        self._edges_t: NDArray[np.int64] = np.empty(0, np.int64)
        self._edges_rising: NDArray[np.bool_] = np.empty(0, np.bool_)
        self._done: int | None = start_us
        self._last: int | None = None
        self._ended: int | None = None
        self._rejected = Rejected()
        # Events are missing: from now on until the next ones (True), or up to this time; not before that one.
        self._gap_open = False
        self._gap_until: int | None = None
        self._gap_from: int | None = None
        self._backwards = Backwards()

    def events_begin(self, first_us: int) -> None:
        """The file's first event or edge; said before anything else where reading begins in the middle.

        Before it nobody knows whether the event camera was there at all: a read from an earlier time then
        begins as a read from the start does.
        """
        if self._done is not None and self._done < first_us:
            self._done = None

    def gap(self) -> None:
        """Part of the event stream is lost here: packets say so from the last events to the next ones."""
        if self._gap_until is None and not self._gap_open:
            self._gap_from = self._last
        self._gap_open = True

    def reached(self, key: int) -> Iterator[Item]:
        """Nothing before `key` comes any more."""
        return self._advance(key)

    def events_ended(self) -> None:
        """The event stream has no more."""
        if self._last is not None:
            self._ended = self._last

    def events(
        self, t: NDArray[np.int64], x: NDArray[Any], y: NDArray[Any], p: NDArray[Any], key: int
    ) -> Iterator[Item]:
        """A batch of events whose times are `key` or later."""
        yield from self._advance(key)
        if self._event_size is None or not len(t):
            return
        n_wild = 0
        if int(t.min()) < self._earliest or int(t.max()) > self._latest:
            keep = (t >= self._earliest) & (t <= self._latest)
            n_wild = int(len(t) - np.count_nonzero(keep))
            t, x, y, p = t[keep], x[keep], y[keep], p[keep]
        floor = max((v for v in (self._done, self._last) if v is not None), default=None)
        ev, bad = Events.sanitised(t, x, y, p, *self._event_size, not_before_us=floor)
        stepped = bad.decreasing > 0 and self._backwards.look(t, x, y, self._event_size, floor)
        if not bad.decreasing:
            self._backwards.over()
        bad += Rejected(decreasing=n_wild)
        if len(ev):
            self._begin(int(ev.t[0]))
            self._last = int(ev.t[-1])
            self._held.append(ev)
            if self._gap_open:
                self._gap_open, self._gap_until = False, int(ev.t[0])
        if stepped:
            self._lost_behind_a_step()
        self._rejected += bad
        self._report.events += len(ev)
        self._report.events_rejected_decreasing += bad.decreasing
        self._report.events_rejected_outside += bad.outside

    def _lost_behind_a_step(self) -> None:
        """Events that ran back were left out: a gap, from where they ran back to."""
        low, _, on = self._backwards.last
        if self._gap_until is None and not self._gap_open:
            self._gap_from = low
        if on is None:
            self._gap_open = True
        else:
            self._gap_until = on

    def edges(self, t: NDArray[np.int64], rising: NDArray[np.bool_], key: int) -> Iterator[Item]:
        """A batch of edges of the external trigger input, times `key` or later."""
        yield from self._advance(key)
        if not len(t):
            return
        floor = max(
            (int(v) for v in (self._done, *self._edges_t[-1:]) if v is not None), default=self._earliest
        )
        t = t.astype(np.int64, copy=False)
        good = (t >= np.maximum(np.maximum.accumulate(t), floor)) & (t >= self._earliest) & (t <= self._latest)
        self._report.edges_rejected += int(len(t) - np.count_nonzero(good))
        t, rising = t[good], rising[good]
        if len(t):
            self._begin(int(t[0]))
            self._edges_t = np.concatenate([self._edges_t, t])
            self._edges_rising = np.concatenate([self._edges_rising, rising.astype(np.bool_, copy=False)])
            self._report.edges += len(t)

    def frame(
        self, image: NDArray[np.uint8], index: int, start_us: int, exposure_us: int, drawn: bool, key: int
    ) -> Iterator[Item]:
        """A frame, exposed from `start_us` for `exposure_us` (0 or less: the file does not say)."""
        end = start_us + exposure_us if exposure_us > 0 else None
        try:
            if not self._earliest <= start_us <= (end or start_us) <= self._latest:
                raise InvalidPacket(f"frame {index}: its time {start_us} µs lies outside the recording")
            if self._backwards.unclear(start_us, start_us if end is None else end):
                low, high, _ = self._backwards.last
                raise InvalidPacket(
                    f"frame {index}: its time {start_us} µs was there twice (events ran back from {high} to "
                    f"{low} µs), so nobody knows which events are its own"
                )
            if self._image_size is not None and image.shape[1::-1] != self._image_size:
                raise InvalidPacket(
                    f"frame {index}: {image.shape[1]}×{image.shape[0]} pixels in a stream of "
                    f"{self._image_size[0]}×{self._image_size[1]}"
                )
            frame = Frame(
                image=image,
                layout=PixelLayout.RGB if image.ndim == 3 else PixelLayout.GRAY,
                sequence=index,
                device_start_ns=start_us * 1000,
                device_end_ns=None if end is None else end * 1000,
                clock=FrameClock.EVENT,
                kind=FrameKind.ACCUMULATOR if drawn else FrameKind.SENSOR,
            )
        except InvalidPacket as e:
            yield from self.refuse_frame(str(e), key)
            return
        yield from self._deliver(key, cut_there=True)
        self._report.frames += 1
        yield frame

    def refuse_frame(self, why: str, key: int) -> Iterator[Item]:
        """A frame that cannot be used is counted and noted."""
        yield from self._advance(key)
        self._report.frames_rejected += 1
        self._report.note(f"{why}; it was left out")

    def tell_refused(self) -> None:
        """Note how many events were refused for their times; for formats that have no words of their own."""
        n = self._report.events_rejected_decreasing
        if n:
            what = (
                "1 event was left out: its time runs"
                if n == 1
                else f"{n} events were left out: their times run"
            )
            self._report.note(f"{what} back, or outside the recording")

    def finish(self) -> Iterator[Item]:
        """The rest; the last packet is complete up to just behind the last event or edge."""
        known = [v for v in (self._last, *(int(e) for e in self._edges_t[-1:])) if v is not None]
        self._ended = None
        if known:
            yield from self._deliver(max(known) + 1, cut_there=True)

    def _begin(self, t: int) -> None:
        """Nothing is known before the first event or edge; the grid cell that holds it is the first packet."""
        if self._done is None:
            self._done = t - t % GRID_US

    def _advance(self, key: int) -> Iterator[Item]:
        return self._deliver(key, cut_there=False)

    def _deliver(self, until: int, *, cut_there: bool) -> Iterator[Item]:
        """Packets up to `until`; without `cut_there` only whole cells of the grid."""
        if self._done is None or self._event_size is None:
            return
        until = min(until, self._latest if self._ended is None else self._ended + TAIL_US)
        stop = until if cut_there else until - until % GRID_US
        while self._done < stop:
            cell_end = self._done - self._done % GRID_US + GRID_US
            nothing_before = self._next_time(stop)
            if nothing_before >= cell_end:
                # A pause: few empty packets instead of one per cell when it is long.
                cells = max(1, (nothing_before - self._done) // GRID_US // MAX_EMPTY_PACKETS)
                cell_end += (cells - 1) * GRID_US
            yield from self._packets(min(cell_end, stop))

    def _next_time(self, otherwise: int) -> int:
        """Time of the oldest event or edge that is held."""
        held = [int(self._held[0].t[0])] if self._held else []
        return min([otherwise, *held, *(int(v) for v in self._edges_t[:1])])

    def _packets(self, end: int) -> Iterator[EventPacket]:
        """Everything before `end`, in one packet or, in a burst, several."""
        events = self._take_events(end)
        while len(events) > MAX_EVENTS_PER_PACKET:
            # "Complete until" the time of the first event that is not in it: true, even among equal stamps.
            part, events = events[:MAX_EVENTS_PER_PACKET], events[MAX_EVENTS_PER_PACKET:]
            yield self._packet(part, int(events.t[0]))
        yield self._packet(events, end)

    def _packet(self, events: Events, until: int) -> EventPacket:
        n = int(np.searchsorted(self._edges_t, until, side="left"))
        edges = TriggerEdges(self._edges_t[:n].copy(), self._edges_rising[:n].copy())
        self._edges_t, self._edges_rising = self._edges_t[n:], self._edges_rising[n:]
        begun = until if self._done is None else self._done
        gap = self._gap_open or (self._gap_until is not None and begun <= self._gap_until)
        if not gap:
            self._gap_until = self._gap_from = None
        gap = gap and (self._gap_from is None or until > self._gap_from)
        packet = EventPacket(events, edges, until, gap=gap, rejected=self._rejected)
        self._done, self._rejected = until, Rejected()
        return packet

    def _take_events(self, end: int) -> Events:
        assert self._event_size is not None
        parts: list[Events] = []
        while self._held and int(self._held[0].t[0]) < end:
            first = self._held.pop(0)
            if int(first.t[-1]) < end:
                parts.append(first)
                continue
            n = int(np.searchsorted(first.t, end, side="left"))
            parts.append(first[:n])
            self._held.insert(0, first[n:])
            break
        return Events.concatenate(parts) if parts else Events.empty(*self._event_size)
