"""Paths of a recipe: whole in a run's folder, short in its weights."""

from __future__ import annotations

import errno
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


def test_photos_that_were_moved_are_known_where_the_old_place_is_closed_or_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exists = Path.exists

    def closed(path: Path, **how: Any) -> bool:
        if path.is_relative_to("/home/other"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return exists(path, **how)

    monkeypatch.setattr(Path, "exists", closed)
    here = tiny(data__photos=f"{tmp_path}/photos")
    for before in ("/home/other/photos", "/gone/a,b/photos"):
        assert paths.moved(tiny(data__photos=before), here, ()).data == here.data
    for before in ("/gone/one,/gone/photos", "/gone/a,b", "/gone/photos,package:all"):
        assert paths.moved(tiny(data__photos=before), here, ()).data.photos == before
    assert paths.without_folders(tiny(data__photos="/home/other/photos")).data.photos == "photos"


def test_files_that_were_found_may_be_named_and_the_other_way_round() -> None:
    kept = tiny(data__options={"bsn": "", "edsr": "/old/edsr", "flow": "", "word": "a"})
    now = tiny(data__options={"bsn": "/new/bsn", "edsr": "", "flow": "/new/flow", "word": "b"})
    found = paths.moved(kept, now, ("bsn", "edsr", "flow", "none"), ("flow",)).data.options
    assert found == {"bsn": "/new/bsn", "edsr": "", "flow": "", "word": "a"}


def test_a_chain_keeps_them_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    given: dict[str, Any] = {"data.recordings": ["v"], "ldn.data.photos": "p", "run.steps": 3}
    assert paths.absolute_values(given) == {
        "data.recordings": [f"{tmp_path}/v"], "ldn.data.photos": f"{tmp_path}/p", "run.steps": 3,
    }  # fmt: skip
