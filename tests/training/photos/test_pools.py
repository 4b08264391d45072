"""The catalogue: free licences, enough photos, none of the tests', and the page that lists them."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from capture.errors import UsageError
from tests.training.photos.made import pool as made_pool
from training.photos import pools
from training.photos.licences import document
from training.photos.likeness import held_out
from training.photos.pools import Pool

DOCS = Path(__file__).parents[3] / "docs" / "photos.md"


def test_the_page_lists_the_catalogue() -> None:
    command = "python -m training.photos.licences > docs/photos.md"
    assert DOCS.read_text(encoding="utf-8") == document(), f"write it anew: {command}"


def test_names_of_files_are_names_of_pools() -> None:
    assert [p.name for p in pools.every_pool()] == list(pools.names())


def test_enough_photos_and_each_once_in_all_pools() -> None:
    entries = [e for p in pools.every_pool() for e in p.photos]
    assert len({e.sha256 for e in entries}) == len(entries) >= 100


def test_no_photo_is_named_like_one_of_the_tests() -> None:
    entries = [e for p in pools.every_pool() for e in p.photos]
    assert not [e.name for e in entries if held_out(e.inside or e.path, None)]
    # In the package of scikit-image lie the photos of the simulated rig, too.
    rig = {"astronaut", "camera", "chelsea", "coffee", "grass", "gravel", "hubble_deep_field", "rocket"}
    assert not rig & {Path(e.path).stem for e in entries if e.package == "scikit-image"}


def test_an_unknown_pool_names_those_there_are() -> None:
    with pytest.raises(UsageError, match=r"gcompris, .*stdlib"):
        pools.pool("nosuch")


@pytest.mark.parametrize(
    "change",
    [
        {"licence": "CC-BY-NC-4.0"},
        {"licence": "GPL-2.0"},
        {"licence": ""},
        {"path": "../../etc/passwd"},
        {"path": "/etc/passwd"},
        {"path": "a//b"},
        {"inside": "../x"},
        {"name": "../x"},
        {"name": "a/b"},
        {"package": "other"},
        {"sha256": "ab"},
        {"author": ""},
        {"source": "javascript:x"},
    ],
    ids=str,
)
def test_the_catalogue_refuses(change: dict[str, str]) -> None:
    good = made_pool("tiny", "npm", {"one.png": b"1"}).model_dump(mode="json")
    Pool.model_validate(good)
    with pytest.raises(ValidationError):
        Pool.model_validate(good | {"photos": [good["photos"][0] | change]})


@pytest.mark.parametrize(
    "change", [{"name": "--index-url"}, {"version": "1 --x"}, {"registry": "conda"}], ids=str
)
def test_the_catalogue_refuses_a_package(change: dict[str, str]) -> None:
    good = made_pool("tiny", "npm", {"one.png": b"1"}).model_dump(mode="json")
    with pytest.raises(ValidationError):
        Pool.model_validate(good | {"packages": [good["packages"][0] | change]})


def test_a_photo_twice_is_refused() -> None:
    with pytest.raises(ValidationError, match="twice"):
        made_pool("tiny", "npm", {"one.png": b"1", "two.png": b"1"})
