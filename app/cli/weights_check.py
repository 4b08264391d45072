"""The folder of weights, as a check of `halfmirror doctor`. Cards and sizes alone: nothing large is read."""

from __future__ import annotations

import os
from pathlib import Path

from app.cli.checks import Check, State

NAME = "weights"
_ANOTHER = "or name another folder: {0}=FOLDER"


def weights() -> list[Check]:
    """Where weights are kept, whether they can be read and added, and what is wrong with a file."""
    from inference import store

    place = store.folder()
    try:
        found = [_folder(place), *_files(place)]
    except OSError as e:
        advice = f"see what is wrong with it, {_ANOTHER.format(store.VARIABLE)}"
        found = [Check(NAME, State.NOTE, f"{place} cannot be looked into: {e.strerror or e}", advice)]
    return found + _shipped(store.SHIPPED)


def _folder(place: Path) -> Check:
    from inference.cards import NAMES
    from inference.store import VARIABLE

    another = _ANOTHER.format(VARIABLE)
    if not place.exists():
        above = next(p for p in place.absolute().parents if p.exists())
        if not os.access(above, os.W_OK | os.X_OK):
            advice = f"no weights can be added: make {above} writable, {another}"
            return Check(NAME, State.NOTE, f"{place} is not there and cannot be made", advice)
        return Check(NAME, State.OK, f"those that come with the program; others would go to {place}")
    if not place.is_dir():
        return Check(NAME, State.NOTE, f"{place} is no folder", f"move it away, {another}")
    if not os.access(place, os.R_OK | os.X_OK):
        return Check(NAME, State.NOTE, f"{place} cannot be read", f"change its permissions, {another}")
    own = [n for n in NAMES if (place / f"{n}.safetensors").exists()]
    facts = f"{', '.join(own) or 'none of your own'} in {place}"
    if not os.access(place, os.W_OK):
        advice = f"no weights can be added: change its permissions, {another}"
        return Check(NAME, State.NOTE, f"{facts}, which cannot be written to", advice)
    return Check(NAME, State.OK, facts)


def _files(place: Path) -> list[Check]:
    """What is wrong with files in it, a line each."""
    from inference import store
    from inference.cards import NAMES
    from inference.weights_limits import WeightsError

    out: list[Check] = []
    if not place.is_dir() or not os.access(place, os.R_OK | os.X_OK):
        return out
    for path in sorted(place.iterdir()):
        if path.name.startswith(".") and path.suffix == ".part":
            if not _being_written(path):
                what = f"{path} was left half-written ({path.stat().st_size / 1e6:.0f} MB)"
                out.append(Check(NAME, State.NOTE, what, f"remove it, and add the weights again: rm {path}"))
        elif path.suffix == ".safetensors" and path.stem in NAMES:
            try:
                store.installed(path.stem)
            except WeightsError as e:
                what, _, advice = str(e).rpartition("; ")
                out.append(Check(NAME, State.NOTE, what or str(e), advice if what else "see who may read it"))
        elif path.suffix == ".safetensors":
            what = f"{path} is called after no network, so nothing uses it"
            out.append(Check(NAME, State.NOTE, what, f"add it: halfmirror models add NETWORK {path}"))
    return out


def _being_written(part: Path) -> bool:
    """A program that writes it is there: its process id is in the name."""
    import psutil

    number = part.stem.rpartition(".")[2]
    return number.isdigit() and psutil.pid_exists(int(number))


def _shipped(place: Path) -> list[Check]:
    """What is wrong with the weights that come with the program."""
    from inference.weights_limits import WeightsError
    from inference.weights_safetensors import read_header

    out: list[Check] = []
    for name in ("glint", "glint-large"):
        path = place / f"{name}.safetensors"
        try:
            read_header(path)
        except (OSError, WeightsError) as e:
            why = e.strerror if isinstance(e, OSError) else str(e)
            advice = "the installation is not whole: install the program again"
            out.append(Check(NAME, State.NOTE, f"{path}, of the program itself, is of no use: {why}", advice))
    return out
