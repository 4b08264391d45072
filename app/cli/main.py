"""The console entry `halfmirror`: the verbs, and how every error reaches a person.

Nothing heavy is imported here or at the top of a verb's file (no torch, no Qt, no numba): `--help` is instant,
and so is the start of a worker process, which imports this module again.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from types import FrameType
from typing import Annotated

import typer

from app.cli import console, deblur, doctor, live, replay
from app.cli.console import INTERRUPTED, UNEXPECTED
from capture.errors import HalfmirrorError

app = typer.Typer(
    name="halfmirror",
    help="Sees through motion blur, live: an event camera and an RGB camera behind one beam splitter.",
    epilog="Example: halfmirror live   (the simulated rig; no camera needed)",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    add_completion=False,
)
app.command("live", epilog=live.EXAMPLE)(live.live)
app.command("replay", epilog=replay.EXAMPLE)(replay.replay)
app.command("deblur", epilog=deblur.EXAMPLE)(deblur.deblur)
app.command("doctor", epilog=doctor.EXAMPLE)(doctor.doctor)


def _version(asked: bool) -> None:
    if asked:
        from app.version import version

        typer.echo(f"halfmirror {version()}")
        raise typer.Exit()


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an unexpected error.")] = False,
) -> None:
    pass


class _Signals:
    """Ctrl+C, SIGTERM and SIGHUP unwind the program, so that nothing half-written and no process stays behind.

    It remembers that one came, even where a library turns the interrupt into an error of its own.
    """

    def __init__(self) -> None:
        self.received: int | None = None

    def install(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            try:
                signal.signal(number, self._on_signal)
            except ValueError:  # not the main thread (a test): the defaults stay
                return

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.received = number
        raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)

    @property
    def exit_code(self) -> int:
        """As shells have it; Ctrl+C when nothing is known (a test that raises KeyboardInterrupt)."""
        return INTERRUPTED if self.received is None else 128 + self.received


def run(arguments: list[str]) -> int:
    """Run one command line; returns the exit code. Never raises for anything a person can cause.

    Exit codes: 0 done; 1 could not be done; 2 wrong request; 70 a fault of the program (a log is written);
    130 Ctrl+C; 143 SIGTERM.
    """
    debug = "--debug" in arguments or bool(os.environ.get("HALFMIRROR_DEBUG"))
    # Accepted anywhere on the line, not only before the verb, where nobody looks for it.
    arguments = [a for a in arguments if a != "--debug"]
    signals = _Signals()
    signals.install()
    try:
        result = app(args=arguments, prog_name="halfmirror", standalone_mode=False)
        return int(result or 0)
    except HalfmirrorError as e:
        if debug:
            raise
        console.fail(str(e))
        return e.exit_code
    except BrokenPipeError:
        return _quiet_pipe()
    except KeyboardInterrupt:
        return signals.exit_code
    except typer.Abort:
        return INTERRUPTED
    except SystemExit as e:
        return e.code if isinstance(e.code, int) else 1
    except Exception as e:
        if signals.received is not None:
            return signals.exit_code
        if hasattr(e, "format_message"):  # typer's own usage errors
            verb = getattr(getattr(e, "ctx", None), "command_path", "halfmirror")
            if e.format_message():  # empty when the help was printed in its place
                console.fail(f"{e.format_message()} (see {verb} --help)")
            return int(getattr(e, "exit_code", 2))
        if debug:
            raise
        log = console.write_crash_log(e, arguments)
        where = f"the traceback is in {log}" if log else "run again with --debug to see the traceback"
        console.fail(f"unexpected {type(e).__name__}: {e}; this is a fault of the program: {where}")
        return UNEXPECTED


def _quiet_pipe() -> int:
    """The reader of our output went away (`| head`): leave without a word, also at interpreter exit."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 1


def main() -> None:
    """Console entry point."""
    code = run(sys.argv[1:])
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except BrokenPipeError:
        code = code or _quiet_pipe()
    sys.exit(code)


if __name__ == "__main__":
    main()
