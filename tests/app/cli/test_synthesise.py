"""`halfmirror synthesise`: a pool from a folder of photos, what it says, and what it refuses in a line."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest

from app.cli import main
from tests.training.synthesis.scenes import photos
from training.synthesis.pool import Pool

SMALL = ["--size", "32", "--set", "subframes=[8,10]", "--workers", "1", "--count", "20"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "photos"
    path.mkdir()
    for k, image in enumerate(photos(3, 200)):
        cv2.imwrite(str(path / f"{k}.png"), image)
    return path


def test_a_pool_with_a_corrupt_photo_among_good_ones(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no picture")
    out, sheet = tmp_path / "pool", tmp_path / "sheets" / "first.png"
    call = ["synthesise", "-o", str(out), "--photos", str(folder), "--preview", str(sheet), *SMALL]
    assert main.run(call) == 0
    said = capsys.readouterr().err
    assert "skipped: broken.jpg" in said
    assert "32 samples from 3 photos (1 skipped)" in said
    assert "samples/s" in said
    assert len(Pool(out)) == 32
    assert cv2.imread(str(sheet)) is not None
    assert [p.name for p in sheet.parent.iterdir()] == [sheet.name]
    assert "" not in said.splitlines()  # of a bar that is not shown
    assert main.run(call) == 0
    assert "all were there already" in capsys.readouterr().err
    assert main.run([*call, "--seed", "9"]) == 2
    assert "holds a pool of other photos, seed or settings" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        (["--photos", "nowhere"], "nowhere"),
        (["--count", "0"], "--count 0"),
        (["--set", "blurr=1"], "blurr"),
        (["--size", "33"], "multiple of 8"),
        (["--preview", "sheet.gif"], ".png"),
        (["--photos", "package:no-such"], "no-such"),
        (["--workers", "-1"], "--workers"),
        (["--seed", "-1"], "--seed"),
        (["--frames", "5"], "--frames"),
        (["--preview", "/proc/sheet.png"], "cannot write /proc/sheet.png"),
    ],
)
def test_refused_in_one_line(
    changes: list[str], what: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main.run(["synthesise", "-o", str(tmp_path / "p"), "--photos", str(folder), *SMALL, *changes])
    said = capsys.readouterr().err
    assert code in (1, 2)
    assert what in said
    assert len([line for line in said.splitlines() if line.startswith("halfmirror:")]) == 1
    assert not (tmp_path / "p").exists()


@pytest.mark.parametrize(
    ("what", "more", "said"),
    [
        ("new", ["--format", "efnet"], "--format 'efnet': did you mean 'efnet-h5'? known are pool, efnet-h5"),
        ("full", [], "holds other things (pool.json is missing)"),
        ("full", ["--format", "frames"], "holds other things (synthesis.json is missing)"),
        ("file", [], "is a file; give the name of a folder"),
    ],
)
def test_format_and_place_are_checked_before_photos_are_fetched(
    what: str, more: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def fetched(*_a: object, **_k: object) -> None:
        raise AssertionError("photos were fetched")

    monkeypatch.setattr("training.photos.open_photos", fetched)
    out = tmp_path / "out"
    if what == "full":
        out.mkdir()
        (out / "streams.hmc").touch()
    elif what == "file":
        out.touch()
    before = sorted(tmp_path.rglob("*"))
    assert main.run(["synthesise", "-o", str(out), *more]) == 2
    assert said in " ".join(capsys.readouterr().err.split())
    assert sorted(tmp_path.rglob("*")) == before


def test_an_empty_folder_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "none").mkdir()
    assert main.run(["synthesise", "-o", str(tmp_path / "p"), "--photos", str(tmp_path / "none")]) in (1, 2)
    assert "none" in capsys.readouterr().err


def test_videos_in_a_published_layout_that_a_protocol_measures(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, result = tmp_path / "videos", tmp_path / "evaluation"
    call = ["synthesise", "-o", str(out), "--photos", str(folder), "--format", "frames", "--frames", "5"]
    small = ["--size", "32", "--set", "subframes=[8,10]", "--workers", "1", "--count", "1"]
    assert main.run([*call, *small]) == 0
    assert "1 videos to train on and 1 to test with, 5 frames each (frames); 2 drawn" in capsys.readouterr().err
    call = ["evaluate", "none", "none", "--data", str(out), "--protocol", "cdvd-tsp", "-o", str(result)]
    assert main.run(call) == 0
    said = capsys.readouterr().out
    assert sum(line.startswith("| none |") for line in said.splitlines()) == 1
    assert "| CDVD_TSP_GOPRO.pt | GoPro test | 31.672 | 0.9279 |" in (result / "report.md").read_text()
    assert [p.name for p in (result / "pictures").iterdir()] == ["test0000-00002-0.5000.png"]
    again = ["evaluate", "none", "--data", str(out), "--protocol", "sc-net", "-o", str(result)]
    assert main.run(again) == 2
    assert main.run([*again, "--overwrite"]) == 2
    assert "protocol sc-net does not fit" in capsys.readouterr().err
    assert (result / "report.md").is_file()
    assert main.run(["evaluate", "none", "--protocol", "sc-net", "-o", str(tmp_path / "x")]) == 2
    assert "--data and --protocol belong together" in capsys.readouterr().err
    capsys.readouterr()
    for more in (["--suite", "mine"], ["--set", "count=2"], ["--best-contrast"], ["--reblur", "30"]):
        call = [
            "evaluate",
            "none",
            "--data",
            str(out),
            "--protocol",
            "sc-net",
            "-o",
            str(tmp_path / "x"),
            *more,
        ]
        assert main.run(call) == 2
        assert "are not for a data set" in capsys.readouterr().err
    assert main.run(["evaluate", "none", "--devices", "2", "-o", str(tmp_path / "x")]) == 2
    assert "it goes with --data and --protocol" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        (["--format", "avi"], "known are pool, efnet-h5"),
        (["--format", "frames", "--scale", "4"], "only msrbd has not"),
        (["--format", "frames", "--preview", "a.png"], "--preview is of a pool"),
        (["--test", "3"], "give --format"),
    ],
)
def test_videos_that_cannot_be_meant(
    changes: list[str], what: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run(["synthesise", "-o", str(tmp_path / "out"), "--photos", str(folder), *changes]) == 2
    assert what in capsys.readouterr().err
