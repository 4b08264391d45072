"""Times of AEDAT 2.0: 32-bit stamps, counted on over their wraps, without what is damaged.

Where neighbours lie further apart than `STEP_BACK_US` a new run of records begins. Whether it is believed is
decided by what comes behind it: time that goes on. Where time is soon back at where it was, all between was
damage; what begins anew near 0 otherwise is a clock that was set back (see `aedat_stretches`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recordings.formats.aedat_stretches import RESTARTED_US, STEP_BACK_US

# The time of a record whose stamp is damaged: before everything, where it is refused and counted.
NO_TIME_US = -(1 << 61)
# A run is believed where so many steps from its beginning on lead forwards; garbage does not get so far.
_STEPS = 8
# A shorter run is believed where it lies so near to what was before; noise seldom does.
_SHORT_US = 50_000
# So many runs behind one are looked at for whether time returns.
_LOOK = 1024


class Counted(NamedTuple):
    """Where counting stands: the last sound 32-bit stamp, its time, how often the clock was set back."""

    stamp: int
    time_us: int
    set_back: int = 0


def count_on(
    before: Counted, stamps: NDArray[np.uint32], ahead: Callable[[], NDArray[np.uint32]]
) -> tuple[NDArray[np.int64], Counted]:
    """Times of the next records: wraps of their stamps counted in, stretches behind one another.

    A record whose stamp is damaged gets `NO_TIME_US`, and costs no other.

    Args:
        before: what the records before led to.
        stamps: (N,) of these.
        ahead: gives the stamps behind them, as many as may be damaged in one piece; none at the file's end.
            Asked only where something is not in order.

    Returns:
        (N,) int64 µs, and where the counting stands then.
    """
    steps = _in_order(before, stamps)
    if steps is not None:
        t = before.time_us + np.cumsum(steps, dtype=np.int64)
        return t, before._replace(stamp=int(stamps[-1]), time_us=int(t[-1]))
    sound, anew = _judged(before.stamp, stamps, ahead())
    t = np.full(len(stamps), NO_TIME_US, np.int64)
    s = stamps[sound]
    if not len(s):
        return t, before
    d = np.diff(s, prepend=np.uint32(before.stamp)).view(np.int32).astype(np.int64)
    d[anew[sound]] = 1
    t[sound] = before.time_us + np.cumsum(d)
    return t, Counted(int(s[-1]), int(t[sound][-1]), before.set_back + int(np.count_nonzero(anew)))


def count_over(before: Counted, stamps: NDArray[np.uint32], ahead: Callable[[], NDArray[np.uint32]]) -> Counted:
    """Where the counting stands behind these records; see `count_on`."""
    steps = _in_order(before, stamps)
    if steps is None:
        return count_on(before, stamps, ahead)[1]
    time_us = before.time_us + int(steps.sum(dtype=np.int64))
    return before._replace(stamp=int(stamps[-1]), time_us=time_us)


def first_sound(stamps: NDArray[np.uint32]) -> int | None:
    """The first of (N,) stamps that those behind it bear out; None: none is.

    A few records that a longer run contradicts do not begin a recording.
    """
    runs = _runs(stamps)
    firsts, lasts = stamps[runs.begins], stamps[runs.ends]
    contradicted = np.append(runs.lasts[1:], False) & ~runs.lasts
    sound = runs.goes_on & ~contradicted & (runs.begins < len(stamps) - 1)
    if not sound.any():
        return None
    first = int(np.argmax(sound))
    then = (firsts[first] - lasts[:first]).view(np.int32)
    few = runs.ends[:first] - runs.begins[:first] < _STEPS
    before = np.flatnonzero(few & (then >= 0) & (then <= STEP_BACK_US))  # and damage behind it
    return int(firsts[before[0] if len(before) else first])


def _in_order(before: Counted, stamps: NDArray[np.uint32]) -> NDArray[np.int32] | None:
    """(N,) µs from each stamp to the next, where none is far; else, and of none, None."""
    if not len(stamps):
        return None
    steps: NDArray[np.int32] = np.diff(stamps, prepend=np.uint32(before.stamp)).view(np.int32)
    return steps if int(steps.min()) >= -STEP_BACK_US and int(steps.max()) <= STEP_BACK_US else None


class _Runs(NamedTuple):
    """Records between whose neighbours no step is far; places among the stamps, the last one included.

    `goes_on`: time goes on from its beginning, however slowly. `lasts`: it is long enough for a clock that was
    set back. One stamp again and again is neither: no clock stands still.
    """

    begins: NDArray[np.intp]
    ends: NDArray[np.intp]
    goes_on: NDArray[np.bool_]
    lasts: NDArray[np.bool_]


def _runs(s: NDArray[np.uint32]) -> _Runs:
    d = np.diff(s).view(np.int32).astype(np.int64)
    cuts = np.flatnonzero(np.abs(d) > STEP_BACK_US)
    begins, ends = np.concatenate([[0], cuts + 1]), np.concatenate([cuts, [len(s) - 1]])
    wrong = np.concatenate([[0], np.cumsum((d < -STEP_BACK_US) | (d > RESTARTED_US))])
    moves = np.concatenate([[0], np.cumsum(d != 0)])
    long = ends - begins >= _STEPS
    still = moves[ends] == moves[begins]
    goes_on = wrong[np.minimum(begins + _STEPS, len(d))] == wrong[begins]
    return _Runs(begins, ends, goes_on & ~(long & still), (long | (ends == len(s) - 1)) & ~still)


def _judged(
    before: int, stamps: NDArray[np.uint32], ahead: NDArray[np.uint32]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Of each of (N,) stamps: it is sound; the clock was set back just before it."""
    s = np.concatenate([np.array([before], np.uint32), stamps, ahead])
    runs = _runs(s)
    firsts = s[runs.begins]
    lone = runs.begins == len(s) - 1  # the file's last record, which nothing bears out
    reach = np.where(runs.lasts, STEP_BACK_US, _SHORT_US)
    sound, anew = np.zeros(len(s), np.bool_), np.zeros(len(s), np.bool_)
    sound[: runs.ends[0] + 1] = True
    now, k = s[runs.ends[0]], 1
    while k < len(firsts) and runs.begins[k] <= len(stamps):
        part = slice(k, k + 32)
        far = _from(now, firsts[part])
        near = np.abs(far) <= reach[part]
        set_back = (far < -STEP_BACK_US) & (firsts[part] < RESTARTED_US)
        goes_on = runs.goes_on[part] & (~lone[part] | ((far > 0) & (far <= RESTARTED_US)))
        believed = near | np.where(set_back, runs.lasts[part], goes_on)
        if not believed.any():
            k += len(far)
            continue
        i = int(np.argmax(believed))
        k += i
        if not near[i]:
            behind = slice(k + 1, k + 1 + _LOOK)
            then = _from(now, firsts[behind])
            heavy = runs.lasts[behind] | ~runs.lasts[k]  # a stray record does not outweigh a long run
            returns = np.flatnonzero((then >= 0) & (then <= reach[behind]) & heavy)
            if len(returns):
                k += 1 + int(returns[0])
            else:
                anew[runs.begins[k]] = set_back[i]
        sound[runs.begins[k] : runs.ends[k] + 1] = True
        now = s[runs.ends[k]]
        k += 1
    mine = slice(1, len(stamps) + 1)
    return sound[mine], anew[mine]


def _from(now: np.uint32, stamps: NDArray[np.uint32]) -> NDArray[np.int64]:
    """(N,) µs from one stamp to others, modulo 2^32 as a signed number."""
    return (stamps - now).view(np.int32).astype(np.int64)
