"""What was known of the frame camera's clock before the time axis jumped (a seek, a lap of a loop)."""

from __future__ import annotations

from dataclasses import dataclass

from sync.clock import ClockFit
from sync.edges import EdgeLine

# So far may the end of an exposure lie from where the events had come to when its frame came.
NEAR_US = 100_000
# A line through fewer pairs knows the rate less well than the one before it did.
WELL_KNOWN = 16


@dataclass(frozen=True, slots=True)
class EarlierClock:
    """A measured clock that may hold still, and is to be shown by a frame before it is believed.

    After a jump in a recording it does, and to find it anew would take frames that a paused replay never gives.
    After a camera began another count it does not: then edges at both ends of an exposure and a frame that has
    just come, all three where it says, would be a coincidence.

    Attributes:
        fit: the line, device ns → event µs.
        bias_us: by how much pulses are longer than the camera's own exposure times.
    """

    fit: ClockFit
    bias_us: float

    def pair(
        self, start_ns: int, end_ns: int, since_us: int | None, starts: EdgeLine, ends: EdgeLine
    ) -> tuple[int, int] | None:
        """Both edges (µs) of a frame, when they lie where this clock says.

        Args:
            start_ns, end_ns: the frame's stamps.
            since_us: up to where the events had come when it came.
            starts, ends: edges that no frame has taken.
        """
        start, end = self.fit.event_us(start_ns), self.fit.event_us(end_ns) + self.bias_us
        if since_us is None or abs(since_us - end) > NEAR_US:
            return None
        tol = tolerance_us(self.fit, start_ns)
        s, e = starts.nearest(start, tol), ends.nearest(end, tol)
        return None if s is None or e is None or e <= s else (s, e)


def tolerance_us(fit: ClockFit, start_ns: int) -> float:
    """How far an edge may lie from where a clock says, µs."""
    return min(max(60.0, 8.0 * fit.residual_us) + fit.uncertainty_us(start_ns), 400.0)
