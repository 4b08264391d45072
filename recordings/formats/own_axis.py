"""One axis of time for a recording of our own in which a clock began anew."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from capture.packets import EventPacket, Events, Frame, FrameClock, TriggerEdges
from recordings.formats.own_chunks import EVENTS, FRAME, UNKNOWN_US, Item
from recordings.formats.own_index import Rows
from recordings.recording import Remark

_LONGEST = 1 << 61
"""A longer shift comes from damage; sums of such times would not fit 64 bits."""


class OneAxis:
    """Places each epoch (see `EventPacket.epoch`) behind the one before it; the first one stays where it is.

    How much host time passed in between is not looked at: the stretches touch.

    Args:
        rows: of the index, in order of the file.

    Attributes:
        first_us, until_us: (rows,) int64, of the rows on the one axis; `UNKNOWN_US` stays.
        shifts: epoch → µs to add to its times.
    """

    def __init__(self, rows: Rows) -> None:
        self.shifts = _shifts(rows)
        self.first_us = rows["first_us"].astype(np.int64)
        self.until_us = rows["until_us"].astype(np.int64)
        if not any(self.shifts.values()):
            return
        shift = np.array([self.shifts.get(int(e), 0) for e in rows["epoch"]], np.int64)
        # A frame of another clock was placed among the events that came before it, whatever its own epoch.
        before = np.maximum.accumulate(np.where(rows["kind"] == EVENTS, np.arange(len(rows)), -1))
        shift = np.where((rows["kind"] == FRAME) & (before >= 0), shift[before], shift)
        for times in (self.first_us, self.until_us):
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
    events = rows[rows["kind"] == EVENTS]
    epochs: NDArray[np.uint32] = events["epoch"]
    if not len(events) or bool((epochs == epochs[0]).all()):
        return {int(e): 0 for e in epochs[:1]}
    shifts: dict[int, int] = {}
    end = 0
    for e in dict.fromkeys(epochs.tolist()):  # in order of first appearance
        mine = events[epochs == e]
        first, last = int(mine["first_us"].min()), int(mine["until_us"].max())
        shifts[e] = end - first if shifts and abs(end - first) < _LONGEST else 0
        end = last + shifts[e]
    return shifts
