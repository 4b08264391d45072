"""Pictures out of the restore worker's ring: of the stream the newest, of a held exposure every answer."""

from __future__ import annotations

import contextlib
from collections import Counter, deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.session import Picture, Residual
from capture.packets import Events
from capture.ring import Item, RingReader, RingRef, TornItem
from inference.worker import LONGEST_PART_LATENTS
from sync.rig import Rig

VIEWER = "viewer"
EVENTS_OF_A_PICTURE = 8 << 20
MOST_BYTES = 1 << 30


def room_for(latents: int, frame_bytes: int) -> int:
    """Bytes of a ring of pictures: all parts of one of so many instants must lie there, and two more."""
    one = (LONGEST_PART_LATENTS + 2) * frame_bytes + EVENTS_OF_A_PICTURE
    parts = max(1, -(-latents // LONGEST_PART_LATENTS))
    return max(3 * one, min((parts + 2) * one, MOST_BYTES))


class PictureReader:
    """Reads the ring of pictures. For one thread.

    A picture of many instants comes in parts, which are joined here.

    Args:
        ref: the ring.
        rig: whose pictures they are.
        name: of the reader, one of the ring's.

    Attributes:
        shown: pictures of the stream handed out; restored and not.
        superseded: those passed over because a newer one was there.
        refused_shown: of `shown`, those without a sharp picture.
        restored_by: sharp pictures of the stream that came whole, by the restore worker's incarnation.
    """

    def __init__(self, ref: RingRef, rig: Rig, name: str = VIEWER) -> None:
        self._reader = RingReader(ref, name)
        self._rig = rig
        self._matrix = rig.image_from_event
        self._parts: dict[int, Item] = {}
        self._stream_parts: list[Item] = []
        self._held: deque[Picture] = deque()
        self._newest: Picture | None = None
        self._measured: Picture | None = None
        self.request = 0
        self.restored_by: Counter[int] = Counter()
        self._published: dict[int, int] = {}  # so many it had given, as far as its headers tell
        self.shown = self.refused_shown = self.superseded = self.torn = 0

    @property
    def lost_by(self) -> dict[int, int]:
        """Sharp pictures of the stream that were overwritten before they were read, by incarnation."""
        return {i: n - self.restored_by[i] for i, n in self._published.items()}

    def poll(self) -> Picture | None:
        """The answer to the newest request, else a re-blur residual, else the stream's newest picture."""
        self._drain()
        if self._held:
            return self._held.popleft()
        measured, self._measured = self._measured, None
        if measured is not None:
            return measured
        newest, self._newest = self._newest, None
        if newest is not None:
            self.shown += 1
            self.refused_shown += newest.sharp is None
        return newest

    def _drain(self) -> None:
        while self._reader.waiting:
            newest = None
            try:
                with self._reader.next() as item:
                    if item is None:
                        return
                    h = item.header
                    if h["residual"] is not None:
                        self._measured = picture([item.copied()], self._rig, self._matrix)
                    elif h["held"]:
                        self._collect(item.copied())
                    elif parts := self._of_stream(item):
                        newest = picture(parts, self._rig, self._matrix)
            except TornItem:
                self.torn += 1
                continue
            self._heard(h["incarnation"], h["restored_before"])
            if newest is not None:
                self._newest = newest
                self._came(h)

    def _heard(self, incarnation: int, published: int) -> None:
        self._published[incarnation] = max(published, self._published.get(incarnation, 0))

    def _came(self, h: dict[str, Any]) -> None:
        """A picture of the stream is here whole, or was passed over."""
        if h["restored"] is not None:
            self.restored_by[h["incarnation"]] += 1
            self._heard(h["incarnation"], h["restored_before"] + 1)

    def _of_stream(self, item: Item) -> list[Item]:
        """All parts of a picture of the stream, copied, once this is the last; [] if not, or if passed over."""
        h = item.header
        restored = h["restored"] is not None
        if h["part"] == 0:
            self._stream_parts = []
            if self._newest is not None:
                self.superseded += self._newest.sharp is not None
                self._newest = None
        if h["parts"] == 1:
            # This one is not given back yet, so it waits too.
            if self._reader.waiting > 1:
                self.superseded += restored
                self._came(h)
                return []
            return [item.copied()]
        if h["part"] != len(self._stream_parts) or any(
            (p.header["ordinal"], p.header["incarnation"]) != (h["ordinal"], h["incarnation"])
            for p in self._stream_parts
        ):
            return []  # a part before it was lost, and with it the picture
        self._stream_parts.append(item.copied())
        if len(self._stream_parts) < h["parts"]:
            return []
        parts, self._stream_parts = self._stream_parts, []
        return parts

    def pass_over(self) -> int:
        """Let go of all that waits, without a copy; how many pictures of the stream that was."""
        passed = 0
        self._stream_parts, self._newest = [], None
        while self._reader.waiting:
            with contextlib.suppress(TornItem), self._reader.next() as item:
                if item is None:
                    break
                h = item.header
                passed += h["residual"] is None and not h["held"] and h["part"] == 0
        return passed

    def wait(self, timeout_s: float) -> None:
        """Wait until something may have come, at most some 20 ms."""
        self._reader.wait(timeout_s)

    def _collect(self, item: Item) -> None:
        """Part of an answer; only the newest request's is wanted."""
        h = item.header
        if h["request"] != self.request:
            return
        if h["part"] == 0:
            self._parts.clear()
        self._parts[h["part"]] = item
        if len(self._parts) == h["parts"]:
            ordered = [self._parts[i] for i in range(h["parts"])]
            self._parts = {}
            self._held.append(picture(ordered, self._rig, self._matrix))

    def close(self) -> None:
        """Let go of the ring."""
        self._reader.close()


def picture(parts: list[Item], rig: Rig, matrix: NDArray[np.float64]) -> Picture:
    """A picture out of the ring items that carry it."""
    h: dict[str, Any] = parts[0].header
    blurred, _, residual, t, x, y, p = parts[0].arrays
    r: dict[str, Any] | None = h["restored"]
    sharp = None
    if r is not None:
        stacks = [part.arrays[1] for part in parts]
        sharp = stacks[0] if len(stacks) == 1 else np.concatenate(stacks)
    start, end = h["start_us"], h["end_us"]
    return Picture(
        ordinal=h["ordinal"],
        blurred=blurred,
        sharp=sharp,
        latents=tuple(r["latents"]) if r else (),
        exposure_start_us=start,
        exposure_end_us=end,
        source=h["source"] if not h["refusal"] or r else "",
        uncertainty_us=h["uncertainty_us"],
        refusal="" if r else h["refusal"],
        network=r["network"] if r else "",
        events=Events(t, x, y, p, rig.events.width, rig.events.height) if len(t) else None,
        image_from_event=matrix,
        exposure_end_host_ns=h["end_host_ns"],
        ready_host_ns=h["ready_host_ns"],
        aligned_host_ns=h["aligned_host_ns"],
        flags=tuple(r["flags"]) if r else (),
        figures=dict(r["figures"]) if r else {},
        held=h["held"],
        time_us=h["at_us"],
        residual=None if h["residual"] is None else Residual(h["residual"], residual),
        restore_s=float(r["seconds"]) if r else 0.0,
    )
