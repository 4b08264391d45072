"""Was a camera's event rate limiter at work? What it throws away nobody tells."""

from __future__ import annotations

NEARLY = 0.95
"""Share of the limit from which on a period counts as limited."""
PERIOD_NS = 100_000_000


class LimitWatch:
    """Counts tenths of a second, by host time, in which events came nearly at the limit.

    Attributes:
        tenths: so many so far.
    """

    def __init__(self) -> None:
        self.tenths = 0
        self._since_ns = self._events = 0

    def add(self, events: int, host_ns: int, limit: float | None) -> None:
        """So many more events have come by now; `limit`: in events a second, None or 0 where there is none."""
        if not limit:
            self._since_ns = self._events = 0
            return
        self._events += events
        span = host_ns - (self._since_ns or host_ns)
        if not self._since_ns or span >= PERIOD_NS:
            if span and self._events >= NEARLY * limit * span / 1e9:
                self.tenths += 1
            self._since_ns, self._events = host_ns, 0
