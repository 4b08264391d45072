"""Paths of a recipe: whole in a run's folder, short in its weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.training.tiny_task import tiny
from training import paths


def test_they_are_made_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    recipe = tiny(data__photos="package:gcompris, ~/Pictures,mine", data__recordings=["a/b.h5", "/c"],
                  data__options={"pool": "p", "word": "p", "none": ""})  # fmt: skip
    found = paths.absolute(recipe, ("pool", "none")).data
    assert found.photos == f"package:gcompris,/home/me/Pictures,{tmp_path}/mine"
    assert found.recordings == (f"{tmp_path}/a/b.h5", "/c")
    assert found.options == {"pool": f"{tmp_path}/p", "word": "p", "none": ""}
    short = paths.without_folders(paths.absolute(recipe, ("pool",))).data
    assert (short.photos, short.recordings) == ("package:gcompris,Pictures,mine", ("b.h5", "c"))
    assert short.options == {"pool": "p", "word": "p", "none": ""}


@pytest.mark.parametrize("photos", ["", "package:all", " "])
def test_what_is_no_folder_stays(photos: str) -> None:
    assert paths.absolute(tiny(data__photos=photos), ()).data.photos == photos


def test_what_could_not_be_read_again_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a,b").mkdir()
    monkeypatch.chdir(tmp_path / "a,b")
    assert paths.absolute(tiny(data__photos="x,y"), ()).data.photos == "x,y"
    Path("x,y").mkdir()
    assert paths.absolute(tiny(data__photos="x,y"), ()).data.photos == f"{tmp_path}/a,b/x,y"


def test_a_chain_keeps_them_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    given: dict[str, Any] = {"data.recordings": ["v"], "ldn.data.photos": "p", "run.steps": 3}
    assert paths.absolute_values(given) == {
        "data.recordings": [f"{tmp_path}/v"], "ldn.data.photos": f"{tmp_path}/p", "run.steps": 3,
    }  # fmt: skip
