"""What an export cannot say in its format: where events are missing, which exposures lack some of theirs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from capture.packets import EventPacket
from sync.exposure import AlignedExposure

# A list for a person to look at; the number beside it is whole.
_LISTED = 20


@dataclass(slots=True)
class MissingEvents:
    """Counted while an export runs.

    Attributes:
        gaps: places where events are missing, nobody knows how many.
        first_us: the first event or end of a packet behind the first of them, on the input's axis.
        incomplete: exposures that were written and lack part of their events.
        frames: the first of their numbers in the input.
    """

    gaps: int = 0
    first_us: int | None = None
    incomplete: int = 0
    frames: list[int] = field(default_factory=list)
    _begin_us: int | None = None
    _broken: bool = False

    def packet(self, packet: EventPacket, zero_us: int | None, from_us: int, until_us: int | None) -> None:
        """Look at the next packet.

        Args:
            zero_us: the limits count from here; None: from the first packet's first event or edge.
            from_us, until_us: gaps outside of them are passed over; None: no limit.
        """
        times = [int(a[0]) for a in (packet.events.t, packet.triggers.t) if len(a)]
        at = min(times, default=packet.complete_until_us)
        first = self._begin_us is None
        if self._begin_us is None:
            self._begin_us = at if zero_us is None else zero_us
        since = at - self._begin_us
        within = since >= from_us and (until_us is None or since <= until_us)
        # Before the first packet nothing was promised. What the camera dropped is a place of its own each time.
        lost = (packet.gap and not self._broken) or packet.dropped > 0
        if lost and not first and within:
            self.gaps += 1
            self.first_us = at if self.first_us is None else self.first_us
        self._broken = packet.gap

    def exposure(self, e: AlignedExposure) -> None:
        """Look at an exposure that is written."""
        if not e.exposure_complete:
            self.incomplete += 1
            if len(self.frames) < _LISTED:
                self.frames.append(e.frame.sequence)

    def notes(self) -> list[str]:
        """A line for each kind."""
        notes = []
        if self.gaps:
            places = "1 place" if self.gaps == 1 else f"{self.gaps} places"
            at = ((self.first_us or 0) - (self._begin_us or 0)) / 1e6
            first = "before" if self.gaps == 1 else "first before"
            notes.append(f"events are missing at {places}, {first} {at:.3f} s, which the format cannot say")
        if self.incomplete:
            n = "1 frame lacks" if self.incomplete == 1 else f"{self.incomplete} frames lack"
            more = ", …" if self.incomplete > len(self.frames) else ""
            numbers = ", ".join(map(str, self.frames))
            notes.append(f"{n} part of the events of its exposure: {numbers}{more} of the input")
        return notes

    def report(self) -> dict[str, Any]:
        """For `export.json`."""
        return {
            "event_gaps": self.gaps, "first_event_gap_us": self.first_us,
            "frames_lacking_events": self.incomplete, "frames_lacking_events_first": self.frames,
        }  # fmt: skip
