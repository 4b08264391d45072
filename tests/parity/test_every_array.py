"""No array of any case is left unread, and no test claims to read what it does not."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import numpy as np
import pytest

from tests.parity.cases import READ, Case, all_cases, reads, unclaimed, unread


def claims() -> list[pytest.Mark]:
    """What all parity tests say that they check."""
    found: list[pytest.Mark] = []
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        module = importlib.import_module(f"tests.parity.{path.stem}")
        for name, value in vars(module).items():
            if name.startswith("test_"):
                found += [m for m in getattr(value, "pytestmark", []) if m.name == "reads"]
    return found


def test_every_array_of_every_case_is_checked() -> None:
    marks = claims()
    systems = {mark.args[0] for mark in marks}
    folders = {case.path.parent: case for case in all_cases()}
    assert folders
    foreign = [f"{case} ({case.system})" for case in folders.values() if case.system not in systems]
    assert not foreign, f"cases of systems that no test knows: {', '.join(foreign)}"
    left = [line for case in folders.values() for line in unclaimed(marks, case)]
    assert not left, "arrays that no test checks:\n" + "\n".join(left)


@pytest.fixture
def case(tmp_path: Path) -> Case:
    folder = tmp_path / "efnet"
    folder.mkdir()
    path = folder / "manifest.json"
    path.write_text(json.dumps({"network": "efnet", "seed": 1}))
    np.savez(folder / "case.npz", image=np.zeros(2), new_value=np.ones(1), loss_value=np.ones(1))
    np.savez(folder / "extra.npz", image=np.zeros(2))
    return Case(path, json.loads(path.read_text()))


def test_what_nobody_claims_is_named(case: Case) -> None:
    marks = [reads("efnet", "case*", "image", "*_value", "!new_*").mark, reads("gem", "*", "*").mark]
    assert unclaimed(marks, case) == ["efnet/case.npz: new_value", "efnet/extra.npz: image"]
    assert any("new_value" in line for line in unclaimed(claims(), case))


def test_what_is_claimed_and_not_read_is_named(case: Case) -> None:
    marks = [reads("efnet", "*", "image", "loss_*").mark]
    (arrays, _) = case.arrays("*.npz")
    assert "loss_value" in list(arrays)  # a question for names reads nothing
    _ = arrays["image"]
    assert unread(marks, case, READ) == ["case.npz: loss_value", "extra.npz: image"]
    _ = case.only("*.npz")["loss_value"]
    _ = case.arrays("extra.npz")[0]["image"]
    assert not unread(marks, case, READ)
