"""A first look at files, HDF5 in a process of its own: its library may crash on a damaged one.

The process is this module: it reads one JSON line a file and writes one with the facts or the reason why the
file is left out. When it dies, the file in work is named, and another process goes on behind it.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from training.data.sets.facts import FAULTS, SequenceFacts, why

Result = SequenceFacts | str
CRASHED = "the process that read it crashed; the file is damaged"
_MODULE = "training.data.sets.probing"


def probe(module: str, arguments: Sequence[Any]) -> Result:
    """What is there, or why it cannot be used.

    Args:
        module: of this package, with a function `probe`; "hdf5": whichever reads the file.
        arguments: of that function.
    """
    try:
        if module == "hdf5":
            module = _hdf5_module(arguments[0])
        facts: SequenceFacts = import_module(f"training.data.sets.{module}").probe(*arguments)
    except FAULTS as error:
        return why(error)
    return facts if facts.items else "no frame in it has a window of events (fewer than three, or no times)"


def probe_apart(arguments: Sequence[Sequence[Any]]) -> list[Result]:
    """`probe` of HDF5 files in another process."""
    out: list[Result] = []
    while len(out) < len(arguments):
        rest = arguments[len(out) :]
        found = _run(rest)
        out += found
        if len(found) < len(rest):
            out.append(CRASHED)
    return out


def _run(arguments: Sequence[Sequence[Any]]) -> list[Result]:
    lines = "".join(json.dumps(list(a)) + "\n" for a in arguments)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    done = subprocess.run(  # -P: a package `training` in the present folder is another one
        [sys.executable, "-P", "-m", _MODULE], input=lines, capture_output=True, text=True, env=environment,
        check=False,
    )  # fmt: skip
    out: list[Result] = []
    for line in done.stdout.splitlines():
        try:
            found = json.loads(line)
        except ValueError:
            break  # cut off in the middle
        out.append(found if isinstance(found, str) else _facts(found))
    return out


def _facts(d: dict[str, Any]) -> SequenceFacts:
    return SequenceFacts(
        d["format"], tuple(d["files"]), d["name"], d["split"], (d["size"][0], d["size"][1]),
        None if d["grid"] is None else (d["grid"][0], d["grid"][1]),
        tuple(None if s is None else (s[0], s[1]) for s in d["spans"]), frozenset(d["carries"]), d["digest"],
        None if d["pairs"] is None else tuple(d["pairs"]), tuple(d["problems"]),
    )  # fmt: skip


def _hdf5_module(path: str) -> str:
    from training.data.sets.hdf5 import opened

    with opened(path) as file:
        names = set(file)
    if "voxels" in names and "events" not in names:
        return "efnet_scer"
    if "events" in names:
        return "efnet_raw"
    raise ValueError(f"is an HDF5 file with {', '.join(sorted(names)[:8]) or 'nothing in it'}: no known layout")


def _serve() -> None:
    for line in sys.stdin:
        found = probe("hdf5", json.loads(line))
        plain = found if isinstance(found, str) else dataclasses.asdict(found)
        if isinstance(plain, dict):
            plain["carries"] = sorted(plain["carries"])
        print(json.dumps(plain), flush=True)


if __name__ == "__main__":
    _serve()
