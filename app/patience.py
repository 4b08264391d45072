"""Waits for what may never answer, such as a file on a network drive that has gone, and says so in the end.

A system call on such a file blocks for as long as it takes and cannot be called back. So it runs on a thread
that nobody needs: a daemon, which is left behind where it does not end.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from capture.errors import HalfmirrorError

Found = TypeVar("Found")

ANSWERS_S = 0.3
"""A disk has answered by then whether something is there, or is taken for gone: the window stands still."""
SLOW_S = 10.0
"""From then on a person is told that something does not answer."""
LIMIT_S = 120.0
"""A disk that sleeps, or a server that stalls, may take so long to give something; then it is given up."""


class NoAnswerError(HalfmirrorError):
    """It has not answered in time."""


def no_answer(what: object, seconds: float) -> str:
    """One line for a person: this source has not answered for so long."""
    return (
        f"{what} has not answered for {seconds:.0f} s; see whether its disk or network folder is still there, "
        "or choose another source"
    )


class Waiting(Generic[Found]):
    """What `do` gives, found on a thread of its own that begins at once.

    Args:
        do: what may take for ever.
        at_once_s: this call waits so long for it, so that most things are there when it returns.
    """

    def __init__(self, do: Callable[[], Found], at_once_s: float = 0.0) -> None:
        self._found: list[Found] = []
        self._error: BaseException | None = None

        def find() -> None:
            try:
                self._found.append(do())
            except BaseException as error:  # it is whose who asks
                self._error = error

        self._thread = threading.Thread(target=find, name="waiting", daemon=True)
        self._thread.start()
        self._thread.join(at_once_s)

    @property
    def going(self) -> bool:
        """It has not answered yet."""
        return self._thread.is_alive()

    def result(self) -> Found:
        """What it gave, once it does not go on any more. Raises what it raised."""
        if self._error is not None:
            raise self._error
        return self._found[0]


def within(seconds: float, do: Callable[[], Found], what: object) -> Found:
    """What `do` gives, or raises.

    Raises:
        NoAnswerError: it has not ended by then; the thread that it is on is left behind.
    """
    waiting = Waiting(do, seconds)
    if waiting.going:
        raise NoAnswerError(no_answer(what, seconds))
    return waiting.result()
