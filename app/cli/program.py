"""The verbs under one name, and how every error reaches a person: one line, an exit code, no traceback.

Nothing heavy is imported here or at the top of a verb's file (no torch, no Qt, no numba): `--help` is instant.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from app.cli import (
    bench,
    calibrate,
    console,
    deblur,
    devices,
    doctor,
    evaluate,
    export,
    live,
    models,
    photos,
    record,
    recordings,
    replay,
    simulate,
    synthesise,
    train,
)
from capture.errors import HalfmirrorError, UsageError

# What the system has against a path itself, whatever is done with it: every look at it says so.
_NO_PATH = {errno.ENAMETOOLONG, errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENOTDIR}


def _examples(text: str) -> str:
    """One example a line: help folds single line ends."""
    return text.replace("\n", "\n\n")


app = typer.Typer(
    name="halfmirror",
    help="Sees through motion blur, live: an event camera and an RGB camera behind one beam splitter.",
    epilog="Example: halfmirror live simulated   (no camera needed)",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    add_completion=False,
)
app.command("live", epilog=_examples(live.EXAMPLE))(live.live)
app.command("replay", epilog=_examples(replay.EXAMPLE))(replay.replay)
app.command("record", epilog=_examples(record.EXAMPLE))(record.record)
app.command("deblur", epilog=_examples(deblur.EXAMPLE))(deblur.deblur)
app.add_typer(calibrate.app)
app.add_typer(models.app)
app.add_typer(photos.app)
app.add_typer(recordings.app)
app.add_typer(simulate.app)
app.command("synthesise", epilog=_examples(synthesise.EXAMPLE))(synthesise.synthesise)
app.command("train", epilog=_examples(train.EXAMPLE))(train.train)
app.command("evaluate", epilog=_examples(evaluate.EXAMPLE))(evaluate.evaluate)
app.command("export", epilog=_examples(export.EXAMPLE))(export.export)
app.command("bench", epilog=_examples(bench.EXAMPLE))(bench.bench)
app.command("devices", epilog=_examples(devices.EXAMPLE))(devices.devices)
app.command("doctor", epilog=_examples(doctor.EXAMPLE))(doctor.doctor)


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


def execute(arguments: list[str], interrupted: Callable[[], bool] = lambda: False) -> int:
    """Run one command line and return its exit code; a known error is printed as one line.

    `interrupted` tells that a signal came: an unexpected error is then its consequence and not worth a word.

    Raises:
        KeyboardInterrupt, SystemExit, BrokenPipeError: for the caller.
        Any error when `--debug` is given.
    """
    debug = "--debug" in arguments or os.environ.get("HALFMIRROR_DEBUG", "") not in ("", "0")
    # Accepted anywhere on the line, not only before the verb, where nobody looks for it.
    arguments = [a for a in arguments if a != "--debug"]
    try:
        if "" in arguments:  # as a path it would be the present folder
            raise UsageError("an argument is empty; a shell variable that is not set, perhaps")
        _require_folder()
        return int(app(args=arguments, prog_name="halfmirror", standalone_mode=False) or 0)
    except HalfmirrorError as e:
        if debug:
            raise
        console.fail(str(e))
        return e.exit_code
    except typer.Abort:
        return console.INTERRUPTED
    except BrokenPipeError:
        raise
    except Exception as e:
        if not hasattr(e, "format_message"):
            if interrupted():
                return console.INTERRUPTED
            if debug:
                raise
            if isinstance(e, OSError) and e.filename is None and not console.stdout_takes():
                console.fail(f"standard output cannot be written: {e.strerror}")
                return 1
            if path := _named_path(e, arguments):
                console.fail(f"{path}: {os.strerror(e.errno)}; give another path")  # type: ignore[attr-defined]
                return 2
            return unexpected(e, arguments)
        # typer's own usage errors; the message is empty when the help was printed in its place
        if e.format_message():
            verb = getattr(getattr(e, "ctx", None), "command_path", "halfmirror")
            console.fail(f"{e.format_message()} (see {verb} --help)")
        return int(getattr(e, "exit_code", 2))


def _require_folder() -> None:
    """The folder that the program was started in is there; else no relative path means anything, nor can a
    worker be started.

    Raises:
        UsageError: somebody removed it (or made it anew, which looks the same to a shell).
    """
    try:
        os.getcwd()
    except FileNotFoundError:
        raise UsageError(
            "the folder this was started in has been removed; change to one that is there"
        ) from None


def _named_path(error: Exception, arguments: Sequence[str]) -> str | None:
    """The path of an `OSError` that holds against a path on the command line, or against one below it.

    `Path.exists()` and its kin raise where a name is too long or a folder may not be looked into; verbs ask
    them everywhere, so the answer is given here.
    """
    if not isinstance(error, OSError) or error.errno not in _NO_PATH or not isinstance(error.filename, str):
        return None
    refused = Path(os.path.abspath(error.filename))
    for word in arguments:
        for text in {word, word.rpartition("=")[2]} - {""}:
            named = Path(os.path.abspath(os.path.expanduser(text)))
            beside = named.stem and refused.name.startswith(named.stem) and refused.parent == named.parent
            if named in (refused, *refused.parents) or beside:
                return error.filename
    return None


def unexpected(error: Exception, arguments: list[str]) -> int:
    """One line and a log with the traceback for an error that should not have happened."""
    log = console.write_crash_log(error, arguments)
    where = f"the traceback is in {log}" if log else "run again with --debug to see the traceback"
    console.fail(f"unexpected {type(error).__name__}: {error}; this is a fault of the program: {where}")
    return console.UNEXPECTED
