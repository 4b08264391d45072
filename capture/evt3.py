"""Decoder of EVT3: one block of words in, events and trigger edges out. Files and cameras share it.

The signature is that of all decoders in `recordings.formats.evt_decoders`, which says what the arguments are.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from capture.compiled import njit
from capture.evt_time import (
    BACKWARDS,
    BAD_TIME,
    BASE,
    EDGES,
    HIGH,
    I64,
    IGNORED,
    LOW,
    POLARITY,
    ROW,
    UNKNOWN,
    UNTIMED,
    next_high,
    settle,
)

U8 = NDArray[np.uint8]
U16 = NDArray[np.uint16]
Bool = NDArray[np.bool_]

ROOM, ROOM_EDGES = 1 << 17, 1 << 12
"""Events and edges that one run holds at most."""
_NO_TAILS = np.empty(0, np.uint16)
SMALL_EVT3 = 8
"""Steps of the high part that are never doubted: about 33 ms."""

# Index of the only bit set in a 32-bit number, by its product with a de Bruijn sequence.
BIT = np.zeros(32, np.int64)
for _k in range(32):
    BIT[((0x077CB531 << _k) & 0xFFFFFFFF) >> 27] = _k


@njit(nogil=True)
def time_word(heads: NDArray[Any], i: int, high: int, value: int, shift: int, small: int, state: I64) -> int:
    """The high part behind the high word at `i`; what is wrong with it is counted."""
    following = -1
    if high < 0 or ((value - high) & ((1 << shift) - 1)) > small:
        following = next_high(heads, i + 1, shift)
    high, verdict = settle(high, value, following, shift, small)
    if verdict == 1:
        state[BAD_TIME] += 1
    elif verdict == 2:
        state[BACKWARDS] += 1
    return high


@njit(nogil=True)
def evt3(
    heads: U16, tails: U16, start: int, stop: int, state: I64,
    t: I64, x: U16, y: U16, p: Bool, et: I64, rising: Bool, channel: U8,
) -> tuple[int, int, int]:  # fmt: skip
    """EVT3: 16-bit words, type in bits 15:12. Time 24 bits: high 12 (0x8), low 12 (0x6).

    A step of the high part starts the low part anew at 0.
    """
    high, low, row = state[HIGH], state[LOW], state[ROW]
    base, on = state[BASE], state[POLARITY]
    now = (high << 12) | low if high >= 0 and low >= 0 else np.int64(-1)
    n = m = 0
    i = start
    room, room_edges = len(t) - 12, len(et)
    while i < stop and n <= room and m < room_edges:
        w = np.int64(heads[np.uint32(i)])
        kind = w >> 12
        if kind == 2:  # one event
            if now < 0 or row < 0:
                state[UNTIMED] += 1
            else:
                # Indices that are unsigned spare numba's test for negative ones.
                k = np.uint32(n)
                t[k], x[k], y[k], p[k] = now, w & 0x7FF, row, (w & 0x800) != 0
                n += 1
        elif kind == 0:
            row = w & 0x7FF
            # Most rows are told for the event that follows at once. Taking both words together saves a branch
            # that is hard to guess: a fifth of the time on noise.
            if now >= 0 and i + 1 < stop:
                v = np.int64(heads[np.uint32(i + 1)])
                if v >> 12 == 2:
                    k = np.uint32(n)
                    t[k], x[k], y[k], p[k] = now, v & 0x7FF, row, (v & 0x800) != 0
                    n += 1
                    i += 1
        elif kind == 6:
            low = w & 0xFFF
            if high >= 0:
                now = (high << 12) | low
        elif kind == 4 or kind == 5:  # a vector of 12 or 8 pixels
            bits = w & 0xFFF if kind == 4 else w & 0xFF
            if now < 0 or row < 0 or base < 0:
                state[UNTIMED] += 1
            else:
                while bits:
                    lowest = bits & -bits
                    t[n] = now
                    x[n] = base + BIT[((lowest * 0x077CB531) & 0xFFFFFFFF) >> 27]
                    y[n] = row
                    p[n] = on != 0
                    n += 1
                    bits ^= lowest
                # Held below 2^16, so that a damaged run of vectors stays outside every sensor.
                base += 12 if kind == 4 else 8
                if base > 0xF000:
                    base = np.int64(0xF000)
        elif kind == 3:
            base, on = w & 0x7FF, w & 0x800
        elif kind == 8:
            if high < 0 or w & 0xFFF != high & 0xFFF:
                new = time_word(heads, i, high, w & 0xFFF, 12, SMALL_EVT3, state)
                if new != high:
                    high, low = new, np.int64(0)
                    now = high << 12
        elif kind == 10:
            state[EDGES] += 1
            if now >= 0:
                et[m] = now
                rising[m] = (w & 1) != 0
                channel[m] = (w >> 8) & 0xF
                m += 1
        elif kind == 7 or kind == 14 or kind == 15:
            state[IGNORED] += 1
        else:
            state[UNKNOWN] += 1
        i += 1
    state[HIGH], state[LOW], state[ROW], state[BASE], state[POLARITY] = high, low, row, base, on
    return i, n, m


class Run(NamedTuple):
    """What some words say: events, and edges with their channels; memory of its own."""

    t: I64
    x: U16
    y: U16
    p: Bool
    et: I64
    rising: Bool
    channel: U8


def runs(heads: U16, state: I64) -> Iterator[Run]:
    """Decode words in order, run by run. `state` goes on from call to call (`evt_time.new_state`)."""
    at = 0
    while at < len(heads):
        room = min(ROOM, 12 * (len(heads) - at) + 12)
        t, x, y = np.empty(room, np.int64), np.empty(room, np.uint16), np.empty(room, np.uint16)
        p, et = np.empty(room, np.bool_), np.empty(ROOM_EDGES, np.int64)
        rising, channel = np.empty(ROOM_EDGES, np.bool_), np.empty(ROOM_EDGES, np.uint8)
        at, n, m = evt3(heads, _NO_TAILS, at, len(heads), state, t, x, y, p, et, rising, channel)
        yield Run(t[:n], x[:n], y[:n], p[:n], et[:m], rising[:m], channel[:m])
