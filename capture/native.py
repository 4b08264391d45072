"""What native libraries say, in one line, and a limit to how long one of their calls may take."""

from __future__ import annotations

import contextlib
import faulthandler
import multiprocessing
from collections.abc import Iterator


def message(error: BaseException) -> str:
    """An exception of a native library as one clause.

    dv-processing gives a C++ location in the first line, the message in the second, then a stack trace.
    """
    lines = [line.strip() for line in str(error).split("Stacktrace:")[0].splitlines() if line.strip()]
    if len(lines) > 1 and "): " in lines[0] and "(" in lines[0]:
        lines = lines[1:]
    text = " ".join(lines).removeprefix("RuntimeError: ")
    return text or f"{type(error).__name__} without a word"


@contextlib.contextmanager
def limited(seconds: float) -> Iterator[None]:
    """End this process when the body takes longer, even where it holds the interpreter's lock.

    Some native calls wait for ever and let no other thread run, so nothing gentler can end them. Only in a
    worker process, which its supervisor starts again; elsewhere nothing happens.
    """
    if multiprocessing.parent_process() is None:
        yield
        return
    faulthandler.dump_traceback_later(seconds, exit=True)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
