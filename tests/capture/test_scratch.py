"""Where no folder for temporary files takes anything, that is said in a line."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from app.cli import console, main
from capture.notices import RuntimeDirectory
from capture.passing_folder import PassingFolder
from capture.scratch import NoScratch, scratch_root
from recordings.open import open_recording
from tests.recordings.make_aedat4 import write_aedat4
from tests.recordings.sample import sample_events, sample_frames


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> str:
        raise FileNotFoundError(2, "No usable temporary directory found in ['/tmp', '/var/tmp']")

    monkeypatch.setattr(tempfile, "gettempdir", none)


def test_it_is_one_line_with_advice(nowhere: None) -> None:
    for made in (scratch_root, RuntimeDirectory, lambda: PassingFolder("halfmirror-test-")):
        with pytest.raises(NoScratch, match="name one in TMPDIR"):
            made()


def test_a_command_ends_with_that_line(
    nowhere: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rig = "simulated:davis?image_width=64&image_height=48&event_width=64&event_height=48&cache=false"
    assert main.run(["record", rig, "-o", str(tmp_path / "r"), "--frames", "3"]) == 1
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1
    assert "no folder for temporary files" in said[0]


def test_a_crash_log_finds_no_place_and_gives_no_error(
    nowhere: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platformdirs.user_log_dir", lambda *_a, **_k: str(tmp_path / "logs"))
    assert console.write_crash_log(ValueError("x"), ["doctor"]) is not None
    (tmp_path / "file").touch()
    monkeypatch.setattr("platformdirs.user_log_dir", lambda *_a, **_k: str(tmp_path / "file" / "logs"))
    assert console.write_crash_log(ValueError("x"), ["doctor"]) is None


@pytest.fixture
def written(tmp_path: Path) -> Path:
    return write_aedat4(tmp_path / "a.aedat4", sample_events(), sample_frames())


def test_a_recording_that_needs_no_place_is_read(written: Path, nowhere: None) -> None:
    with open_recording(written) as recording:
        assert recording.info.event_size is not None
