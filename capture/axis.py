"""One rising time axis out of a device clock that may be reset, in mid-stream or while the camera was away.

A camera that is plugged in again, or whose clock is set to 0, would send the whole program back in time. So
what it says is shifted from then on, events, edges and frames of one device alike, to go on where it was plus
the host time that has passed. The device's own stamp is the time minus `Axis.shift_us`.
"""

from __future__ import annotations

BACK_US = 100_000
"""A stream that steps back further than this follows a clock that was reset; less is disorder."""
ACROSS_US = 2_000_000
"""The same between the first item of a stream and the others: a frame comes up to a second after it began."""
AHEAD_US = 3600 * 1_000_000
"""So is one that leaps forward by an hour, past all streams: one that paused comes back to where they are."""

# Where the axis of a camera stood when it was closed, by its name: (time in µs, host time in ns).
_left: dict[str, tuple[int, int]] = {}


class Axis:
    """The time axis of one device with any number of streams.

    Streams arrive side by side, so after a jump of one of them another may still deliver from before it.

    Args:
        name: of the camera; another `Axis` of this name in this process goes on where the last one was.
        shift_us: added to the device's stamps at first.

    Attributes:
        shift_us: added to them now.
        resets: jumps of the device's clock that were met.
    """

    def __init__(self, name: str, shift_us: int = 0) -> None:
        self.name, self.shift_us, self.resets = name, shift_us, 0
        self._newest: dict[str, int] = {}  # raw, by stream
        self._behind: dict[str, tuple[int, int]] = {}  # where the clock was before it jumped, raw; its shift
        self._at = _left.get(name)

    def place(self, stream: str, first_us: int, last_us: int, host_ns: int) -> tuple[int, bool]:
        """What to add to the stamps of an item of these times, and whether the clock jumped before it."""
        if stream in self._behind:
            # Compared with where the axis is now, not where it began: else a stream that is silent until the
            # clock says again what it said before the jump would stay behind for good.
            old, shift = self._behind[stream]
            if abs(first_us - old) < abs(first_us - max(self._newest.values())):
                return shift, False
            del self._behind[stream]
        newest, back = self._newest.get(stream), BACK_US
        furthest = max(self._newest.values(), default=None)
        if newest is None and furthest is not None:
            newest, back = furthest, ACROSS_US
        jumped = False
        if newest is not None and furthest is not None:
            jumped = first_us < newest - back or first_us > furthest + AHEAD_US
        elif self._at is not None:
            jumped = first_us + self.shift_us <= self._at[0]
        if jumped and self._at is not None:
            at, seen_ns = self._at
            before = at - self.shift_us, self.shift_us
            self.shift_us = at + max(1, (host_ns - seen_ns) // 1000) - first_us
            self.resets += 1
            self._behind = {s: before for s in self._newest if s != stream}
            self._newest = {stream: last_us}
        self._newest[stream] = max(last_us, self._newest.get(stream, last_us))
        time_us = last_us + self.shift_us
        if self._at is None or time_us > self._at[0]:
            self._at = _left[self.name] = time_us, host_ns
        return self.shift_us, jumped and newest is not None
