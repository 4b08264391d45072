"""What lies beside the streams is on the disk when it is said to be written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from recordings.checking.repair_own import repair_own
from recordings.formats.own_about import ABOUT, HEALTH, About
from recordings.recorder.health import save_text
from tests.capture.simulated_small import small
from tests.recordings.own_sample import about_of, rig_of_config


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths, as they were called then, of everything that was waited for."""
    paths: list[str] = []
    real = os.fsync

    def fsync(fd: int) -> None:
        paths.append(os.readlink(f"/proc/self/fd/{fd}"))
        real(fd)

    monkeypatch.setattr(os, "fsync", fsync)
    return paths


def test_the_files_and_their_names_reach_the_disk(tmp_path: Path, synced: list[str]) -> None:
    about_of(rig_of_config(small(paced=False))).save(tmp_path)
    assert synced == [f"{tmp_path / ABOUT}.part", str(tmp_path)]
    assert About.load(tmp_path).program == "halfmirror 0"
    save_text(tmp_path, "{}\n")
    assert synced[2:] == [f"{tmp_path / HEALTH}.part", str(tmp_path)]
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([ABOUT, HEALTH])


def test_so_does_what_repair_writes(copy: Path, tmp_path: Path, synced: list[str]) -> None:
    out = tmp_path / "out"
    out.mkdir()
    repair_own(copy, out)
    names = {Path(p).name.removesuffix(".part") for p in synced}
    assert {ABOUT, HEALTH} <= names


def test_a_folder_that_cannot_be_synced_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.open

    def refuse(path: object, *a: int, **k: int) -> int:
        if path == tmp_path:
            raise PermissionError
        return real(path, *a, **k)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", refuse)
    save_text(tmp_path, "{}\n")
    assert (tmp_path / HEALTH).read_text() == "{}\n"
