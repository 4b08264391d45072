"""What keeps the program from working before it begins: another system, or files that hide its packages.

It needs the standard library alone, and no package of ours, any of which may be hidden: `halfmirror` runs this
file by its path.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Sequence
from importlib.machinery import PathFinder
from importlib.util import find_spec

NOT_HERE = "this program runs on Linux; on Windows install it inside WSL 2 (wsl --install)"
IMPORTED = ("app", "capture", "inference", "recordings", "sync")
"""Packages without which `import halfmirror` cannot be."""
PACKAGES = (*IMPORTED, "calibration", "training")
_ROOT = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))


def hindrance(packages: Iterable[str] = PACKAGES) -> str | None:
    """One sentence that says what is in the way and what to do; None: nothing. Takes a millisecond or two.

    Args:
        packages: those of ours that will be needed.
    """
    if not hasattr(signal, "SIGHUP"):
        return NOT_HERE
    for name, place in namesakes(packages):
        theirs = "site-packages" in place or "dist-packages" in place
        do = "give Halfmirror a virtual environment of its own" if theirs else "rename it"
        return f"{place} hides Halfmirror's package {name!r}: {do}"
    return None


def namesakes(
    packages: Iterable[str] = PACKAGES, folders: Sequence[str] | None = None
) -> Iterable[tuple[str, str]]:
    """What would be imported in the place of our packages: name and path. Imports nothing of it.

    Args:
        packages: names to look for.
        folders: where to look; None: as Python does.
    """
    for name in packages:
        try:
            spec = find_spec(name) if folders is None else PathFinder.find_spec(name, folders)
        except ValueError:  # a program put something of its own there, of which nothing is known
            continue
        if spec is None or not spec.has_location or spec.origin is None:
            continue  # a folder of that name which holds no Python hides nothing
        place = spec.origin
        if os.path.basename(place).startswith("__init__."):
            place = os.path.dirname(place)
        if os.path.realpath(place) != os.path.join(_ROOT, name):
            yield name, place
