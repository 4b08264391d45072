"""AEDAT 2.0 and 3.1: a camera's clock that is set back while recording begins a new stretch of time.

cAER and jAER set it to 0 on request, often right after the recording was begun. What follows is placed behind
what came before, without a pause: how long it took is not told.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recordings.recording import Remark

# Time that runs back by more, and stays there, is a clock set back; less is disorder, left to who reads it.
STEP_BACK_US = 1_000_000
# A clock that is set back begins at 0, and something happens soon. What lies back elsewhere is damage.
RESTARTED_US = 60_000_000
# So many packets at the end of a stretch, of all kinds, are looked at for its end, and so many that lead behind
# one for whether it was damage.
_LAST = 16


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
    `STEP_BACK_US` to near 0, and those that lead stay there: where they soon return it was damage.

    Args:
        spans: in order of the file.
        last_of: the true end of one of them; asked for the last ones of a stretch.
    """

    def returns(to_us: int, at: int) -> bool:
        """Soon after place `at` of those that lead, time leaps back to there: what lies between is damage."""
        soon = [spans[n].first_us for n in leading[at - 1 : at + _LAST]]
        return any(
            abs(b - a) > STEP_BACK_US and 0 <= b - to_us <= STEP_BACK_US for a, b in itertools.pairwise(soon)
        )

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
            restarted = 0 <= s.first_us < RESTARTED_US
            begun = told or (
                restarted and s.last_us < limit and following < limit and not returns(newest, behind)
            )
        if begun:
            begins.append(k)
            newest = None
        if s.leads:
            newest = s.last_us if newest is None else newest
            ahead = s.first_us > newest + STEP_BACK_US and returns(newest, behind)
            newest = newest if ahead else max(newest, s.last_us)
    out: list[int] = []
    end = 0
    for a, b in zip(begins, [*begins[1:], len(spans)], strict=True):
        shift = end + 1 - min(s.first_us for s in spans[a:b]) if a else 0
        out += [shift] * (b - a)
        if b < len(spans):
            end = shift + max(s.last_us for s in spans[a:b])
            end = max(end, *(shift + last_of(k) for k in range(max(a, b - _LAST), b)))
    return out
