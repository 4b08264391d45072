"""Files out of archives: by exact name, regular, not too large; a hostile archive gets one line."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from tests.training.photos import made
from training.photos import PhotoError, resource_file, unpack
from training.photos.resource_file import ResourceFileError

FILES = {"photos/a.png": b"first", "photos/b.png": b"second", "other.txt": b"third"}


@pytest.mark.parametrize("kind", ["whl", "tgz", "deb"])
def test_members(kind: str, tmp_path: Path) -> None:
    if kind == "deb":
        if not made.HAS_DPKG:
            pytest.skip("dpkg-deb is not here")
        archive = made.deb(tmp_path / "x.deb", FILES, tmp_path)
    else:
        archive = (made.wheel if kind == "whl" else made.tgz)(tmp_path / f"x.{kind}", FILES)
    assert unpack.members(archive, ["photos/b.png", "photos/a.png"]) == {
        "photos/a.png": b"first", "photos/b.png": b"second"
    }  # fmt: skip
    with pytest.raises(PhotoError, match=r"does not contain photos/c\.png and 1 more"):
        unpack.members(archive, ["photos/d.png", "photos/c.png", "photos/a.png"])


@pytest.mark.parametrize("kind", ["whl", "tgz"])
def test_links_are_refused(kind: str, tmp_path: Path) -> None:
    make = made.wheel if kind == "whl" else made.tgz
    archive = make(tmp_path / f"x.{kind}", FILES, {"photos/c.png": "/etc/passwd"})
    assert unpack.members(archive, ["photos/a.png"]) == {"photos/a.png": b"first"}
    with pytest.raises(PhotoError, match=r"photos/c\.png is a link"):
        unpack.members(archive, ["photos/c.png"])


@pytest.mark.parametrize("kind", ["whl", "tgz"])
def test_nothing_is_written_and_names_that_lead_out_are_not_matched(kind: str, tmp_path: Path) -> None:
    make = made.wheel if kind == "whl" else made.tgz
    (tmp_path / "in").mkdir()
    archive = make(tmp_path / "in" / f"x.{kind}", {"../photos/a.png": b"evil", "/photos/a.png": b"evil"})
    with pytest.raises(PhotoError, match="does not contain"):
        unpack.members(archive, ["photos/a.png"])
    assert [p.name for p in tmp_path.rglob("*")] == ["in", f"x.{kind}"]


@pytest.mark.parametrize("kind", ["whl", "tgz"])
def test_large_members_are_refused(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpack, "MAX_BYTES", 5)
    archive = (made.wheel if kind == "whl" else made.tgz)(tmp_path / f"x.{kind}", FILES)
    assert unpack.members(archive, ["photos/a.png"])
    with pytest.raises(PhotoError, match="refused"):
        unpack.members(archive, ["photos/b.png"])


@pytest.mark.parametrize("kind", ["whl", "tgz", "deb"])
def test_damaged_archives(kind: str, tmp_path: Path) -> None:
    if kind == "deb" and not made.HAS_DPKG:
        pytest.skip("dpkg-deb is not here")
    archive = tmp_path / f"x.{kind}"
    archive.write_bytes(b"no archive at all")
    with pytest.raises(PhotoError, match=r"x\.\w+ is damaged"):
        unpack.members(archive, ["photos/a.png"])


def test_no_dpkg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _name: None)
    with pytest.raises(PhotoError, match="dpkg-deb is not here"):
        unpack.members(tmp_path / "x.deb", ["a"])


@pytest.mark.parametrize("version", [1, 2, 3])
@pytest.mark.parametrize("compress", [True, False])
def test_resource_files(version: int, compress: bool) -> None:
    data = made.resource_file({"a.png": b"first" * 50, "b.png": b"second"}, compress=compress, version=version)
    assert resource_file.files(data, ["photos/b.png", "photos/a.png", "photos/c.png", "photos", "a.png"]) == {
        "photos/a.png": b"first" * 50, "photos/b.png": b"second"
    }  # fmt: skip


def test_damaged_resource_files(monkeypatch: pytest.MonkeyPatch) -> None:
    data = made.resource_file({"a.png": b"first" * 50})
    for broken in (b"", b"qres", b"nope" + data[4:], data[:60], data[:4] + struct.pack(">I", 9) + data[8:]):
        with pytest.raises(ResourceFileError):
            resource_file.files(broken, ["photos/a.png"])
    monkeypatch.setattr(resource_file, "MAX_BYTES", 100)
    with pytest.raises(ResourceFileError, match="more than"):
        resource_file.files(data, ["photos/a.png"])


def test_a_loop_in_the_tree_ends() -> None:
    """The folder "photos" is made its own child."""
    data = bytearray(made.resource_file({"a.png": b"x"}))
    nodes = struct.unpack_from(">I", data, 8)[0]
    struct.pack_into(">II", data, nodes + 22 + 6, 1, 1)
    assert resource_file.files(bytes(data), ["photos/photos/photos/a.png"]) == {}
