"""What a killed process left half written goes when the same name is written again, and only that."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from capture.parts import LEFT_S, own_part

GONE = 999_999_999


def left(folder: Path, name: str, pid: int, age_s: float, *, is_folder: bool = False) -> Path:
    path = folder / f".{name}.{pid}.part"
    if is_folder:
        (path / "deep").mkdir(parents=True)
    else:
        path.write_bytes(b"half")
    then = path.stat().st_mtime - age_s
    os.utime(path, (then, then))
    return path


def test_leftovers_go_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = LEFT_S + 60
    dead = [
        left(tmp_path, "rig.toml", GONE, old),
        left(tmp_path, "rig.toml", GONE - 1, old, is_folder=True),
    ]
    kept = [
        left(tmp_path, "rig.toml", GONE - 2, LEFT_S - 60),  # another machine's, perhaps
        left(tmp_path, "rig.toml", os.getppid(), old),
        left(tmp_path, "other.toml", GONE, old),
        tmp_path / ".rig.toml.part",
        tmp_path / "rigAtoml.1.part",
    ]
    for path in kept[3:]:
        path.touch()
    mine = own_part(tmp_path / "rig.toml")
    assert mine == tmp_path / f".rig.toml.{os.getpid()}.part"
    assert not any(path.exists() for path in (*dead, mine))
    assert all(path.exists() for path in kept)
    monkeypatch.setattr("os.getuid", lambda: 4_000_000)
    another = left(tmp_path, "rig.toml", GONE, old)
    own_part(tmp_path / "rig.toml")
    assert another.exists()


def test_a_folder_that_is_not_there_is_no_fault(tmp_path: Path) -> None:
    assert own_part(tmp_path / "none" / "a").parent == tmp_path / "none"
