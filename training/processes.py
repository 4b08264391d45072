"""Worker processes for work in pieces: they end with this process, and at once when it is told to stop."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any

from capture.lifeline import end_with_parent


@contextmanager
def processes(
    count: int, begin: Callable[..., None] | None = None, *arguments: Any
) -> Iterator[ProcessPoolExecutor]:
    """`count` processes, freshly started (`spawn`); for the thread that lives as long as they do.

    An error of the block, Ctrl+C too, kills them: what they are about may take half a minute, and a piece that
    is not finished is worth nothing. When this process is killed, the kernel kills them.

    Args:
        count: processes at most.
        begin: an importable function that each calls first, with `arguments`, which are picklable.
    """
    before = set(multiprocessing.active_children())
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(count, context, _begin, (begin, arguments)) as pool:
        try:
            yield pool
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for child in set(multiprocessing.active_children()) - before:
                child.kill()
            raise


def _begin(begin: Callable[..., None] | None, arguments: tuple[Any, ...]) -> None:
    end_with_parent()
    if begin is not None:
        begin(*arguments)
