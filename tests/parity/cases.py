"""Finds the parity cases, fills networks for them, compares.

The cases lie under the folder that HALFMIRROR_PARITY_DIR names, by default in `data` beside this file: one
sub-folder a system, with one or several `manifest*.json` (network, seed, options, entries, tolerances) and
arrays in `*.npz`. Sub-folders without a manifest are passed over.

Arrays know when they are read. A test says with `reads` which ones it checks; that it reads each of them is
held when it passes (`conftest`), and that no array of any case is left over is a test of its own
(`test_every_array`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from inference.networks import build
from tests.parity.weights import tensor

DEFAULT = Path(__file__).with_name("data")

# Every array that was looked at since the running test began, as (file, name).
READ: set[tuple[Path, str]] = set()


class Arrays(Mapping[str, NDArray[Any]]):
    """The arrays of one or several files by name. Looking at one is noted; asking for names is not."""

    def __init__(self, found: Mapping[str, tuple[Path, NDArray[Any]]]) -> None:
        self._found = dict(found)

    def __getitem__(self, name: str) -> NDArray[Any]:
        path, value = self._found[name]
        READ.add((path, name))
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def __contains__(self, name: object) -> bool:
        return name in self._found

    def tensor(self, name: str) -> torch.Tensor:
        return torch.from_numpy(np.asarray(self[name]))

    @staticmethod
    def of(*paths: Path) -> Arrays:
        found: dict[str, tuple[Path, NDArray[Any]]] = {}
        for path in paths:
            with np.load(path, allow_pickle=False) as file:
                found |= {name: (path, file[name]) for name in file.files}
        return Arrays(found)


def root() -> Path:
    return Path(os.environ.get("HALFMIRROR_PARITY_DIR") or DEFAULT)


def reads(system: str, files: str, *names: str) -> pytest.MarkDecorator:
    """Says of a test which arrays it checks.

    Args:
        system: what the manifest calls itself.
        files, names: patterns (`fnmatch`), files without their suffix. Names that fit one with "!" in front are
            left out.
    """
    return pytest.mark.reads(system, files, *names)


def fits(marks: list[pytest.Mark], system: str, path: Path, name: str) -> bool:
    """Whether any of the marks speaks of this array."""

    def names(patterns: tuple[str, ...]) -> bool:
        out = any(fnmatchcase(name, p[1:]) for p in patterns if p.startswith("!"))
        return not out and any(fnmatchcase(name, p) for p in patterns)

    return any(
        mark.args[0] == system and fnmatchcase(path.stem, mark.args[1]) and names(mark.args[2:])
        for mark in marks
    )


def every_array(folder: Path) -> Iterator[tuple[Path, str]]:
    """(file, name) of all arrays in a case's folder."""
    for path in sorted(folder.glob("*.npz")):
        with np.load(path, allow_pickle=False) as file:
            yield from ((path, name) for name in file.files)


def unread(marks: list[pytest.Mark], case: Case, read: set[tuple[Path, str]]) -> list[str]:
    """Arrays of a case that the marks speak of and that were not read, in words."""
    every = every_array(case.path.parent)
    claimed = {array for array in every if fits(marks, case.system, *array)}
    return sorted(f"{path.name}: {name}" for path, name in claimed - read)


def unclaimed(marks: list[pytest.Mark], case: Case) -> list[str]:
    """Arrays of a case that none of the marks speaks of, in words."""
    folder = case.path.parent
    return [
        f"{folder.name}/{path.name}: {name}"
        for path, name in every_array(folder)
        if not fits(marks, case.system, path, name)
    ]


@dataclass(frozen=True)
class Case:
    """One manifest and the folder that it speaks of."""

    path: Path
    manifest: dict[str, Any]

    @property
    def tolerance(self) -> float:
        return float(self.manifest["tolerance"])

    @property
    def system(self) -> str:
        return str(self.manifest.get("network"))

    @property
    def seed(self) -> int:
        return int(self.manifest["seed"])

    @property
    def options(self) -> dict[str, Any]:
        return dict(self.manifest.get("options", {}))

    def __str__(self) -> str:
        return f"{self.path.parent.name}/{self.path.stem}"

    def arrays(self, pattern: str) -> list[Arrays]:
        """The arrays of every file of this folder whose name fits."""
        return [Arrays.of(path) for path in sorted(self.path.parent.glob(pattern))]

    def only(self, pattern: str) -> Arrays:
        """The arrays of all files that fit, together."""
        return Arrays.of(*sorted(self.path.parent.glob(pattern)))


def all_cases() -> list[Case]:
    """All manifests there are."""
    return [Case(path, json.loads(path.read_text())) for path in sorted(root().glob("*/manifest*.json"))]


def cases(network: str) -> list[Case]:
    """All manifests of one system, by what they say of themselves, not by the folder's name."""
    return [case for case in all_cases() if case.system == network]


def state(case: Case, seed: int | None = None) -> dict[str, torch.Tensor]:
    """Every entry of the manifest, filled with the case's seed or another one."""
    entries, use = case.manifest["entries"], case.seed if seed is None else seed
    return {name: torch.from_numpy(tensor(name, tuple(s), use)) for name, s in entries.items()}


def filled(case: Case, name: str, **options: Any) -> torch.nn.Module:
    """The network with the case's options and weights, after a look at its entries.

    Names, shapes and order are those of the published checkpoint, and the count of parameters is right.
    """
    net = build(name, **(case.options | options)).eval()
    mine = {entry: list(value.shape) for entry, value in net.state_dict().items()}
    assert list(mine.items()) == list(case.manifest["entries"].items())
    assert sum(p.numel() for p in net.parameters()) == case.manifest["parameters"]
    net.load_state_dict(state(case), strict=True)
    return net


def assert_close(actual: torch.Tensor, expected: NDArray[Any], tolerance: float, what: str) -> None:
    """Same shape, finite, and nowhere further away than `tolerance`."""
    mine = actual.detach().cpu().numpy()
    assert mine.shape == expected.shape, f"{what}: shape {mine.shape}, expected {expected.shape}"
    error = float(np.abs(mine.astype(np.float64) - expected.astype(np.float64)).max(initial=0.0))
    assert error <= tolerance, f"{what}: off by {error:.3g}, tolerance {tolerance:.3g}"
