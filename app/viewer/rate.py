"""How often something happens."""

from __future__ import annotations

import time
from collections import deque


class Rate:
    """Events a second over the last window, measured between the first and the last of them."""

    def __init__(self, window_s: float = 2.0) -> None:
        self._window = window_s
        self._times: deque[float] = deque()

    def tick(self, now: float | None = None) -> None:
        """It happened."""
        t = time.monotonic() if now is None else now
        self._times.append(t)
        self._trim(t)

    def hz(self, now: float | None = None) -> float:
        """The rate, 0 when it happened less than twice within the window."""
        self._trim(time.monotonic() if now is None else now)
        if len(self._times) < 2:
            return 0.0
        return (len(self._times) - 1) / max(self._times[-1] - self._times[0], 1e-9)

    def _trim(self, now: float) -> None:
        while self._times and now - self._times[0] > self._window:
            self._times.popleft()
