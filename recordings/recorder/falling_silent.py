"""Which camera had gone away before a recording ended: what it did not send then is in no count."""

from __future__ import annotations

from dataclasses import dataclass

FLOOR_S = {"events": 6.0, "frames": 1.0}
"""Silence that says nothing yet. Event cameras tell of a still scene by empty packets, but for streams over a
network, which may be silent for 5 s before they are taken for lost."""
PAUSES = 3.0
"""Times the longest pause that a stream has made of itself: slow cameras and triggers set their own pace."""
ONE_ITEM_S = 60.0
"""After a single item nobody knows the stream's pace."""


@dataclass(slots=True)
class _Heard:
    last_s: float
    items: int = 1
    pause_s: float = 0.0


class FallingSilent:
    """Notes when items of each stream were given, by `time.monotonic`. Constant memory."""

    def __init__(self) -> None:
        self._streams: dict[str, _Heard] = {}

    def heard(self, stream: str, at_s: float, *, broken: bool) -> None:
        """An item of "events" or "frames"; `broken`: the stream was interrupted or items lost before it."""
        h = self._streams.get(stream)
        if h is None:
            self._streams[stream] = _Heard(at_s)
            return
        h.items += 1
        if not broken:
            h.pause_s = max(h.pause_s, at_s - h.last_s)
        h.last_s = max(h.last_s, at_s)

    def before(self, end_s: float) -> dict[str, float]:
        """Of the streams that had stopped by then: stream → seconds of silence before it."""
        out: dict[str, float] = {}
        for stream, h in self._streams.items():
            silent = end_s - h.last_s
            longest = ONE_ITEM_S if h.items == 1 else PAUSES * h.pause_s
            if silent > max(FLOOR_S[stream], longest):
                out[stream] = round(silent, 3)
        return out
