"""Ctrl+C, SIGTERM and SIGHUP unwind the program, once: what comes while it tidies up does not break that off.

The standard library alone, and little of it: handlers stand before anything else is imported.
"""

from __future__ import annotations

import contextlib
import os
import signal
import stat
from time import monotonic
from types import FrameType

MOMENT_S = 1.0
"""Ctrl+C again within this is impatience; later it is meant."""


class Unwinding:
    """A handler of SIGINT, SIGTERM and SIGHUP that raises `KeyboardInterrupt`, or `SystemExit(128 + number)`.

    It does so for the first signal. A closing terminal sends SIGHUP twice in a few milliseconds (its shell and
    the kernel), and `timeout` SIGTERM (to the program and to its group): further ones are ignored, since a
    program that shall be gone at once is killed. Ctrl+C breaks off what still goes on, a library that hangs
    perhaps, once a moment has passed.

    Attributes:
        noting: what was asked for is complete and being written: the first signal breaks nothing off.
        received: the first signal's number. It is known even where a library turns the interrupt into an error
            of its own.
    """

    def __init__(self) -> None:
        self.noting = False
        self.received: int | None = None
        self._at = 0.0

    def repeats(self, number: int) -> bool:
        """This signal, coming now, says nothing that an earlier one has not said."""
        if self.received is None:
            return False
        return number != signal.SIGINT or monotonic() - self._at < MOMENT_S

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """See the class."""
        if number == signal.SIGHUP:
            leave_terminal()
        if self.repeats(number):
            return
        first = self.received is None
        self.received, self._at = self.received or number, monotonic()
        if first and self.noting:
            return
        raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)


def leave_terminal() -> None:
    """Standard output and error go nowhere where they led to a terminal that has been closed.

    Whoever has a word or a status line for it would fail, and with that what is being written.
    """
    for number in (1, 2):
        with contextlib.suppress(OSError):
            if stat.S_ISCHR(os.fstat(number).st_mode) and not os.isatty(number):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, number)
                os.close(nowhere)
