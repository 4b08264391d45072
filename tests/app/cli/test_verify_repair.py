"""`halfmirror recordings verify` and `repair`: exit codes, one line for each finding, nothing half-written."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from pathlib import Path

import pytest

from app.cli import main
from recordings.checking import repair_own
from recordings.formats.own_about import ABOUT, STREAMS
from recordings.open import open_recording
from tests.capture.simulated_small import small
from tests.recordings.damage import copied, cut, wrong_data
from tests.recordings.make_prophesee import write
from tests.recordings.own_sample import items_of, rig_of_config, write_own
from tests.recordings.sample import sample_events

Captured = pytest.CaptureFixture[str]
CONFIG = small(paced=False)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("own") / "recording"
    write_own(folder, rig_of_config(CONFIG), items_of(CONFIG, 0.8))
    return folder


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    return copied(made, tmp_path / "copy")


def test_exit_codes_are_sound_lossy_and_unusable(made: Path, copy: Path, capsys: Captured) -> None:
    assert main.run(["recordings", "verify", str(made)]) == 0
    assert capsys.readouterr().out.splitlines()[-1].endswith(" frames: sound")
    wrong_data(copy, 20)
    assert main.run(["recordings", "verify", str(copy)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("loss     streams.hmc: 1 of ") for line in lines)
    assert lines[-1].endswith(": usable with losses")
    (copy / STREAMS).write_bytes(b"")
    assert main.run(["recordings", "verify", str(copy)]) == 2
    assert capsys.readouterr().out.splitlines()[-1].endswith("unusable")
    assert main.run(["recordings", "verify", str(copy / "nowhere")]) == 2
    assert "does not exist" in capsys.readouterr().err


def test_verify_as_json(copy: Path, capsys: Captured) -> None:
    wrong_data(copy, 20)
    assert main.run(["recordings", "verify", str(copy), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["verdict"], found["exit_code"]) == ("usable with losses", 1)
    assert {f["grade"] for f in found["findings"]} == {"loss", "note"}
    assert found["counts"]["frames"] > 10


def test_repair_says_what_it_kept_and_lost(copy: Path, tmp_path: Path, capsys: Captured) -> None:
    cut(copy, 0.5)
    out = tmp_path / "out"
    assert main.run(["recordings", "repair", str(copy), "-o", str(out)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{out}: lossy"
    assert lines[1].startswith("kept: ")
    assert lines[2].startswith("lost: ")
    assert "event packets with " in lines[2]
    with open_recording(out) as r:
        assert len(list(r.items())) > 10
    assert main.run(["recordings", "repair", str(copy), "-o", str(tmp_path / "again"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["verdict"], found["output"]) == ("lossy", str(tmp_path / "again"))
    assert found["lost"]["event_packets"] > 0


def test_a_target_that_exists_is_refused_and_left_alone(copy: Path, tmp_path: Path, capsys: Captured) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("x")
    assert main.run(["recordings", "repair", str(copy), "-o", str(out)]) == 2
    assert "exists already" in capsys.readouterr().err
    assert main.run(["recordings", "repair", str(copy), "-o", str(copy / "in")]) == 2
    assert "lies inside the recording" in capsys.readouterr().err
    assert [p.name for p in out.iterdir()] == ["mine.txt"]


def test_nothing_saved_is_an_error_and_leaves_nothing(copy: Path, tmp_path: Path, capsys: Captured) -> None:
    (copy / ABOUT).unlink()
    assert main.run(["recordings", "repair", str(copy), "-o", str(tmp_path / "out")]) == 1
    err = capsys.readouterr().err
    assert "--about FILE" in err
    assert err.count("\n") == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["copy"]


def test_a_full_disk_leaves_nothing(
    copy: Path, tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(repair_own, "_put", full)
    assert main.run(["recordings", "repair", str(copy), "-o", str(tmp_path / "out")]) == 1
    assert "disk full while writing" in capsys.readouterr().err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["copy"]


def test_other_formats_need_no_repair(tmp_path: Path, capsys: Captured) -> None:
    path = write(tmp_path / "e.raw", "evt3", sample_events())
    assert main.run(["recordings", "repair", str(path), "-o", str(tmp_path / "out")]) == 1
    assert "which need not be mended: it is read as far as it can be read" in capsys.readouterr().err
    assert main.run(["recordings", "repair", str(path), "-o", str(tmp_path / "o"), "--about", "x"]) == 2
    assert "--about is for Halfmirror's own recordings" in capsys.readouterr().err


def test_a_cut_aedat4_becomes_a_file(sample_cut: Path, tmp_path: Path, capsys: Captured) -> None:
    out = tmp_path / "out.aedat4"
    assert main.run(["recordings", "repair", str(sample_cut), "-o", str(out)]) == 0
    assert capsys.readouterr().out.startswith(f"{out}: lossy\nkept: ")
    assert out.is_file()


@pytest.fixture
def sample_cut(tmp_path: Path) -> Path:
    from tests.recordings.make_aedat4 import write_aedat4
    from tests.recordings.sample import sample_edges, sample_frames

    whole = write_aedat4(tmp_path / "s.aedat4", sample_events(), sample_frames(), sample_edges())
    whole.write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
    return whole


@pytest.mark.parametrize("verb", ["verify", "repair"])
def test_help_has_an_example_and_imports_nothing_heavy(verb: str) -> None:
    code = (
        f"import sys; from app.cli.main import run; run(['recordings', {verb!r}, '--help'])\n"
        "print([m for m in ('torch', 'numpy', 'numba') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert f"Example: halfmirror recordings {verb}" in done.stdout
    assert done.stdout.strip().splitlines()[-1] == "[]"
