"""`halfmirror photos`: what it prints, its exit codes, one line for each error."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from app.cli import main
from tests.training.photos import made
from training.photos import clients, pools

Captured = pytest.CaptureFixture[str]
PHOTOS = {"one.png": made.encoded(made.picture(1)), "two.jpg": made.encoded(made.picture(2), ".jpg")}


@pytest.fixture(autouse=True)
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One pool, whose package needs no registry."""
    pool = made.pool("tiny", "npm", PHOTOS)
    monkeypatch.setenv("HALFMIRROR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(pools, "names", lambda: ("tiny",))
    monkeypatch.setattr(pools, "every_pool", lambda: (pool,))
    known = pools.pool
    monkeypatch.setattr(pools, "pool", lambda name: pool if name == "tiny" else known(name))
    files = {f"photos/{n}": d for n, d in PHOTOS.items()}
    monkeypatch.setattr(clients, "download", lambda _package, folder: made.tgz(folder / "tiny.tgz", files))


def test_list_fetch_list_check(capsys: Captured) -> None:
    assert main.run(["photos", "list"]) == 0
    assert "tiny" in (before := capsys.readouterr().out)
    assert "fetched" not in before
    assert main.run(["photos", "fetch", "tiny"]) == 0
    assert capsys.readouterr().out == "tiny: 2 photos, whole\n"
    assert main.run(["photos", "list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)["pools"][0]
    assert (listed["fetched"], listed["photos"], listed["licences"]) == (True, 2, {"CC0-1.0": 2})
    assert main.run(["photos", "check", "package:tiny"]) == 0
    assert "2 photos can be used" in capsys.readouterr().out


def test_check_names_what_is_skipped(tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "good.png").write_bytes(PHOTOS["one.png"])
    (tmp_path / "bad\x1b[31m.jpg").write_bytes(PHOTOS["two.jpg"][:500])
    assert main.run(["photos", "check", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "skipped bad?[31m.jpg: is truncated" in out
    assert "1 photos can be used" in out
    assert "1 skipped" in out
    assert main.run(["photos", "check", str(tmp_path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["photos"], found["skipped"][0]["reason"]) == (1, "is truncated")
    assert len(found["fingerprint"]) == 64


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["check", "/no/such/folder"], 2, "does not exist"),
        (["check", "package:nosuch"], 2, "no pool of photos is called 'nosuch'"),
        (["fetch", "nosuch"], 2, "no pool of photos"),
        (["check", "EMPTY"], 1, "holds no photo"),
    ],
)
def test_errors_are_one_line(
    arguments: list[str], code: int, told: str, tmp_path: Path, capsys: Captured
) -> None:
    (tmp_path / "empty").mkdir()
    assert main.run(["photos", *[a.replace("EMPTY", str(tmp_path / "empty")) for a in arguments]]) == code
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert told in lines[0]


@pytest.mark.parametrize("verb", ["", "list", "fetch", "check"])
def test_every_help_has_an_example(verb: str, capsys: Captured) -> None:
    assert main.run(["photos", *verb.split(), "--help"]) == 0
    assert "halfmirror photos" in capsys.readouterr().out.split("Example:")[1]


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from app.cli.main import run; run(['photos', 'check', '--help'])\n"
        "print([m for m in ('torch', 'numpy', 'cv2', 'training.photos') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().splitlines()[-1] == "[]"
