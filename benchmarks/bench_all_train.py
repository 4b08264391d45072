"""The first two parts of `bench_all`: scenes are drawn, networks are trained, alone or side by side."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.bench_all_entries import ENTRIES, SCENES, How, settings_with_time
from capture.cores import usable_cores

_LAYOUTS = {"videos": "efnet-h5", "pairs": "msrbd", "spikes": "spikes", "pool": "pool"}
_POOL = 32
"""Samples of the pool in place of each video."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be made.

    Attributes:
        out: folder of everything.
        photos: as `halfmirror synthesise --photos` takes them.
        videos: to train on, and held out.
        size: side of a picture.
        minutes: of training, for each.
        device: "cpu" or "cuda".
        together: all trainings at once.
    """

    out: Path
    photos: str
    videos: tuple[int, int]
    size: int
    minutes: float
    device: str
    together: bool = False


class Failed(Exception):
    """A command of the program failed. The message is its last line."""


def device_of(asked: str) -> str:
    """ "cpu" or "cuda"; "auto" is a GPU where PyTorch sees one."""
    import torch

    if asked == "cpu" or (asked == "auto" and not torch.cuda.is_available()):
        return "cpu"
    return "cuda"


def device_name(device: str) -> str:
    """In words, for the table."""
    if device == "cpu":
        return f"{usable_cores()} cores of {platform.machine()}"
    import torch

    return torch.cuda.get_device_name()


def start(store: Path, arguments: Sequence[Any], log: Path, threads: int = 0) -> subprocess.Popen[bytes]:
    """Begin one command of the program; what it says goes to the end of `log`.

    Args:
        store: of weights, for this command alone.
        threads: of each of its processes; 0: as they choose.
    """
    environment = {**os.environ, "HALFMIRROR_MODELS": str(store)}
    if threads:
        environment["OMP_NUM_THREADS"] = str(threads)
    command = [sys.executable, "-m", "app.cli.main", *map(str, arguments)]
    with log.open("ab") as out:
        return subprocess.Popen(command, env=environment, stdout=out, stderr=subprocess.STDOUT)


def finish(process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait for a command.

    Raises:
        Failed: it could not do what it was asked for.
    """
    if code := process.wait():
        lines = log.read_text(errors="replace").strip().splitlines() or [""]
        raise Failed(f"exit code {code}: {lines[-1]} ({log})")


def draw(wanted: Wanted, names: Sequence[str], measured: bool) -> None:
    """The scenes in every layout that the names take, and the held-out videos; finished files stay.

    Raises:
        Failed: they cannot be drawn.
    """
    needed = {ENTRIES[name].data for name in names} | ({"videos"} if measured else set())
    count, held_out = wanted.videos
    given = ["--size", wanted.size, "--seed", "5", "--photos", wanted.photos]
    given += [part for s in SCENES for part in ("--set", s)]
    for name, layout in _LAYOUTS.items():
        if name not in needed:
            continue
        shape = (
            ["--count", _POOL * count] if layout == "pool"
            else ["--format", layout, "--count", count, "--test", held_out]
        )  # fmt: skip
        log = wanted.out / "data.log"
        command = ["synthesise", "-o", wanted.out / name, *shape, *given]
        finish(start(wanted.out / "store", command, log), log)


def train(wanted: Wanted, names: Sequence[str]) -> dict[str, str]:
    """Train what is not trained yet; gives why some could not be, by name.

    One after another, or all at once: then they share the device, and each has its share of the cores.
    """
    due = [n for n in names if ENTRIES[n].recipe and not done_file(wanted.out, n).exists()]
    failed: dict[str, str] = {}
    for group in [due] if wanted.together else [[name] for name in due]:
        _train_at_once(wanted, group, failed)
    return failed


def _train_at_once(wanted: Wanted, names: Sequence[str], failed: dict[str, str]) -> None:
    threads = max(1, usable_cores() // len(names)) if len(names) > 1 else 0
    running: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for name in names:
            running[name] = _begin(wanted, name, threads)
        for name, process in running.items():
            _end(wanted, name, process, len(names), failed)
    except BaseException:
        for process in running.values():
            process.terminate()
        for process in running.values():
            process.wait()
        raise


def done_file(out: Path, name: str) -> Path:
    """There once the entry is trained; holds `How`."""
    return out / f"{name}.done"


def how_of(out: Path, name: str) -> How | None:
    """How a finished entry was trained; None where that was not noted."""
    text = done_file(out, name).read_text() if done_file(out, name).exists() else ""
    if not text.strip():
        return None
    values = json.loads(text)
    return How(**{**values, "settings": tuple(values["settings"])})


def _begin(wanted: Wanted, name: str, threads: int) -> subprocess.Popen[bytes]:
    entry, run, data = ENTRIES[name], wanted.out / "runs" / name, wanted.out / ENTRIES[name].data
    if run.exists():
        arguments: list[Any] = ["train", run, "--resume"]
    else:
        settings, length = settings_with_time(entry, wanted.device, wanted.minutes)
        given = (
            ["--photos", wanted.photos, "--set", f"data.options.pool={data}"] if entry.data == "pool"
            else ["--data", data]
        )  # fmt: skip
        parts = [part for s in settings for part in ("--set", s)]
        arguments = ["train", entry.recipe, *given, *parts, *length, "-o", run]
    return start(
        wanted.out / "stores" / name, [*arguments, "--device", wanted.device], wanted.out / f"{name}.log",
        threads,
    )  # fmt: skip


def _end(
    wanted: Wanted, name: str, process: subprocess.Popen[bytes], together: int, failed: dict[str, str]
) -> None:
    try:
        finish(process, wanted.out / f"{name}.log")
    except Failed as error:
        failed[name] = str(error)
        return
    how = How(
        device_name(wanted.device), wanted.minutes, together, ENTRIES[name].set_on(wanted.device)
    )  # fmt: skip
    done_file(wanted.out, name).write_text(json.dumps(asdict(how), indent=1) + "\n")
