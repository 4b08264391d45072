"""Which of the program's own source files a module is made from: its own, and all that it imports of them."""

from __future__ import annotations

import functools
import hashlib
import re
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]
_OWN = frozenset({"capture", "sync", "recordings", "inference", "calibration", "training", "app"})
# All imports are written so. Read as text, since a module's syntax tree takes milliseconds.
_IMPORT = re.compile(r"^[ \t]*from ([\w.]+) import (?:\(([^)]*)\)|(.*))$", re.MULTILINE)


@functools.cache
def digest(module: str, file: str) -> str:
    """Changes when the text of a module does, or of any own one that it imports, directly or through others.

    Args:
        module: its whole name; what it imports from the package that it belongs to is own, too.
        file: its source. What cannot be read has no part in it.
    """
    path = Path(file).resolve()
    parts = module.split(".")
    above = path.parents[min(len(parts), len(path.parents)) - 1]
    seen: dict[Path, str] = {}
    waiting = [path]
    while waiting:
        one = waiting.pop()
        if one in seen:
            continue
        try:
            seen[one], imports = _read(one)
        except OSError:
            seen[one] = ""
            continue
        for name, taken in imports:
            package = name.partition(".")[0]
            if package in _OWN or package == parts[0]:
                waiting += _files((_ROOT if package in _OWN else above) / name.replace(".", "/"), taken)
    text = "".join(sorted(seen.values()))
    return hashlib.sha256(text.encode()).hexdigest()


@functools.cache
def _read(path: Path) -> tuple[str, list[tuple[str, list[str]]]]:
    """A file's digest, and its imports: a module and the names that are taken from it."""
    data = path.read_bytes()
    found = [
        (name, [word.split()[0] for word in (several or one).split(",") if word.strip()])
        for name, several, one in _IMPORT.findall(data.decode(errors="replace"))
    ]
    return hashlib.sha256(data).hexdigest(), found


def _files(module: Path, taken: list[str]) -> list[Path]:
    """The file of a module; of a package its own, and those of the modules that are taken from it."""
    if (package := module / "__init__.py").is_file():
        return [package, *(f for name in taken if (f := module / f"{name}.py").is_file())]
    return [module.with_name(f"{module.name}.py")]
