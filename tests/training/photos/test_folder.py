"""Any folder: good photos in order, every other picture named with its reason."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from capture.errors import UsageError
from tests.training.photos.made import encoded, picture
from training.photos import PhotoError, open_photos


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two good photos, one of them further down."""
    (tmp_path / "b" / "deeper").mkdir(parents=True)
    (tmp_path / "a.jpg").write_bytes(encoded(picture(1), ".jpg"))
    (tmp_path / "b" / "deeper" / "c.PNG").write_bytes(encoded(picture(2)))
    return tmp_path


def reasons(folder: Path) -> dict[str, str]:
    return {s.name: s.reason for s in open_photos(folder).skipped}


def test_photos_of_a_folder_in_order(folder: Path) -> None:
    photos = open_photos(folder)
    assert photos.names == ("a.jpg", "b/deeper/c.PNG")
    assert photos.skipped == ()
    assert photos.licences == {"not stated": 2}
    assert (photos[0].width, photos[0].height) == (200, 150)
    assert np.array_equal(photos.load(1), picture(2))


def test_photos_survive_the_way_to_a_loader_worker(folder: Path) -> None:
    photos = open_photos(folder, max_side=100)
    again = pickle.loads(pickle.dumps(photos))
    assert again.names == photos.names
    assert again.load(1).shape == (75, 100, 3)
    assert photos[1:].names == photos.names[1:]
    assert photos[1:].load(0).shape == (75, 100, 3)


def test_what_cannot_be_used_is_named_skipped_and_counted(folder: Path) -> None:
    good = encoded(picture(3), ".jpg")
    (folder / "half.jpg").write_bytes(good[: len(good) // 2])
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.webp").write_text("no picture")
    (folder / "small.png").write_bytes(encoded(picture(3, 20, 30)))
    (folder / "twin.jpg").write_bytes((folder / "a.jpg").read_bytes())
    (folder / "phone.heic").write_bytes(b"x")
    (folder / "gone.jpg").symlink_to(folder / "nowhere.jpg")
    (folder / "notes.txt").write_text("not a picture, not worth a word")
    (folder / ".hidden.jpg").write_bytes(b"x")
    assert open_photos(folder).names == ("a.jpg", "b/deeper/c.PNG")
    found = reasons(folder)
    assert found.keys() == {
        "half.jpg", "empty.png", "text.webp", "small.png", "twin.jpg", "phone.heic", "gone.jpg"
    }  # fmt: skip
    assert found["half.jpg"] == "is truncated"
    assert found["twin.jpg"] == "is a copy of a.jpg"
    assert "HEIC" in found["phone.heic"]
    assert found["gone.jpg"] == "is not there"


def test_pictures_of_the_tests_are_left_out(folder: Path) -> None:
    rig = Path(__file__).parents[3] / "capture" / "simulated" / "photos"
    (folder / "holiday.jpg").write_bytes((rig / "coffee.jpg").read_bytes())
    (folder / "kodim07.png").write_bytes(encoded(picture(4)))
    found = reasons(folder)
    assert found == {
        "holiday.jpg": "is kept for tests (the simulated rig: coffee)",
        "kodim07.png": "is kept for tests (kodim07)",
    }


def test_fingerprint_follows_names_contents_and_size(folder: Path) -> None:
    first = open_photos(folder).fingerprint
    assert open_photos(folder).fingerprint == first
    assert open_photos(folder, max_side=100).fingerprint != first
    (folder / "a.jpg").rename(folder / "aa.jpg")
    renamed = open_photos(folder).fingerprint
    assert renamed != first
    (folder / "aa.jpg").write_bytes(encoded(picture(5), ".jpg"))
    assert open_photos(folder).fingerprint not in (first, renamed)


def test_a_photo_that_changes_later_is_not_used_silently(folder: Path) -> None:
    photos = open_photos(folder)
    (folder / "a.jpg").write_bytes(encoded(picture(9), ".jpg"))
    with pytest.raises(PhotoError, match=r"a\.jpg .*changed"):
        photos.load(0)
    (folder / "a.jpg").unlink()
    with pytest.raises(PhotoError, match="not there"):
        photos.load(0)


def test_folders_without_a_photo(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        open_photos(tmp_path / "none")
    with pytest.raises(PhotoError, match="holds no photo"):
        open_photos(tmp_path)
    (tmp_path / "bad.jpg").write_bytes(b"\xff\xd8")
    with pytest.raises(PhotoError, match=r"can be used: bad\.jpg is truncated"):
        open_photos(tmp_path)
    with pytest.raises(UsageError, match="is a file"):
        open_photos(tmp_path / "bad.jpg")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every folder")
def test_folders_without_permission(folder: Path) -> None:
    (folder / "b").chmod(0)
    try:
        assert "Permission" in reasons(folder)["b/"]
        folder.chmod(0)
        with pytest.raises(PhotoError, match="cannot be read: Permission"):
            open_photos(folder)
    finally:
        folder.chmod(0o700)
        (folder / "b").chmod(0o700)


def test_unreadable_folders_are_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same without permissions, which bind no root: the system refuses one folder, then the top one."""
    scandir, refused = os.scandir, {str(folder / "b")}

    def scan(path: str | os.PathLike[str]) -> object:
        if os.fspath(path) in refused:
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return scandir(path)

    monkeypatch.setattr("os.scandir", scan)
    photos = open_photos(folder)
    assert photos.names == ("a.jpg",)
    assert [(s.name, s.reason) for s in photos.skipped] == [("b/", "cannot be read (Permission denied)")]
    refused.add(str(folder))
    with pytest.raises(PhotoError, match="cannot be read: Permission denied"):
        open_photos(folder)
