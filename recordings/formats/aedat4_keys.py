"""The order in which messages of an AEDAT4 file's streams are given to be merged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recordings.sandbox_child import Reply

# Events of one time lie together: so many of the last ones are looked at first.
_TAIL = 1024

Keyed = tuple[int, Reply]


class Key:
    """The order in which messages of one stream are given: their times, never falling.

    A time outside the recording's span (damage) does not count, else one wild stamp would put all that
    follows behind the other streams.
    """

    def __init__(self, plausible: tuple[int, int]) -> None:
        self._low, self._high = plausible
        self._key = self._low

    def reply(
        self, t: int, kind: str, header: dict[str, Any], arrays: dict[str, NDArray[Any]],
        records: Sequence[NDArray[np.void]] = (),
    ) -> Keyed:  # fmt: skip
        """A message that begins at `t`."""
        if self._low <= t <= self._high:
            self._key = max(self._key, t)
        return self._key, Reply(kind, {**header, "key": self._key}, arrays, records)

    def damage(self, stream: str, text: str, behind_us: int | None = None) -> Keyed:
        """A packet that could not be read; `behind_us`: the last time that was, None: none, or not known."""
        if behind_us is not None and self._low <= behind_us <= self._high:
            self._key = max(self._key, behind_us)
        return self._key, Reply("damage", {"stream": stream, "text": text, "key": self._key}, {})


class Reached:
    """How far a stream's events were given: where another reader would have to go on.

    Attributes:
        time_us: the last plausible time, None before the first one.
        given: how many events of that time were given, which come again.
    """

    def __init__(self, plausible: tuple[int, int]) -> None:
        self._low, self._high = plausible
        self.time_us: int | None = None
        self.given = 0

    def note(self, t: NDArray[np.int64]) -> None:
        """These were given, in order of the file."""
        if not self._low <= int(t[-1]) <= self._high:  # damage
            t = t[(t >= self._low) & (t <= self._high)]
            if not len(t):
                return
        last = int(t[-1])
        if self.time_us is None or last >= self.time_us:
            before = self.given if last == self.time_us else 0
            n = int(np.count_nonzero(t[-_TAIL:] == last))
            if n == _TAIL:
                n = int(np.count_nonzero(t == last))
            self.time_us, self.given = last, before + n
