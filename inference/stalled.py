"""Does a network's call still come back? One that waits for a GPU that has gone never does, and says nothing.

The restoring thread says when it begins and ends a job; the caller's thread looks on, and gives the job up
where it takes far longer than any before it. Compiling for a new size may take minutes: it has a time of its
own, and so has a network's first job, which may compile, too.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from capture.errors import HalfmirrorError

SLOW_S = 5.0
"""From then on a person is told, unless the network always takes that long."""
STALLED_S, TIMES_SLOWEST = 120.0, 20.0
"""A job is given up after so long, and so many times what its pictures took at worst so far."""
FIRST_S = 600.0
"""The same for what nothing was measured of: a network's first job, or what it prepares for a new size."""
FIRST_PICTURES = 10
"""So many may a first job be to give in that time, and more in as much more."""
_LOOKS_S = 1.0
"""Between two looks, at most: a process that was held up itself proves nothing about its network."""


class StalledError(HalfmirrorError):
    """A network's call has not come back; only a new process gets out of it."""


class JobWatch:
    """How long the job in hand has lasted. `begin`, `end` and `forget` are one thread's, `look` is another's.

    Args:
        slow_s, stalled_s, first_s: as the module's constants.
        clock: seconds, without jumps.
    """

    def __init__(
        self,
        slow_s: float = SLOW_S,
        stalled_s: float = STALLED_S,
        first_s: float = FIRST_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._slow_s, self._stalled_s, self._first_s, self._clock = slow_s, stalled_s, first_s, clock
        self._job: tuple[int, int] | None = None  # its number, and how many pictures it is to give
        self._number = 0
        self._began = 0.0
        self._measures = False
        self._slowest_s: float | None = None  # of one picture
        self._seen: tuple[object, bool] = (None, False)
        self._lasted_s = self._looked = 0.0

    def begin(self, pictures: int) -> None:
        """A job of so many pictures is in hand."""
        self._number += 1
        self._began, self._measures = self._clock(), True
        self._job = (self._number, max(1, pictures))

    def end(self, *, restored: bool) -> None:
        """It is done; only one that restored something tells how long that takes."""
        job, self._job = self._job, None
        if job is not None and restored and self._measures:
            took_s = (self._clock() - self._began) / job[1]
            self._slowest_s = max(took_s, self._slowest_s or 0.0)

    def forget(self) -> None:
        """Another network, or other options: what was measured holds no more."""
        self._slowest_s, self._measures = None, False

    def look(self, *, preparing: bool) -> float:
        """Seconds for which the job in hand has lasted when a person is to hear of it, else 0.

        `preparing`: the network prepares for a new size just now.

        Raises:
            StalledError: it will not come back.
        """
        job, slowest, now = self._job, self._slowest_s, self._clock()
        step, self._looked = min(now - self._looked, _LOOKS_S), now
        if (job, preparing) != self._seen:
            self._seen, self._lasted_s = (job, preparing), 0.0
        elif job is not None:
            self._lasted_s += step
        if job is None or preparing or slowest is None:
            pictures = FIRST_PICTURES if job is None else job[1]
            least, usual = self._first_s * max(1.0, pictures / FIRST_PICTURES), 0.0
        else:
            least, usual = self._stalled_s, slowest * job[1]
        if self._lasted_s > least + TIMES_SLOWEST * usual:
            raise StalledError(
                f"has not come back from one exposure for {self._lasted_s:.0f} s and is given up"
            )
        return self._lasted_s if self._lasted_s > max(self._slow_s, 3 * usual) and not preparing else 0.0
