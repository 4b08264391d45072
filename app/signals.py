"""Ctrl+C, SIGTERM and SIGHUP: they unwind the program, but not while it tidies up."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from multiprocessing import resource_tracker
from types import FrameType

from app.unwinding import Unwinding
from capture.hangup import hangup_counts


@contextlib.contextmanager
def shielded() -> Iterator[None]:
    """Put off the signals that would interrupt tidying up; only in the main thread are they delivered.

    Handlers, not the signal mask: a process has other threads that do not block it. What a handler would ignore
    at the time when it comes is ignored, too (see `Unwinding`).
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    before = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    ours = {s: h for s, h in before.items() if callable(h)}  # the defaults of the system stay as they are

    def hold(number: int, frame: FrameType | None) -> None:
        handler = ours[signal.Signals(number)]
        if isinstance(handler, Unwinding) and handler.repeats(number):
            handler(number, frame)
        else:
            came.append(number)

    for s in ours:
        signal.signal(s, hold)
    try:
        yield
    finally:
        for s, handler in ours.items():
            signal.signal(s, handler)
        if came:
            signal.raise_signal(came[0])


@contextlib.contextmanager
def kept_when_complete() -> Iterator[Callable[[], None]]:
    """What is complete is written to its end, though the first signal comes just then (see `Unwinding.noting`).

    Gives the call that says that it is complete; this holds until the block ends.
    """
    handlers = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    ours = [h for h in handlers if isinstance(h, Unwinding)]

    def complete() -> None:
        for h in ours:
            h.noting = True

    try:
        yield complete
    finally:
        for h in ours:
            h.noting = False


def start_tracker() -> None:
    """Start Python's resource tracker if none runs; it removes shared memory when this process is killed.

    It ignores SIGINT and SIGTERM of itself; here SIGHUP too, which a closing terminal sends to the whole
    group. That works in the main thread only: where a supervisor is made in another one, call this before.
    """
    if threading.current_thread() is not threading.main_thread():
        resource_tracker.ensure_running()
        return
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the tracker inherits it
    try:
        resource_tracker.ensure_running()
    finally:
        signal.signal(signal.SIGHUP, before if before is not None else signal.SIG_DFL)


def exit_on_signals() -> None:
    """Let SIGTERM and SIGHUP unwind the program as Ctrl+C does, so that what it holds is given back.

    Call it in the main thread, once, before a supervisor is made. SIGINT keeps raising KeyboardInterrupt. A
    hangup that is ignored (nohup) stays so.
    """

    def leave(number: int, _: FrameType | None) -> None:
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, leave)
    if hangup_counts():
        signal.signal(signal.SIGHUP, leave)
