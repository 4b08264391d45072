"""Finds the parity cases, fills networks for them, compares.

The cases lie under the folder that HALFMIRROR_PARITY_DIR names, by default in `data` beside this file: one
sub-folder a system, with one or several `manifest*.json` (network, seed, options, entries, tolerances) and
arrays in `*.npz`. Sub-folders without a manifest are passed over.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from inference.networks import build
from tests.parity.weights import tensor

DEFAULT = Path(__file__).with_name("data")
Arrays = dict[str, NDArray[Any]]


def root() -> Path:
    return Path(os.environ.get("HALFMIRROR_PARITY_DIR") or DEFAULT)


@dataclass(frozen=True)
class Case:
    """One manifest and the folder that it speaks of."""

    path: Path
    manifest: dict[str, Any]

    @property
    def tolerance(self) -> float:
        return float(self.manifest["tolerance"])

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
        found = []
        for path in sorted(self.path.parent.glob(pattern)):
            with np.load(path, allow_pickle=False) as file:
                found.append({name: file[name] for name in file.files})
        return found

    def only(self, pattern: str) -> Arrays:
        """The arrays of all files that fit, together."""
        return {name: value for arrays in self.arrays(pattern) for name, value in arrays.items()}


def cases(network: str, pattern: str = "manifest*.json") -> list[Case]:
    """All manifests of one system, by what they say of themselves, not by the folder's name."""
    found = []
    for path in sorted(root().glob(f"*/{pattern}")):
        manifest = json.loads(path.read_text())
        if manifest.get("network") == network:
            found.append(Case(path, manifest))
    return found


def state(case: Case) -> dict[str, torch.Tensor]:
    """Every entry of the manifest, filled with the case's seed."""
    entries = case.manifest["entries"]
    return {name: torch.from_numpy(tensor(name, tuple(s), case.seed)) for name, s in entries.items()}


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
