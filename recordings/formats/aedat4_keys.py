"""The order in which messages of an AEDAT4 file's streams are given to be merged."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from recordings.sandbox_child import Reply

Keyed = tuple[int, Reply]


class Key:
    """The order in which messages of one stream are given: their times, never falling.

    A time outside the recording's span (damage) does not count, else one wild stamp would put all that
    follows behind the other streams.
    """

    def __init__(self, plausible: tuple[int, int]) -> None:
        self._low, self._high = plausible
        self._key = self._low

    def reply(self, t: int, kind: str, header: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Keyed:
        """A message that begins at `t`."""
        if self._low <= t <= self._high:
            self._key = max(self._key, t)
        return self._key, Reply(kind, {**header, "key": self._key}, arrays)

    def damage(self, stream: str, text: str) -> Keyed:
        """A packet that could not be read."""
        return self._key, Reply("damage", {"stream": stream, "text": text, "key": self._key}, {})
