"""What the names of a video's frames say: which belong together, and where frames are missing."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

_DIGITS = re.compile(r"\d{1,18}")


def unlike(first: Sequence[str], second: Sequence[str]) -> int | None:
    """The first place at which two equally long lists of names do not mean the same frame; None: they do.

    Alike are equal names, and names whose first, last or all numbers are equal (`blur_0007`, `0007-gt`). Lists
    without any number that have no name in common tell nothing and are taken as they stand.

    Args:
        first, second: names of the frames without their endings, in order.
    """
    if list(first) == list(second):
        return None
    ways = [(_numbers(first, k), _numbers(second, k)) for k in (-1, 0)]
    if any(a is not None and a == b for a, b in ways):
        return None
    every = [[_DIGITS.findall(stem) for stem in stems] for stems in (first, second)]
    if every[0] == every[1] and (any(every[0]) or not set(first) & set(second)):
        return None
    a, b = ways[0]
    # The numbers that count frames say where it begins better than names, which may differ all along.
    left, right = (first, second) if a is None or b is None else (a, b)
    return next(k for k, (x, y) in enumerate(zip(left, right, strict=True)) if x != y)


def in_a_row(stems: Sequence[str]) -> tuple[int, ...] | None:
    """Frames k which k + 1 follows, by their numbers; None: all, or the names do not tell.

    The step from one number to the next is the one that more than half have: of a video of which every second
    frame was kept it is two. Where none is (times as names), the numbers do not count frames. A step is too
    long from one and a half usual ones on: rounded times of a regular camera are 33, 34, 33 apart.
    """
    numbers = _numbers(stems, -1)
    if numbers is None or len(numbers) < 3:
        return None
    steps = [b - a for a, b in pairwise(numbers)]
    usual, count = Counter(steps).most_common(1)[0]
    if usual <= 0 or 2 * count <= len(steps) or count == len(steps):
        return None
    row = tuple(k for k, s in enumerate(steps) if 0 < 2 * s < 3 * usual)
    return row if len(row) < len(steps) else None


def told_gaps(name: str, names: Sequence[str], row: tuple[int, ...] | None) -> tuple[str, ...]:
    """A line for people on frames beside each other that are no neighbours, where there are some.

    Args:
        name: of the sequence.
        names: of all frames.
        row: see `in_a_row`.
    """
    if row is None:
        return ()
    gaps = sorted(set(range(len(names) - 1)) - set(row))
    first = f"between {names[gaps[0]]} and {names[gaps[0] + 1]}"
    more = f" and at {len(gaps) - 1} more places" if len(gaps) > 1 else ""
    return (f"{name}: frames are missing {first}{more}; those beside are no neighbours",)


def _numbers(stems: Sequence[str], which: int) -> list[int] | None:
    """The first (0) or the last (-1) number of each name; None where one has none, or two have the same."""
    found = [_DIGITS.findall(stem) for stem in stems]
    if not all(found):
        return None
    numbers = [int(f[which]) for f in found]
    return numbers if len(set(numbers)) == len(numbers) else None
