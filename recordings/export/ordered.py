"""Events and edges of packets in strict order of time, cut to a span: what files need that hold plain lists."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from capture.packets import EventPacket, Events, Inertial, TriggerEdges
from recordings.recording import RecordingError


@dataclass(slots=True)
class InOrder:
    """Holds back what may still have something before it.

    Attributes:
        from_us, until_us: what lies outside is left out; until is exclusive, None: no limit.
        zero_us: what a person's seconds are counted from.
    """

    from_us: int | None = None
    until_us: int | None = None
    zero_us: int = 0
    _events: list[Events] = field(default_factory=list)
    _edges: list[TriggerEdges] = field(default_factory=list)
    _epoch: int | None = None
    _last: int = -(1 << 62)

    def add(self, p: EventPacket) -> tuple[Events, TriggerEdges]:
        """What is final with this packet: all before its `complete_until_us`.

        Raises:
            RecordingError: the time axis begins anew, or runs back, within the span.
        """
        if self._epoch not in (None, p.epoch) or p.complete_until_us < self._last:
            if self.until_us is not None and self._last >= self.until_us:
                return self._give(self._last)  # the span lies before it
            if self.from_us is not None and self._last <= self.from_us:
                self._events, self._edges = [], []  # the span lies behind it
                self._epoch, self._last = None, p.complete_until_us
        if self._epoch not in (None, p.epoch) or p.complete_until_us < self._last:
            seconds = f"{(self._last - self.zero_us) / 1e6:.6f}".rstrip("0").rstrip(".")
            raise RecordingError(
                f"its time begins anew after {seconds} s, which one file cannot hold; export the parts one by "
                f"one: --until {seconds}, then --from {seconds} into another file"
            )
        self._epoch, self._last = p.epoch, p.complete_until_us
        self._events.append(p.events)
        self._edges.append(p.triggers)
        return self._give(p.complete_until_us)

    def finish(self) -> tuple[Events, TriggerEdges] | None:
        """The rest; None when there never was a packet."""
        return self._give(1 << 62) if self._events else None

    def within(self, samples: Inertial) -> Inertial:
        """Those of the inertial samples that do not lie outside."""
        keep = np.ones(len(samples), np.bool_)
        if self.from_us is not None:
            keep &= samples.t >= self.from_us
        if self.until_us is not None:
            keep &= samples.t < self.until_us
        return Inertial.of(samples.t[keep], samples.values[keep])

    def _give(self, before_us: int) -> tuple[Events, TriggerEdges]:
        events = Events.concatenate(self._events)
        t = np.concatenate([e.t for e in self._edges])
        edges = TriggerEdges(t, np.concatenate([e.rising for e in self._edges]))
        n, m = (int(np.searchsorted(a, before_us)) for a in (events.t, edges.t))
        self._events, self._edges = [events[n:]], [TriggerEdges(edges.t[m:], edges.rising[m:])]
        out, cut = events[:n], slice(0, m)
        if self.from_us is not None or self.until_us is not None:
            low = -(1 << 62) if self.from_us is None else self.from_us
            high = 1 << 62 if self.until_us is None else self.until_us
            out = out.between(low, high)
            first, last = np.searchsorted(edges.t[:m], [low, high])
            cut = slice(int(first), int(max(first, last)))
        return out, TriggerEdges(edges.t[:m][cut], edges.rising[:m][cut])
