"""The edges of one kind, start or end of exposures, that have not found their frames yet."""

from __future__ import annotations

from bisect import bisect_left, insort

import numpy as np
from numpy.typing import NDArray

MAX_EDGES = 4096  # per line; a noisy input may deliver a million per second


class EdgeLine:
    """Points in time of one kind of edge, each free or used; bounded."""

    def __init__(self) -> None:
        self._free: list[int] = []
        self.unmatched = 0

    def __len__(self) -> int:
        return len(self._free)

    def add(self, t_us: int) -> None:
        """Take one edge; drops and counts the oldest when there are too many."""
        insort(self._free, t_us)
        if len(self._free) > MAX_EDGES:
            del self._free[0]
            self.unmatched += 1

    def array(self) -> NDArray[np.int64]:
        """All free edges, sorted."""
        return np.array(self._free, dtype=np.int64)

    def nearest(self, at_us: float, within_us: float) -> int | None:
        """The free edge nearest to a time, None when none lies within reach."""
        i = bisect_left(self._free, at_us)
        near = [t for t in self._free[max(0, i - 1) : i + 1] if abs(t - at_us) <= within_us]
        return min(near, key=lambda t: abs(t - at_us), default=None)

    def any_before(self, t_us: float) -> bool:
        """A free edge lies before this time."""
        return bool(self._free) and self._free[0] < t_us

    def use(self, t_us: int) -> None:
        """Mark an edge as matched."""
        del self._free[bisect_left(self._free, t_us)]

    def discard_before(self, t_us: float) -> None:
        """Give up edges before a time; they are counted as unmatched."""
        n = bisect_left(self._free, t_us)
        self.unmatched += n
        del self._free[:n]
