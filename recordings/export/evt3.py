"""Encodes events and trigger edges as Prophesee EVT3, chunk by chunk, as a RAW file holds them.

EVT3 is a run of 16-bit words, type in bits 15:12 (Prophesee's description of the format): row 0x0, single event
0x2, base of vectors 0x3, vector of 12 pixels 0x4, time low 0x6, time high 0x8, trigger 0xA. Time has 24 bits in
two halves, so it wraps every 16.78 s; readers find the wraps by the steps of the high half, some only where
none is left out. A camera therefore tells every one, and so does this: half a kilobyte for a second in which
nothing happens.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from capture.compiled import njit
from capture.errors import UsageError
from capture.packets import Events, TriggerEdges

MAX_SIDE = 2048
"""Columns and rows have 11 bits."""
WRAP_US = 1 << 24
LONGEST_PAUSE_US = 24 * 3600 * 1_000_000
_VECTOR = 12
# From so many events on a vector (two words) is shorter than single events.
_WORTH = 3
_HIGH, _LOW, _ROW, _NEWEST = range(4)


def header(width: int, height: int, *, camera: str = "", zero_us: int = 0) -> bytes:
    """The text in front of the words of a RAW file.

    Args:
        width, height: of the sensor.
        camera: its name, for people.
        zero_us: what was subtracted from all times; kept in a line of its own, by which this program's reader
            adds it again and which others pass over.
    """
    lines = [f"% camera {name}"] if (name := " ".join(camera.split())) else []
    lines += [f"% time_zero_us {zero_us}"] if zero_us else []
    lines += ["% evt 3.0", f"% format EVT3;height={height};width={width}", f"% geometry {width}x{height}"]
    text = "\n".join([*lines, "% end\n"])
    return text.encode("ascii", "replace")


class Evt3Encoder:
    """Encodes what follows on one another; what it has told already is not told again.

    Args:
        width, height: of the sensor, at most 2048 each way.
        zero_us: subtracted from every time. The first time that remains must lie before the first wrap
            (`WRAP_US`), since a reader cannot know how often the time went round before.
        channel: of the trigger input, 0…15.

    Raises:
        UsageError: a sensor or a channel that the format cannot name.
    """

    def __init__(self, width: int, height: int, *, zero_us: int = 0, channel: int = 0) -> None:
        if not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE):
            raise UsageError(
                f"EVT3 holds sensors of at most {MAX_SIDE}×{MAX_SIDE} pixels, not {width}×{height}"
            )
        if not 0 <= channel <= 15:
            raise UsageError(f"trigger channel {channel} is out of range; EVT3 has 0 to 15")
        self._size, self._zero_us, self._channel = (width, height), zero_us, channel
        self._state = np.array([-1, -1, -1, 0], np.int64)

    def encode(self, events: Events, triggers: TriggerEdges | None = None) -> bytes:
        """The words of a chunk: events and edges merged by time, at equal times events first.

        Raises:
            UsageError: an event or edge earlier than one of an earlier chunk or than `zero_us`, later than the
                first wrap when it is the very first, of another sensor, or outside of it.
        """
        edges = triggers or TriggerEdges.empty()
        if (events.width, events.height) != self._size:
            raise UsageError(f"events of a {events.width}×{events.height} sensor do not follow {self._size}")
        n, m = len(events), len(edges)
        if not n + m:
            return b""
        t, et = events.t - self._zero_us, edges.t - self._zero_us
        newest = int(self._state[_NEWEST])
        first = int(min(a[0] for a in (t, et) if len(a)))
        last = int(max(a[-1] for a in (t, et) if len(a)))
        if first < newest or bool((t[1:] < t[:-1]).any()):
            raise UsageError(
                f"events at {first + self._zero_us} µs come behind {newest + self._zero_us} µs; "
                "EVT3 needs them in order of time"
            )
        if self._state[_HIGH] < 0 and first >= WRAP_US:
            raise UsageError(
                f"the first time is {first} µs; EVT3 begins before {WRAP_US} µs: give another zero"
            )
        if n and (int(events.x.max()) >= self._size[0] or int(events.y.max()) >= self._size[1]):
            raise UsageError(f"events lie outside of the {self._size[0]}×{self._size[1]} sensor")
        if last - max(0, newest) > LONGEST_PAUSE_US:
            raise UsageError(
                f"times go on by {(last - max(0, newest)) / 86_400e6:.1f} days at {last + self._zero_us} µs; "
                "EVT3 has to tell every 16.8 s of it: write the parts one by one"
            )
        # At worst row, low and the item for each, and all high words.
        room = 3 * (n + m) + ((last - newest) >> 12) + 2
        out = np.empty(room, np.uint16)
        used = _encode(
            t, events.x, events.y, events.p, et, edges.rising, self._channel << 8, out, self._state
        )  # fmt: skip
        return out[:used].astype("<u2", copy=False).tobytes()


def encode(events: Events, triggers: TriggerEdges | None = None, *, zero_us: int = 0) -> bytes:
    """All words of a short stream at once, without a header. See `Evt3Encoder.encode`."""
    return Evt3Encoder(events.width, events.height, zero_us=zero_us).encode(events, triggers)


@njit(nogil=True)
def _tell(now: int, out: NDArray[np.uint16], at: int, state: NDArray[np.int64]) -> int:
    """The words that bring the time to `now`; where the next word goes."""
    high, low = now >> 12, now & 0xFFF
    if high != state[_HIGH]:
        step = high if state[_HIGH] < 0 else state[_HIGH] + 1
        while step <= high:
            out[at] = 0x8000 | (step & 0xFFF)
            at += 1
            step += 1
        state[_HIGH], state[_LOW] = high, -1
    if low != state[_LOW]:
        out[at] = 0x6000 | low
        at += 1
        state[_LOW] = low
    state[_NEWEST] = now
    return at


@njit(nogil=True)
def _encode(
    t: NDArray[np.int64], x: NDArray[np.uint16], y: NDArray[np.uint16], p: NDArray[np.bool_],
    et: NDArray[np.int64], rising: NDArray[np.bool_], channel: int,
    out: NDArray[np.uint16], state: NDArray[np.int64],
) -> int:  # fmt: skip
    """Returns the number of words."""
    n, m = len(t), len(et)
    k = j = at = 0
    while k < n or j < m:
        if j < m and (k == n or et[j] < t[k]):
            at = _tell(et[j], out, at, state)
            out[at] = 0xA000 | channel | np.int64(rising[j])
            at += 1
            j += 1
            continue
        at = _tell(t[k], out, at, state)
        if y[k] != state[_ROW]:
            state[_ROW] = y[k]
            out[at] = y[k]
            at += 1
        on = np.int64(p[k]) << 11
        # Events of the same moment, row and polarity from left to right may share words.
        end = k + 1
        while end < n and t[end] == t[k] and y[end] == y[k] and p[end] == p[k] and x[end] > x[end - 1]:
            end += 1
        while k < end:
            base: Any = np.int64(x[k])
            last = k
            while last < end and x[last] < base + _VECTOR:
                last += 1
            if last - k < _WORTH:
                out[at] = 0x2000 | on | base
                at += 1
                k += 1
                continue
            out[at] = 0x3000 | on | base
            at += 1
            while k < end and x[k] < base + _VECTOR:
                mask = 0
                while k < end and x[k] < base + _VECTOR:
                    mask |= 1 << (np.int64(x[k]) - base)
                    k += 1
                out[at] = 0x4000 | mask
                at += 1
                base = base + _VECTOR  # a reader moves on by itself
    return at
