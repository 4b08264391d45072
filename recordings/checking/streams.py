"""Checks that hold for the streams of every format: order of time, exposures, numbers, trigger edges."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field

import numpy as np

from capture.packets import EventPacket, Frame, FrameClock, FrameKind
from recordings.checking.findings import Verification

STAMP_TOLERANCE_US = 1_000
"""An edge this near to a frame's own stamp belongs to it."""


@dataclass(slots=True)
class _Tally:
    """How often something was met, and where first."""

    n: int = 0
    first: str = ""

    def add(self, n: int, at: str) -> None:
        if n and not self.n:
            self.first = at
        self.n += n


@dataclass(slots=True)
class StreamCheck:
    """Feed every item in order, then `finish`. Constant memory but for the times of edges and exposures."""

    events: int = 0
    event_packets: int = 0
    edges: int = 0
    frames: int = 0
    unknown_exposures: int = 0
    drawn: int = 0
    _back: _Tally = field(default_factory=_Tally)
    _late: _Tally = field(default_factory=_Tally)
    _late_edges: _Tally = field(default_factory=_Tally)
    _gaps: _Tally = field(default_factory=_Tally)
    _in_gap: bool = False
    _zero: _Tally = field(default_factory=_Tally)
    _overlaps: _Tally = field(default_factory=_Tally)
    _frames_back: _Tally = field(default_factory=_Tally)
    _numbers_back: _Tally = field(default_factory=_Tally)
    _frame_gaps: _Tally = field(default_factory=_Tally)
    _missing: _Tally = field(default_factory=_Tally)
    _until: int | None = None
    _event_epoch: int | None = None
    _last: Frame | None = None
    _epochs: set[int] = field(default_factory=set)
    _first_epoch: int | None = None  # stamps are held against edges in this one
    _rising: array[int] = field(default_factory=lambda: array("q"))
    _starts: array[int] = field(default_factory=lambda: array("q"))

    def packet(self, p: EventPacket) -> None:
        """The next event packet."""
        t, edges = p.events.t, p.triggers.t
        self.event_packets += 1
        self.events += len(t)
        self.edges += len(edges)
        self._epochs.add(p.epoch)
        first = self._is_first(p.epoch)
        if p.epoch != self._event_epoch:
            self._event_epoch, self._until = p.epoch, None
        if self._until is not None:
            at = f"at {_s(p.complete_until_us)}"
            self._back.add(p.complete_until_us < self._until, at)
            self._late.add(int(np.searchsorted(t, self._until)), at)
            self._late_edges.add(int(np.searchsorted(edges, self._until)), at)
        if p.gap and not self._in_gap:
            self._gaps.add(1, f"before {_s(p.complete_until_us)}")
        self._in_gap = p.gap and not len(t)
        self._until = p.complete_until_us if self._until is None else max(self._until, p.complete_until_us)
        if first:
            self._rising.extend(edges[p.triggers.rising].tolist())

    def frame(self, f: Frame, lost: int = 0) -> None:
        """The next frame; `lost` before it are accounted for elsewhere."""
        self.frames += 1
        self._epochs.add(f.epoch)
        at = f"at number {f.sequence}"
        self._frame_gaps.add(f.gap and not lost and self._last is not None, at)
        length = f.exposure_ns
        if f.kind is FrameKind.ACCUMULATOR:
            self.drawn += 1
        elif length is None:
            self.unknown_exposures += 1
        else:
            self._zero.add(length <= 0, at)
            if f.clock is FrameClock.EVENT and f.device_start_ns is not None and self._is_first(f.epoch):
                self._starts.append(f.device_start_ns // 1000)
        last = self._last
        # A camera that was away may come back with numbers and a clock that begin anew.
        if last is not None and last.epoch == f.epoch and not (f.gap and f.sequence <= last.sequence):
            step = f.sequence - last.sequence
            self._numbers_back.add(step <= 0, at)
            self._missing.add(max(0, step - 1 - lost), at)
            if last.device_start_ns is not None and f.device_start_ns is not None:
                back = f.device_start_ns < last.device_start_ns
                self._frames_back.add(back, at)
                end = last.device_end_ns
                self._overlaps.add(not back and end is not None and end > f.device_start_ns, at)
        self._last = f

    def _is_first(self, epoch: int) -> bool:
        self._first_epoch = epoch if self._first_epoch is None else self._first_epoch
        return epoch == self._first_epoch

    def finish(self, v: Verification, *, missing: str = "missing by their numbers") -> None:
        """Write down what was met.

        Args:
            v: takes counts and findings.
            missing: what a jump in the frames' numbers means.
        """
        v.counts |= {
            "events": self.events, "event_packets": self.event_packets, "edges": self.edges,
            "frames": self.frames, "epochs": max(1, len(self._epochs)),
        }  # fmt: skip
        tallies = (
            ("events", self._back, "time runs backwards at {n} packets"),
            ("events", self._late, "{n} are older than the packets before them said to be complete"),
            ("events", self._gaps, "interrupted at {n} places"),
            ("triggers", self._late_edges, "{n} edges are older than packets before them said to be complete"),
            ("frames", self._frame_gaps, "interrupted at {n} places"),
            ("frames", self._missing, "{n} " + missing),
            ("frames", self._numbers_back, "{n} numbers do not follow the ones before them"),
            ("frames", self._frames_back, "{n} stamps are older than the ones before them"),
            ("frames", self._zero, "{n} exposures have no length"),
            ("frames", self._overlaps, "{n} exposures begin before the ones before them end"),
        )
        for where, tally, text in tallies:
            if tally.n:
                v.loss(where, f"{text.format(n=tally.n)}, first {tally.first}")
        if len(self._epochs) > 1:
            v.note("clock", f"began anew: {len(self._epochs)} stretches of time, each with an axis of its own")
        if not self.event_packets:
            v.note("events", "there are none")
        elif not self.events:
            v.note("events", "there is not one in the whole stream")
        if not self.frames:
            v.note("frames", "there are none")
        if self.unknown_exposures:
            v.note("frames", f"{self.unknown_exposures} of {self.frames} do not say how long they were exposed")
        if self.drawn:
            v.note(
                "frames", f"{self.drawn} of {self.frames} were drawn from events or spikes and never exposed"
            )
        self._against_edges(v)

    def _against_edges(self, v: Verification) -> None:
        """Frames on the events' clock against the rising edges, where these are of their exposures."""
        if not len(self._starts) or not len(self._rising):
            return
        starts, rising = np.array(self._starts, np.int64), np.sort(np.array(self._rising, np.int64))
        i = np.clip(np.searchsorted(rising, starts), 1, max(1, len(rising) - 1))
        near = np.minimum(
            np.abs(rising[np.minimum(i, len(rising) - 1)] - starts), np.abs(rising[i - 1] - starts)
        )
        good = near <= STAMP_TOLERANCE_US
        n = int(np.count_nonzero(good))
        if 2 * n < len(starts):
            v.note("triggers", "the edges are not those of the frames' exposures, so they were not compared")
        elif n < len(starts):
            v.loss("triggers", f"{len(starts) - n} of {len(starts)} exposures have no edge at their beginning")
        else:
            v.note("triggers", f"every exposure has its edge, at most {int(near.max())} µs off its own stamp")


def _s(us: int) -> str:
    return f"{us / 1e6:.3f} s"
