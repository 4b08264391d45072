"""Events of a file that run back in time: strays are left out and counted, a step of the clock is told."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

# Events that run back by more are no jitter: the clock was set back, or the times before were damage.
STEP_BACK_US = 1_000


class Step(NamedTuple):
    """Events ran back from `high_us` to `low_us`; `on_us`: the first one behind that goes on, None: not yet."""

    low_us: int
    high_us: int
    on_us: int | None


class Backwards:
    """Tells a step back from strays: behind a step, the events that run back cover some time themselves.

    Attributes:
        last: the last step; only meaningful once `look` gave True.
    """

    def __init__(self) -> None:
        self.last = Step(0, 0, None)
        self._any = False
        # First and last time of events that run back and may go on in the next batch.
        self._open: tuple[int, int] | None = None

    def over(self) -> None:
        """A batch came in which nothing runs back."""
        self._open = None

    def look(
        self,
        t: NDArray[np.int64],
        x: NDArray[Any],
        y: NDArray[Any],
        size: tuple[int, int],
        floor_us: int | None,
    ) -> bool:
        """Whether there is a step in a batch, which `last` then tells.

        Args:
            t, x, y: (N,) the batch, in order of the file.
            size: (width, height) of the sensor; what lies outside tells no time.
            floor_us: the newest time before it.
        """
        t = t[(x >= 0) & (x < size[0]) & (y >= 0) & (y < size[1])]
        if not len(t):
            return False
        newest = np.maximum.accumulate(t)
        if floor_us is not None:
            newest = np.maximum(newest, floor_us)
        far = np.flatnonzero(newest - t > STEP_BACK_US)
        if not len(far):
            self._open = None
            return False
        ends_before = np.flatnonzero(np.diff(far) > 1) + 1
        begins = np.concatenate([[0], ends_before])
        lows, highs = np.minimum.reduceat(t[far], begins), np.maximum.reduceat(t[far], begins)
        if self._open is not None and far[0] == 0:
            lows[0], highs[0] = min(lows[0], self._open[0]), max(highs[0], self._open[1])
        open_end = far[-1] == len(t) - 1
        self._open = (int(lows[-1]), int(highs[-1])) if open_end else None
        steps = np.flatnonzero(highs - lows >= STEP_BACK_US)
        if not len(steps):
            return False
        behind = int(far[[*ends_before, len(far)][steps[-1]] - 1]) + 1
        on = np.flatnonzero(t[behind:] >= newest[behind - 1])
        self._any = True
        self.last = Step(
            int(lows[steps].min()), int(newest[behind - 1]), int(t[behind + on[0]]) if len(on) else None
        )
        return True

    def unclear(self, start_us: int, end_us: int) -> bool:
        """An exposure lies where two stretches of events claim the same time."""
        return self._any and start_us < self.last.high_us and end_us > self.last.low_us
