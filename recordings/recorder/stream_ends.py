"""Which stream fell silent before the end of a recording: a camera that went away and was not back.

An interruption is counted at the first item behind it. Where none comes any more, only the time at which the
last one came tells it.
"""

from __future__ import annotations

from dataclasses import dataclass

LEAST_S = 1.0
"""No stream counts as silent before."""
_TIMES = 3  # the longest wait between two of its items so far: cameras may be slow, or wait for their trigger
_ALONE_S = 5.0  # of a stream of one item, whose pace nobody knows


@dataclass(slots=True)
class _Heard:
    last_ns: int
    longest_ns: int = 0


class StreamEnds:
    """By arrival (`time.monotonic_ns`), so a disk that is behind makes no stream silent."""

    def __init__(self) -> None:
        self._heard: dict[str, _Heard] = {}

    def heard(self, stream: str, at_ns: int, *, after_gap: bool) -> None:
        """An item came; `after_gap`: behind an interruption, which says nothing of the camera's pace.

        0 for a time that is not known: nothing is concluded from it.
        """
        if at_ns <= 0:
            return
        h = self._heard.get(stream)
        if h is None:
            self._heard[stream] = _Heard(at_ns)
            return
        if not after_gap:
            h.longest_ns = max(h.longest_ns, at_ns - h.last_ns)
        h.last_ns = max(h.last_ns, at_ns)

    def silent_s(self, now_ns: int) -> dict[str, float]:
        """Of each stream that is silent for longer than its pace explains, for how many seconds."""
        silent = {}
        for stream, h in self._heard.items():
            pace_s = _TIMES * h.longest_ns / 1e9 if h.longest_ns else _ALONE_S
            since_s = (now_ns - h.last_ns) / 1e9
            if since_s > max(LEAST_S, pace_s):
                silent[stream] = round(since_s, 1)
        return silent
