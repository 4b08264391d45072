"""Files of a folder by their names: which of them count, and in which order."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

# Folders that systems and storage boxes leave among a person's own, without a dot before their names.
_OF_SYSTEMS = frozenset({"__macosx", "@eadir", "$recycle.bin", "system volume information", "lost+found"})


def is_hidden(name: str) -> bool:
    """What a system left there: names that begin with a dot (macOS writes `._NAME` beside files), its folders.

    Args:
        name: of a file or folder, without those above it.
    """
    return name.startswith(".") or name.lower() in _OF_SYSTEMS


def natural(path: Path) -> list[tuple[int, int | str]]:
    """A key by which `2.png` comes before `10.png`."""
    words = re.split(r"(\d+)", path.name.lower())
    return [(0, int(w)) if w.isdecimal() and len(w) < 30 else (1, w) for w in words]


def files_with(folder: Path, *suffixes: str) -> list[Path]:
    """The files of a folder itself that end so (in lower case; files' own may be upper), in `natural` order.

    Hidden ones do not count.
    """
    found = (p for p in folder.iterdir() if p.suffix.lower() in suffixes and not is_hidden(p.name))
    return sorted((p for p in found if p.is_file()), key=natural)


def skipped(paths: list[Path]) -> dict[int, int]:
    """Where numbers are left out in a row of files: by the place of the file behind, how many.

    Args:
        paths: in order; empty is returned where they are no row that counts on in like steps.
    """
    found = [number_in(p) for p in paths]
    if len(paths) < 3 or None in found or len({f[0] for f in found if f}) != 1:
        return {}
    numbers = [f[1] for f in found if f]
    steps = [b - a for a, b in itertools.pairwise(numbers)]
    step = min(steps)
    if step < 1 or 2 * steps.count(step) < len(steps):
        return {}
    return {k: s // step - 1 for k, s in enumerate(steps, 1) if s >= 2 * step}


def number_in(path: Path) -> tuple[str, int] | None:
    """The last number in a file's name and what stands around it; None where there is none.

    Files that differ in the number alone belong to one row.
    """
    found = re.fullmatch(r"(.*?)(\d{1,18})(\D*)", path.stem)
    return None if found is None else (f"{found.group(1)}*{found.group(3)}", int(found.group(2)))
