"""How often something happens, where it is seldom, too: a picture every three seconds is 0.33 a second."""

from __future__ import annotations

import time
from collections import deque


class Rate:
    """Things a second over the last `window_s`, measured between the first and the last of them.

    Where they come more seldom than that, the time between the last two tells it; when nothing has come for
    twice as long, it is 0.
    """

    def __init__(self, window_s: float = 2.0) -> None:
        self._window = window_s
        self._seen: deque[tuple[float, int]] = deque()

    def tick(self, now: float | None = None, n: int = 1) -> None:
        """It happened, `n` times since the last call. `now`: seconds of the clock that `hz` is asked by."""
        t = time.monotonic() if now is None else now
        self._seen.append((t, n))
        self._trim(t)

    def hz(self, now: float | None = None) -> float:
        """The rate; 0 when it happened less than twice, or does not happen any more."""
        t = time.monotonic() if now is None else now
        self._trim(t)
        if len(self._seen) < 2:
            return 0.0
        first, (before, _), (last, n) = self._seen[0][0], self._seen[-2], self._seen[-1]
        gap, silent = last - before, t - last
        if silent > max(self._window, 2 * gap):
            return 0.0
        if t - first > self._window:  # which `_trim` leaves to the last two alone
            return n / max(gap, silent, 1e-9)
        return sum(k for _, k in list(self._seen)[1:]) / max(last - first, 1e-9)

    def _trim(self, now: float) -> None:
        while len(self._seen) > 2 and now - self._seen[0][0] > self._window:
            self._seen.popleft()


def per_second(hz: float) -> str:
    """A rate as a figure: one decimal, two where one would hide a slow camera ("25.0", "0.33")."""
    return f"{hz:.2f}" if 0.0 < hz < 0.995 else f"{hz:.1f}"
