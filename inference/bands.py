"""Work on a picture in bands of rows, in as many threads as the networks have.

For compiled functions that give up the interpreter's lock. A network uses all cores that the program was given;
what comes before and after it would leave all but one of them idle.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from typing import TypeVar

import torch

_MOST = 4
LEAST_ROWS = 32
"""Of a band: below it, handing over takes longer than the work."""

T = TypeVar("T")


def in_bands(rows: int, work: Callable[[int, int], T], step: int = 1) -> list[T]:
    """`work(first, last)` for bands that cover rows 0 … `rows`, side by side; the results in order.

    Args:
        rows: of the picture.
        work: may run in any thread; bands must not write to the same memory.
        step: bands begin at multiples of it.
    """
    count = max(1, min(torch.get_num_threads(), _MOST, rows // LEAST_ROWS))
    borders = [k * rows // count // step * step for k in range(count)] + [rows]
    if count == 1:
        return [work(0, rows)]
    rest = [_threads().submit(work, a, b) for a, b in pairwise(borders[1:])]
    try:
        first = work(borders[0], borders[1])
    finally:
        # Nothing of a caller's memory is written to once it has its answer, be that an error.
        done = [f.exception() for f in rest]
    for error in done:
        if error is not None:
            raise error
    return [first, *(f.result() for f in rest)]


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_MOST - 1, thread_name_prefix="bands")
