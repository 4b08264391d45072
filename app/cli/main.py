"""The console entry `halfmirror`: signals and the exit. The rest is in `program`.

Only the standard library is imported before the signal handlers stand, so that Ctrl+C ends even the start
without a traceback. Worker processes import this module again, and pay next to nothing for it.
"""

from __future__ import annotations

import atexit
import contextlib
import io
import os
import signal
import sys
from typing import TextIO

from app.hindrance import hindrance
from app.unwinding import Unwinding


def _install(handler: Unwinding) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN:
            continue  # nohup: whoever started it wants it to outlive the terminal
        try:
            signal.signal(number, handler)
        except ValueError:  # not the main thread (a test): the defaults stay
            return


def run(arguments: list[str]) -> int:
    """Run one command line; returns the exit code. Raises only with `--debug`.

    Exit codes: 0 done; 1 could not be done; 2 wrong request; 70 a fault of the program (a log is written);
    130 Ctrl+C; 129 SIGHUP; 143 SIGTERM (the first that came).
    """
    why = hindrance()  # before anything fails over it
    if why is not None:
        print(f"halfmirror: {why}", file=sys.stderr)
        return 1
    signals = Unwinding()
    _install(signals)
    try:
        from app.cli.program import execute
        from inference.waiting import wait_briefly

        wait_briefly()
        code = execute(arguments, lambda: signals.received is not None)
    except KeyboardInterrupt:
        # Ctrl+C when nothing is known (a test that raises KeyboardInterrupt).
        return 128 + (signals.received or signal.SIGINT)
    except BrokenPipeError:
        return _quiet_pipe()
    except SystemExit as e:
        return e.code if isinstance(e.code, int) else 1
    return code if signals.received is None else 128 + signals.received


def _quiet_pipe() -> int:
    """The reader of our output went away (`| head`): leave without a word, also at interpreter exit."""
    _silence(sys.stdout)
    return 1


def _silence(stream: TextIO) -> None:
    """What the stream still holds, and what comes, goes nowhere."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _said_in_full(stream: TextIO | None) -> OSError | None:
    """Hand over what the stream holds; why that cannot be done, if so (a redirection to a full disk)."""
    try:
        if stream is not None:  # closed from the start: `>&-`
            stream.flush()
    except OSError as e:
        return e
    return None


def _bear_any_text() -> None:
    """A terminal or a pipe in an old encoding gets a question mark for what it does not have."""
    for stream in (sys.stdout, sys.stderr):
        # In the C locale it is "surrogateescape", which lets names pass that are no UTF-8 and nothing else.
        if isinstance(stream, io.TextIOWrapper) and (stream.errors == "strict" or stream.encoding != "utf-8"):
            stream.reconfigure(errors="replace")


def _occupy_standard_files() -> None:
    """Standard files that were closed (`2>&-`) become /dev/null, for the workers too.

    Else the next file opened, a recording perhaps, would get the number 2, and what any library has to say
    on stderr would be written into it.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)  # gets the lowest free number, which is this one
            os.set_inheritable(opened, True)


def main() -> None:
    """Console entry point."""
    _occupy_standard_files()
    _bear_any_text()
    code = run(sys.argv[1:])
    problem = _said_in_full(sys.stdout)
    if problem is not None:
        _silence(sys.stdout)
        if not code and not isinstance(problem, BrokenPipeError):
            with contextlib.suppress(OSError):
                print(f"halfmirror: standard output cannot be written: {problem.strerror}", file=sys.stderr)
        code = code or 1
    if _said_in_full(sys.stderr) is not None:
        _silence(sys.stderr)
    if code == 128 + signal.SIGINT:
        # Whoever pressed Ctrl+C shall not wait while libraries unload, a second on a busy machine.
        atexit._run_exitfuncs()
        os._exit(code)
    sys.exit(code)


if __name__ == "__main__":
    main()
