"""Functions that numba compiles, kept on disk where that can be done and compiled anew where it cannot.

numba keeps machine code beside the source or in the user's cache folder. A program that was installed by
someone else and runs without a home that can be written to (a container with a user of its own, a service) has
neither, and numba then refuses the function itself, so nothing could be imported. Such a program gets a folder
of its own for as long as it runs. Processes that it starts share it; nobody else can write to it, since numba
reads what it finds there with pickle.

numba compiles into a function what it calls and the constants that it uses, and looks at the function's own
file alone when it asks whether code that it kept is of today. Here all own files that it imports are looked at.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numba

from capture.sources import digest

_PLACE = "NUMBA_CACHE_DIR"  # numba's own; processes that are started inherit it
_PREFIX = "halfmirror-compiled-"
_own: object = None  # held for as long as the program runs
_Result = TypeVar("_Result")


def njit(**options: Any) -> Callable[[Callable[..., _Result]], Callable[..., _Result]]:
    """`numba.njit(cache=True, **options)` that also works where numba finds no place for its cache.

    What is kept is compiled anew when the function's file changes, or an own one that it imports (`sources`).

    Arguments are not checked by their types: compiled code takes numpy's numbers where the source says `int`.
    """

    def compiled(function: Callable[..., _Result]) -> Callable[..., _Result]:
        made: Callable[..., _Result]
        try:
            made = numba.njit(cache=True, **options)(function)
        except RuntimeError:  # "cannot cache function …: no locator available"
            made = numba.njit(cache=_make_place(), **options)(function)
        _stamp(made, function)
        _bear_full_disks(made)
        return made

    return compiled


def _stamp(made: Any, function: Callable[..., Any]) -> None:
    """Have what is kept of a function be of today only when all files are from which it is compiled."""
    # Not there where numba is switched off, or keeps nothing.
    kept = getattr(getattr(made, "_cache", None), "_cache_file", None)
    if kept is not None:
        of_all = digest(function.__module__, function.__code__.co_filename)
        kept._source_stamp = (kept._source_stamp, of_all)


def _bear_full_disks(made: Any) -> None:
    """Have a disk that does not take (or give) the machine code cost a compilation and not the program."""
    cache = getattr(made, "_cache", None)
    for name in ("save_overload", "load_overload"):
        real = getattr(cache, name, None)
        if real is not None:
            setattr(cache, name, _or_none(real))


def _or_none(real: Callable[..., _Result]) -> Callable[..., _Result | None]:
    def tried(*arguments: Any) -> _Result | None:
        try:
            return real(*arguments)
        except OSError:  # full, a quota, a limit of size, read-only by now: what is kept only saves time
            return None

    return tried


def is_kept() -> bool:
    """Whether numba found a place where compiled code outlives the program, as far as functions were made."""
    return not Path(numba.config.CACHE_DIR).name.startswith(_PREFIX)


def _make_place() -> bool:
    """A folder for this run and the processes it starts; False where not even that can be had."""
    from capture.passing_folder import PassingFolder  # which few need, and not every system has the locks for

    global _own
    try:
        _own = made = PassingFolder(_PREFIX)
    except OSError:
        return False
    folder = str(made.path)
    os.environ[_PLACE] = numba.config.CACHE_DIR = folder
    return True
