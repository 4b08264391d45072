"""Decoders of EVT3, EVT2, EVT2.1 and DAT: one block of words in, events and trigger edges out.

All have one signature. `heads` are the words that carry type and time (EVT3: all 16-bit words; EVT2: all
32-bit words; EVT2.1: upper halves; DAT: times), `tails` what else belongs to them (EVT2.1: lower halves; DAT:
addresses; else empty). Decoding begins at `start` and ends before `stop`, or earlier when an output is full;
words behind `stop` are only looked at to judge a high word. Outputs: `t` int64 µs, `x` and `y` uint16, `p`
bool; for edges `et` int64 µs, `rising` bool, `channel` uint8. Returned: where to go on, events, edges.

Coordinates are handed on as they stand; whoever takes them checks them against the sensor.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from capture.compiled import njit
from capture.evt3 import BIT as _BIT
from capture.evt3 import time_word as _time_word
from capture.evt_time import (
    BACKWARDS,
    BAD_TIME,
    BASE,
    EDGES,
    HIGH,
    I64,
    IGNORED,
    POLARITY,
    ROW,
    UNKNOWN,
    UNTIMED,
    VERSION,
    settle,
)

U8 = NDArray[np.uint8]
U16 = NDArray[np.uint16]
U32 = NDArray[np.uint32]
Bool = NDArray[np.bool_]

# Steps of the high part that are never doubted: about 33 ms (DAT: 10 ms); EVT3's stands with its decoder.
SMALL_EVT2, SMALL_DAT = 512, 10_000


@njit(nogil=True)
def evt3_context(heads: U16, stop: int, state: I64) -> bool:
    """What words before `stop` say of row and vector base, looked for backwards; True when both are known.

    Both hold until they are told anew, however long that takes, so a read from the middle has to look back.
    """
    behind = 0
    based = state[BASE] >= 0
    for j in range(stop):
        w = np.int64(heads[stop - 1 - j])
        kind = w >> 12
        if kind == 0 and state[ROW] < 0:
            state[ROW] = w & 0x7FF
        elif not based:
            if kind == 4:
                behind += 12
            elif kind == 5:
                behind += 8
            elif kind == 3:
                state[BASE] = (w & 0x7FF) + behind
                if behind > 0xE000:
                    state[BASE] = 0xF000
                state[POLARITY] = w & 0x800
                based = True
        if based and state[ROW] >= 0:
            return True
    return False


@njit(nogil=True)
def evt2(
    heads: U32, tails: U32, start: int, stop: int, state: I64,
    t: I64, x: U16, y: U16, p: Bool, et: I64, rising: Bool, channel: U8,
) -> tuple[int, int, int]:  # fmt: skip
    """EVT2: 32-bit words, type in bits 31:28 (0 OFF, 1 ON, 8 high time, 10 trigger). Time 28 + 6 bits.

    EVT2.1 has the same words as the upper half of 64 bits; the lower half (`tails`) says which of 32 pixels
    from its column on.
    """
    high = state[HIGH]
    vectors = len(tails) > 0
    n = m = 0
    i = start
    room, room_edges = len(t) - (31 if vectors else 0), len(et)
    while i < stop and n < room and m < room_edges:
        w = np.int64(heads[i])
        kind = w >> 28
        if kind <= 1:
            if high < 0:
                state[UNTIMED] += 1
            elif vectors:
                now = (high << 6) | ((w >> 22) & 0x3F)
                base, row = (w >> 11) & 0x7FF, w & 0x7FF
                bits = np.int64(tails[i])
                while bits:
                    lowest = bits & -bits
                    t[n] = now
                    x[n] = base + _BIT[((lowest * 0x077CB531) & 0xFFFFFFFF) >> 27]
                    y[n] = row
                    p[n] = kind == 1
                    n += 1
                    bits ^= lowest
            else:
                t[n] = (high << 6) | ((w >> 22) & 0x3F)
                x[n] = (w >> 11) & 0x7FF
                y[n] = w & 0x7FF
                p[n] = kind == 1
                n += 1
        elif kind == 8:
            if high < 0 or w & 0xFFFFFFF != high & 0xFFFFFFF:
                high = _time_word(heads, i, high, w & 0xFFFFFFF, 28, SMALL_EVT2, state)
        elif kind == 10:
            state[EDGES] += 1
            if high >= 0:
                et[m] = (high << 6) | ((w >> 22) & 0x3F)
                rising[m] = (w & 1) != 0
                channel[m] = (w >> 8) & 0x1F
                m += 1
        elif kind >= 14:
            state[IGNORED] += 1
        else:
            state[UNKNOWN] += 1
        i += 1
    state[HIGH] = high
    return i, n, m


@njit(nogil=True)
def dat(
    heads: U32, tails: U32, start: int, stop: int, state: I64,
    t: I64, x: U16, y: U16, p: Bool, et: I64, rising: Bool, channel: U8,
) -> tuple[int, int, int]:  # fmt: skip
    """DAT: time uint32 µs, address uint32: x, y, polarity of 14, 14, 4 bits (version 1: 9, 8, 1)."""
    high = state[HIGH]
    wide = state[VERSION] >= 2
    n = 0
    i = start
    stop = min(stop, start + len(t))
    while i < stop:
        following = np.int64(heads[i + 1]) if i + 1 < len(heads) else np.int64(-1)
        high, verdict = settle(high, np.int64(heads[i]), following, 32, SMALL_DAT)
        if verdict == 1:
            state[BAD_TIME] += 1
        else:
            if verdict == 2:
                state[BACKWARDS] += 1
            a = np.int64(tails[i])
            t[n] = high
            x[n] = a & 0x3FFF if wide else a & 0x1FF
            y[n] = (a >> 14) & 0x3FFF if wide else (a >> 9) & 0xFF
            p[n] = (a >> 28) != 0 if wide else (a >> 17) & 1 != 0
            n += 1
        i += 1
    state[HIGH] = high
    return i, n, 0
