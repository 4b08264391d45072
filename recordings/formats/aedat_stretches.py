"""AEDAT 2.0 and 3.1: a camera's clock that is set back while recording begins a new stretch of time.

cAER and jAER set it to 0 on request, often right after the recording was begun. What follows is placed behind
what came before, without a pause: how long it took is not told.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recordings.recording import Remark

# Time that runs back by more, and stays there, is a clock set back; less is disorder, left to who reads it.
STEP_BACK_US = 1_000_000
# A clock that is set back begins at 0, and something happens soon. What lies back elsewhere is damage.
_RESTARTED_US = 60_000_000
# So many packets at the end of a stretch, of all kinds, are looked at for its end.
_LAST = 16
# The time of a record whose stamp is damaged: before everything, where it is refused and counted.
NO_TIME_US = -(1 << 61)


def began_anew(times: int) -> Remark:
    """What a person should know about it."""
    once = "once" if times == 1 else f"{times} times"
    return Remark(f"its clock was set back {once} while recording; what follows is placed behind it")


def runs_back(times: NDArray[np.int64]) -> bool:
    """Somewhere in (N,) times, µs in order of the file, time runs back by more than `STEP_BACK_US`."""
    return bool((np.maximum.accumulate(times) - times > STEP_BACK_US).any())


class Span(NamedTuple):
    """When a packet, or a frame, began and ended, µs on the camera's clock; `reset`: it was set back before.

    A packet's end may be told as its beginning, see `shifts`. `leads`: of the stream by which time is followed;
    the others may lie anywhere in the file.
    """

    first_us: int
    last_us: int
    reset: bool = False
    leads: bool = True


def shifts(spans: Sequence[Span], last_of: Callable[[int], int]) -> list[int]:
    """For each of them, in order of the file, the µs that place it behind the stretches before.

    A stretch begins where the file tells a reset and time runs back, or where time runs back by more than
    `STEP_BACK_US` to near 0, and the next one that leads lies back too (one alone is damage).

    Args:
        spans: in order of the file.
        last_of: the true end of one of them; asked for the last ones of a stretch.
    """
    begins: list[int] = []
    newest: int | None = None
    leading = [k for k, s in enumerate(spans) if s.leads]
    behind = 0  # place in `leading` of the next one
    for k, s in enumerate(spans):
        while behind < len(leading) and leading[behind] <= k:
            behind += 1
        begun = not k
        if newest is not None:
            limit = newest - STEP_BACK_US
            following = spans[leading[behind]].first_us if behind < len(leading) else newest
            told = s.reset and s.first_us < newest and (s.leads or following < newest)
            restarted = 0 <= s.first_us < _RESTARTED_US
            begun = told or (restarted and s.last_us < limit and following < limit)
        if begun:
            begins.append(k)
            newest = None
        if s.leads:
            newest = s.last_us if newest is None else max(newest, s.last_us)
    out: list[int] = []
    end = 0
    for a, b in zip(begins, [*begins[1:], len(spans)], strict=True):
        shift = end + 1 - min(s.first_us for s in spans[a:b]) if a else 0
        out += [shift] * (b - a)
        if b < len(spans):
            end = shift + max(s.last_us for s in spans[a:b])
            end = max(end, *(shift + last_of(k) for k in range(max(a, b - _LAST), b)))
    return out


class Counted(NamedTuple):
    """Where counting stands: the last sound 32-bit stamp, its time, how often the clock was set back."""

    stamp: int
    time_us: int
    set_back: int = 0


def count_on(
    before: Counted, stamps: NDArray[np.uint32], following: int | None
) -> tuple[NDArray[np.int64], Counted]:
    """Times of the next records: wraps of their stamps counted in, stretches behind one another.

    A stamp that both its neighbours contradict is damaged: its record gets `NO_TIME_US`, and costs no other.

    Args:
        before: what the records before led to.
        stamps: (N,) of these.
        following: the stamp behind them; None at the file's end.

    Returns:
        (N,) int64 µs, and where the counting stands then.
    """
    ends = np.array([before.stamp], np.uint32), np.array([following or 0], np.uint32)
    s = np.concatenate([ends[0], stamps, *([] if following is None else ends[1:])])
    d = _signed_difference(s)
    sound = np.ones(len(stamps), np.bool_)
    m = len(d) - 1
    if m > 0 and int(np.abs(d[:m]).max()) > STEP_BACK_US:
        undone = np.abs(_signed_difference(s, 2)) <= STEP_BACK_US
        far = (np.abs(d[:m]) > STEP_BACK_US) & undone[:m]
        last = -2
        for k in np.flatnonzero(far).tolist():
            if k != last + 1:  # the difference behind a damaged stamp is as large as the one before
                sound[k], last = False, k
        s = np.concatenate([ends[0], stamps[sound], *([] if following is None else ends[1:])])
        d = _signed_difference(s)
    n = int(np.count_nonzero(sound))
    d, then = d[:n], np.append(d[1:], STEP_BACK_US + 1)[:n]
    # And it goes on from there, which garbage does not.
    back = (d < -STEP_BACK_US) & (stamps[sound] < _RESTARTED_US) & (np.abs(then) <= STEP_BACK_US)
    d[back] = 1
    t = np.full(len(stamps), NO_TIME_US, np.int64)
    t[sound] = before.time_us + np.cumsum(d)
    if not sound.any():
        return t, before
    k = int(np.flatnonzero(sound)[-1])
    return t, Counted(int(stamps[k]), int(t[k]), before.set_back + int(np.count_nonzero(back)))


def _signed_difference(stamps: NDArray[np.uint32], apart: int = 1) -> NDArray[np.int64]:
    """(N - apart,) from each stamp to a later one, modulo 2^32 as a signed number."""
    return (stamps[apart:] - stamps[:-apart]).view(np.int32).astype(np.int64)
