"""What doctor says of the folder of weights."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from app.cli.checks import Check, State
from app.cli.weights_check import weights
from inference import store

SHIPPED = store.SHIPPED


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(store.VARIABLE, str(tmp_path / "models"))
    return tmp_path / "models"


def forbid(monkeypatch: pytest.MonkeyPatch, path: Path, right: int) -> None:
    """As for a person who has no such right; these tests may be run by one who has all of them."""
    monkeypatch.setattr(os, "access", lambda p, mode: not (Path(p) == path and mode & right))


def test_a_folder_that_is_not_there_is_all_well_where_it_can_be_made(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (found,) = weights()
    assert (found.state, found.advice) == (State.OK, "")
    assert str(place) in found.facts
    assert not place.exists()
    forbid(monkeypatch, place.parent, os.W_OK)
    (found,) = weights()
    assert found.state is State.NOTE
    assert f"make {place.parent} writable" in found.advice


def test_own_weights_are_named(place: Path) -> None:
    place.mkdir()
    shutil.copy(SHIPPED / "glint.safetensors", place)
    assert weights() == [Check("weights", State.OK, f"glint in {place}")]


@pytest.mark.parametrize(
    ("right", "text"), [(os.R_OK, "cannot be read"), (os.W_OK, "which cannot be written to")]
)
def test_a_folder_without_permission(
    place: Path, monkeypatch: pytest.MonkeyPatch, right: int, text: str
) -> None:
    place.mkdir()
    forbid(monkeypatch, place, right)
    (found,) = weights()
    assert found.state is State.NOTE
    assert text in found.facts
    assert "change its permissions, or name another folder: HALFMIRROR_MODELS=FOLDER" in found.advice


def test_a_file_in_its_place(place: Path) -> None:
    place.write_text("")
    (found,) = weights()
    assert found.facts == f"{place} is no folder"


def test_files_that_are_of_no_use_and_what_to_do_about_them(place: Path) -> None:
    place.mkdir()
    whole = (SHIPPED / "glint.safetensors").read_bytes()
    (place / "glint.safetensors").write_bytes(whole[: len(whole) // 2])  # cut off
    (place / "efnet.safetensors").write_bytes(whole)  # of another network
    (place / "mine.safetensors").write_bytes(whole)
    (place / ".gem.safetensors.999999999.part").write_bytes(b"x" * 10)
    (place / f".gem.safetensors.{os.getpid()}.part").write_bytes(b"x")  # is being written
    first, *others = weights()
    assert first.state is State.OK
    told = {c.facts.removeprefix(f"{place}/").split()[0]: c for c in others}
    assert all(c.state is State.NOTE and c.advice for c in others)
    assert set(told) == {
        "glint.safetensors", "efnet.safetensors", "mine.safetensors", ".gem.safetensors.999999999.part",
    }  # fmt: skip
    assert "is damaged" in told["glint.safetensors"].facts
    assert "remove it: the shipped weights come back" in told["glint.safetensors"].advice
    assert "has no card of efnet" in told["efnet.safetensors"].facts
    assert "halfmirror models add NETWORK" in told["mine.safetensors"].advice
    assert "left half-written" in told[".gem.safetensors.999999999.part"].facts


def test_weights_of_the_program_itself(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "SHIPPED", tmp_path / "shipped")
    (tmp_path / "shipped").mkdir()
    shutil.copy(SHIPPED / "glint.safetensors", tmp_path / "shipped")
    _, found = weights()
    assert "glint-large.safetensors, of the program itself, is of no use: No such file" in found.facts
    assert "install the program again" in found.advice
