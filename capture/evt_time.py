"""Time in Prophesee's encodings: high parts that come now and then, wrap round, and may be damaged.

A stream carries the upper bits of time in words of their own (DAT: the whole time in every event). They wrap
round: EVT3 after 16.8 s, EVT2 and 2.1 after 4.8 h, DAT after 71 min. The distance between neighbours tells a
wrap from anything else. A value that only this word claims, while the next goes on where the last one was, is a
damaged word: it is passed over and counted, since one wrong bit would otherwise throw away seconds of events.

The state of a decoder is an int64 array; the names below are its places. -1 stands for "not known yet".
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from capture.compiled import njit

I64 = NDArray[np.int64]

HIGH = 0  # upper part of the time, wraps counted in, in units of the encoding's high word
LOW = 1  # EVT3: lower part
ROW = 2  # EVT3: row of the next events
BASE = 3  # EVT3: column of the next vector
POLARITY = 4  # EVT3: polarity of the next vector
VERSION = 5  # DAT: 1 or 2
EDGES = 6  # trigger words met
IGNORED = 7  # words that carry neither events nor edges nor time (0xE, 0xF and the like)
UNKNOWN = 8  # words of a type that does not exist
UNTIMED = 9  # events before the first time, row or column
BAD_TIME = 10  # high words passed over as damaged
BACKWARDS = 11  # places where time really runs backwards
STATE_SIZE = 12

# See `settle`; 300 times 33 ms are 10 s, in DAT 300 times 10 ms 3 s. EVT3 wraps before that.
FAR = 300


def new_state(version: int = 0) -> I64:
    """The state before the first word."""
    state = np.zeros(STATE_SIZE, np.int64)
    state[[HIGH, LOW, ROW, BASE]] = -1
    state[VERSION] = version
    return state


@njit(nogil=True)
def settle(high: int, value: int, following: int, bits: int, small: int) -> tuple[int, int]:
    """The high part behind a high word.

    Args:
        high: before, wraps counted in; -1 unknown.
        value: of the word, `bits` wide.
        following: value of the next high word, -1 when there is none.
        bits: width of the field.
        small: steps forward up to this are never doubted. Those beyond `FAR` times as much must be borne out by
            the next high word, so that a run of garbage does not lead hours into the future.

    Returns:
        the new high part, and 0 = forward, 1 = damaged and passed over, 2 = backwards.
    """
    mask = (1 << bits) - 1
    half = 1 << (bits - 1)
    if high < 0:
        if following >= 0 and ((following - value) & mask) >= half:
            return high, 1
        return value, 0
    step = (value - high) & mask
    if step <= small:
        return high + step, 0
    near = following >= 0 and ((following - high) & mask) <= 2 * small
    after = (following - value) & mask if following >= 0 else half
    if step > FAR * small and after > FAR * small:
        return high, 1
    if step < half:
        if near and after > small:
            return high, 1
        return high + step, 0
    back = mask + 1 - step
    if near or following < 0:
        return high, 1
    if back > high:
        return high + step, 0  # before the beginning of time: a long pause instead
    return high - back, 2


@njit(nogil=True)
def next_high(heads: NDArray[Any], at: int, shift: int) -> int:
    """Value of the first high word from `at` on; -1 when there is none. Its type 8 stands above bit `shift`."""
    mask = (1 << shift) - 1
    for i in range(at, len(heads)):
        v = np.int64(heads[i])
        if v >> shift == 8:
            return int(v & mask)
    return -1


@njit(nogil=True)
def doubtful(heads: NDArray[Any], stop: int, high: int, shift: int, small: int) -> bool:
    """Whether the last high word of `heads[:stop]` is one that only the next high word can bear out.

    Args:
        heads: words, see `next_high`.
        stop: where they end.
        high: the high part before the first, -1 unknown.
        shift, small: as at `scan`.
    """
    mask = (1 << shift) - 1
    last = np.int64(-1)
    for j in range(stop):
        v = np.int64(heads[stop - 1 - j])
        if v >> shift == 8:
            value = v & mask
            if last < 0:
                last = value
            elif value != last:
                return bool(((last - value) & mask) > small)
    if last < 0:
        return False
    return bool(high < 0 or ((last - high) & mask) > small)


@njit(nogil=True)
def scan(heads: NDArray[Any], stop: int, state: I64, shift: int, small: int) -> tuple[int, int]:
    """Follow the high words of a block; count triggers.

    Returns:
        place of the first good high word in `heads[:stop]` and the high part from there on; (-1, -1) if none.
    """
    mask = (1 << shift) - 1
    high = state[HIGH]
    first, first_high = -1, -1
    for i in range(stop):
        v = np.int64(heads[i])
        kind = v >> shift
        if kind == 8:
            value = v & mask
            verdict = 0
            if value != (high & mask) or high < 0:
                following = -1
                if high < 0 or ((value - high) & mask) > small:
                    following = next_high(heads, i + 1, shift)
                high, verdict = settle(high, value, following, shift, small)
            if first < 0 and verdict != 1:
                first, first_high = i, high
        elif kind == 10:
            state[EDGES] += 1
    state[HIGH] = high
    return first, first_high


@njit(nogil=True)
def scan_dat(heads: NDArray[np.uint32], stop: int, state: I64, shift: int, small: int) -> tuple[int, int]:
    """As `scan` for DAT, where every item carries its time."""
    high = state[HIGH]
    first, first_high = -1, -1
    for i in range(stop):
        following = np.int64(heads[i + 1]) if i + 1 < len(heads) else np.int64(-1)
        high, verdict = settle(high, np.int64(heads[i]), following, 32, small)
        if first < 0 and verdict != 1:
            first, first_high = i, high
    state[HIGH] = high
    return first, first_high
