"""Events of a packet in 4 bytes each, as our own recordings keep them.

A word holds, from the lowest bit on, x and y in as many bits as the sensor's size needs, the polarity in one,
and in all that are left the time since the event before, in µs: up to 1023 µs at 1280×720, 8191 µs at 346×260.
Longer pauses are rare and stand beside the words: the event's number and the pause, 4 bytes each. Words are
little endian. Events that do not go into it, or not into fewer bytes than plainly (8), are kept plainly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capture.compiled import njit
from capture.packets import Events

U32 = NDArray[np.uint32]

LEAST_TIME_BITS = 4
_LONGEST_US = 2**32 - 1


@dataclass(frozen=True, slots=True, eq=False)
class Packed:
    """Events on memory of their own.

    Attributes:
        words: (N,) uint32, little endian.
        far: (K,) uint32, ascending: events before which the pause is longer than a word holds; there it says 0.
        pauses: (K,) uint32, those pauses, µs.
    """

    words: U32
    far: U32
    pauses: U32


def address_bits(width: int, height: int) -> tuple[int, int]:
    """Bits of x and of y for a sensor of this size."""
    return max(0, width - 1).bit_length(), max(0, height - 1).bit_length()


def _time_bits(width: int, height: int) -> int:
    return 31 - sum(address_bits(width, height))


def pack(e: Events) -> Packed | None:
    """Pack events; None: they do not fit.

    That is so where they break their contract (out of order, outside of the sensor), where the sensor is too
    large or one pause longer than 71 minutes, and where most pauses are long.
    """
    n = len(e)
    across, down = address_bits(e.width, e.height)
    if _time_bits(e.width, e.height) < LEAST_TIME_BITS:
        return None
    words, far, pauses = (np.empty(k, np.uint32) for k in (n, n // 2, n // 2))
    longest = (1 << _time_bits(e.width, e.height)) - 1
    t, x, y, p = (_read_only(a) for a in (e.t, e.x, e.y, e.p))
    k = _pack(t, x, y, p, e.width, e.height, across, down, longest, words, far, pauses)
    return None if k < 0 else Packed(words, far[:k].copy(), pauses[:k].copy())


def unpack(packed: Packed, base_us: int, width: int, height: int) -> tuple[Events, bool]:
    """The events again.

    Args:
        packed: as read; its values may be any.
        base_us: time of the first event.
        width, height: of the sensor.

    Returns:
        Events, in order of time; whether all lie on the sensor.

    Raises:
        ValueError: a sensor so large that nothing of it can have been packed.
    """
    if _time_bits(width, height) < LEAST_TIME_BITS:
        raise ValueError(f"a sensor of {width}×{height} leaves no room for times")
    n = len(packed.words)
    across, down = address_bits(width, height)
    t, x, y, p = np.empty(n, np.int64), np.empty(n, np.uint16), np.empty(n, np.uint16), np.empty(n, np.bool_)
    # What was read may begin at any byte and be read-only, and code is compiled for each kind of array.
    words, far, pauses = (np.array(a, np.uint32) for a in (packed.words, packed.far, packed.pauses))
    inside = _unpack(words, far, pauses, base_us, width, height, across, down, t, x, y, p)
    return Events(t, x, y, p, width, height), bool(inside)


def _read_only(a: NDArray[Any]) -> NDArray[Any]:
    """As arrays in a ring are, whatever it was: code is compiled for each kind of array."""
    view = np.ascontiguousarray(a).view()
    view.flags.writeable = False
    return view


@njit(nogil=True)
def _pack(
    t: NDArray[np.int64], x: NDArray[np.uint16], y: NDArray[np.uint16], p: NDArray[np.bool_],
    width: int, height: int, across: int, down: int, longest: int, words: U32, far: U32, pauses: U32,
) -> int:  # fmt: skip
    """Fill the three arrays; the number of long pauses, or -1 where it cannot be done."""
    to_y, to_p, to_t = np.uint32(across), np.uint32(across + down), np.uint32(across + down + 1)
    k = 0
    for i in range(len(t)):
        if x[i] >= width or y[i] >= height:
            return -1
        pause = t[i] - t[max(i - 1, 0)]
        if pause < 0 or pause > longest:
            if pause < 0 or pause > _LONGEST_US or k == len(far):
                return -1
            far[k], pauses[k] = i, pause
            k += 1
            pause = 0
        words[i] = (
            np.uint32(x[i]) | (np.uint32(y[i]) << to_y) | (np.uint32(p[i]) << to_p) | (np.uint32(pause) << to_t)
        )
    return k


@njit(nogil=True)
def _unpack(
    words: U32, far: U32, pauses: U32, base: int, width: int, height: int, across: int, down: int,
    t: NDArray[np.int64], x: NDArray[np.uint16], y: NDArray[np.uint16], p: NDArray[np.bool_],
) -> bool:  # fmt: skip
    """Fill the last four arrays; False where an event lies outside of the sensor."""
    to_y, to_p, to_t = np.uint32(across), np.uint32(across + down), np.uint32(across + down + 1)
    in_x, in_y, one = np.uint32((1 << across) - 1), np.uint32((1 << down) - 1), np.uint32(1)
    k, now, inside = 0, np.int64(base), True
    for i in range(len(words)):
        word = words[i]
        now += np.int64(word >> to_t)
        if k < len(far) and far[k] == i:
            now += np.int64(pauses[k])
            k += 1
        u, v = word & in_x, (word >> to_y) & in_y
        inside = inside and u < width and v < height
        t[i], x[i], y[i], p[i] = now, u, v, ((word >> to_p) & one) != 0
    return inside


def compile_now() -> None:
    """Have packing ready: what records must not stop for a compiler when the first packet comes."""
    pack(Events(np.zeros(1, np.int64), np.zeros(1, np.uint16), np.zeros(1, np.uint16), np.ones(1, bool), 2, 2))
