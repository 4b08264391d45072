"""Where the command line speaks: results on stdout, everything else on stderr, errors in one line."""

from __future__ import annotations

import os
import platform
import sys
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

INTERRUPTED = 130  # 128 + SIGINT, as shells have it
UNEXPECTED = 70  # EX_SOFTWARE of sysexits.h: a fault of the program, not of the request


def out() -> Console:
    """The console for results (stdout)."""
    from rich.console import Console

    return Console(highlight=False)


def err() -> Console:
    """The console for progress, notes and errors (stderr)."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def say(message: str) -> None:
    """One line for the person, on stderr, so that stdout stays clean for results."""
    err().print(message, markup=False, soft_wrap=True)


def fail(message: str) -> None:
    """One red line on stderr. Line breaks in the message are folded: an error is one line."""
    one_line = " ".join(str(message).split())
    err().print(f"halfmirror: {one_line}", style="bold red", markup=False, soft_wrap=True)


def stdout_takes() -> bool:
    """Standard output takes what it is given, an empty line here; False when it leads to a full disk, say."""
    try:
        if sys.stdout is not None:  # closed from the start: `>&-`
            sys.stdout.write("\n")
            sys.stdout.flush()
    except OSError:
        return False
    return True


def write_crash_log(error: BaseException, arguments: list[str]) -> Path | None:
    """The traceback in a file of its own for a bug report; None when no folder can be written to."""
    import tempfile

    import platformdirs

    text = "".join(traceback.format_exception(error))
    head = f"halfmirror {' '.join(arguments)}\nPython {sys.version}\n{platform.platform()}\n\n"
    stamp = time.strftime("%Y%m%d-%H%M%S")
    usual = Path(platformdirs.user_log_dir("halfmirror", appauthor=False))
    for place in (usual, None):
        try:
            folder = place or Path(tempfile.gettempdir())
            path = folder / f"halfmirror-{stamp}-{os.getpid()}.log"
            folder.mkdir(parents=True, exist_ok=True)
            # Names that are no UTF-8 come in as surrogates.
            path.write_text(head + text, encoding="utf-8", errors="backslashreplace")
        except OSError:
            continue
        return path
    return None
