"""One axis of time for a recording of our own in which a clock began anew."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from capture.packets import EventPacket, Events, Frame, FrameClock, TriggerEdges
from recordings.formats.own_chunks import EVENTS, FRAME, UNKNOWN_US, Item
from recordings.formats.own_index import Rows, blocks
from recordings.recording import Remark

_LONGEST = 1 << 61
"""A longer shift comes from damage; sums of such times would not fit 64 bits."""


class OneAxis:
    """Places each epoch (see `EventPacket.epoch`) behind the one before it; the first one stays where it is.

    How much host time passed in between is not looked at: the stretches touch.

    Args:
        rows: of the index, in order of the file.

    Attributes:
        first_us, until_us: (rows,) int64, of the rows on the one axis; `UNKNOWN_US` stays. The rows' own where
            nothing is shifted: not to be written to.
        shifts: epoch → µs to add to its times.
    """

    def __init__(self, rows: Rows) -> None:
        self.shifts = _shifts(rows)
        self.first_us: NDArray[np.int64] = rows["first_us"]
        self.until_us: NDArray[np.int64] = rows["until_us"]
        if not any(self.shifts.values()):
            return
        self.first_us, self.until_us = self.first_us.astype(np.int64), self.until_us.astype(np.int64)
        epochs = np.array(sorted(self.shifts), np.int64)
        by_epoch = np.array([self.shifts[e] for e in epochs.tolist()], np.int64)
        last: np.int64 | None = None  # of the events before
        for at, some in blocks(rows):
            mine = some["epoch"].astype(np.int64)
            place = np.minimum(np.searchsorted(epochs, mine), len(epochs) - 1)
            own = np.where(epochs[place] == mine, by_epoch[place], 0)
            # A frame of another clock was placed among the events that came before it, whatever its own epoch.
            is_events = some["kind"] == EVENTS
            before = np.maximum.accumulate(np.where(is_events, np.arange(len(some)), -1))
            among = np.where(before >= 0, own[before], own if last is None else last)
            shift = np.where(some["kind"] == FRAME, among, own)
            if before[-1] >= 0:
                last = own[before[-1]]
            for times in (self.first_us[at : at + len(some)], self.until_us[at : at + len(some)]):
                times[times != UNKNOWN_US] += shift[times != UNKNOWN_US]

    def remarks(self) -> list[str]:
        """What a person should know about it."""
        n = len(self.shifts) - 1
        if n < 1:
            return []
        once = "once" if n == 1 else f"{n} times"
        return [Remark(f"a clock began anew {once} while recording; what follows is placed behind it")]

    def placed(self, item: Item) -> Item:
        """The item with its times on the one axis. Stamps of a clock that is not the events' stay."""
        shift = self.shifts.get(item.epoch, 0)
        if not shift:
            return item
        if isinstance(item, EventPacket):
            e, tr = item.events, item.triggers
            return replace(
                item,
                events=Events(e.t + shift, e.x, e.y, e.p, e.width, e.height),
                triggers=TriggerEdges(tr.t + shift, tr.rising),
                complete_until_us=item.complete_until_us + shift,
                imu=None if item.imu is None else item.imu.shifted(shift),
            )
        if isinstance(item, Frame) and item.clock is FrameClock.EVENT:
            start, end = item.device_start_ns, item.device_end_ns
            return replace(
                item,
                device_start_ns=None if start is None else start + 1000 * shift,
                device_end_ns=None if end is None else end + 1000 * shift,
            )
        return item


def _shifts(rows: Rows) -> dict[int, int]:
    spans: dict[int, tuple[int, int]] = {}  # in order of first appearance
    for _, some in blocks(rows):
        events = some["kind"] == EVENTS
        epochs, firsts, untils = (some[k][events] for k in ("epoch", "first_us", "until_us"))
        for e in dict.fromkeys(epochs.tolist()):
            mine = epochs == e
            first, last = int(firsts[mine].min()), int(untils[mine].max())
            a, b = spans.get(e, (first, last))
            spans[e] = min(a, first), max(b, last)
    shifts: dict[int, int] = {}
    end = 0
    for e, (first, last) in spans.items():
        shifts[e] = end - first if shifts and abs(end - first) < _LONGEST else 0
        end = last + shifts[e]
    return shifts
