"""`live` without a RIG: what the window showed last, where that opens."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from app.cli import main
from app.cli.last_source import first_source
from app.viewer.remembered import Remembered
from app.viewer.settings_file import SettingsFile
from capture.registry import RigFacts
from sync.rig import Rig
from tests.recordings.make_aedat4 import write_aedat4
from tests.recordings.sample import sample_events, sample_frames


def rig_file(path: Path) -> Path:
    Rig.from_facts("test", RigFacts((64, 48), (64, 48), one_sensor=True)).save(path)
    return path


def test_rigs_and_recordings_are_opened_again(tmp_path: Path) -> None:
    take, rig = (
        write_aedat4(tmp_path / "a.aedat4", sample_events(), sample_frames()),
        rig_file(tmp_path / "r.toml"),
    )
    assert first_source("", None) == ("simulated", "")
    assert first_source("simulated:night", None) == ("simulated:night", "")
    assert first_source(str(rig), None) == (rig, "")
    assert first_source(str(take), "edi") == (take, "")


@pytest.mark.parametrize("last", [
    "gone.aedat4", "gone.toml", "simulated:moon", "tcp://127.0.0.1:5556", "empty.aedat4", "frames.aedat4",
    "n" * 300,
])  # fmt: skip
def test_what_does_not_open_gives_way_to_the_simulated_rig_in_one_line(last: str, tmp_path: Path) -> None:
    (tmp_path / "empty.aedat4").touch()
    write_aedat4(tmp_path / "frames.aedat4", frames=sample_frames())
    named = last if ":" in last else str(tmp_path / last)
    source, why = first_source(named, "edi")
    assert source == "simulated"
    assert named in why
    assert "\n" not in why


def test_what_does_not_answer_gives_way_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    back = threading.Event()
    monkeypatch.setattr("app.patience.SLOW_S", 0.05)
    # As a network drive that has gone: the call does not come back.
    monkeypatch.setattr(Path, "exists", lambda _p: back.wait(30))
    source, why = first_source("/mnt/gone/a.aedat4", "edi")
    back.set()
    assert source == "simulated"
    assert "/mnt/gone/a.aedat4 has not answered" in why


def test_a_recording_is_nothing_for_the_rig_page(tmp_path: Path) -> None:
    take = write_aedat4(tmp_path / "a.aedat4", sample_events(), sample_frames())
    assert first_source(str(take), None, rig_page=True)[0] == "simulated"


def test_live_opens_it_in_a_window_and_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[object] = []
    settings = tmp_path / "viewer.json"
    monkeypatch.setattr("app.viewer.remembered.usual_path", lambda: settings)
    monkeypatch.setattr("app.viewer.main.run_viewer", lambda _m, source, *_a, **_k: seen.append(source) or 0)
    monkeypatch.setattr("app.cli.run_session.run_without_window", lambda _m, s, *_a, **_k: seen.append(s) or 0)
    monkeypatch.setenv("QT_QPA_PLATFORM", "offscreen")
    Remembered(SettingsFile(settings)).source = "simulated:night"
    assert main.run(["live"]) == 0
    assert main.run(["live", "simulated"]) == 0
    assert main.run(["live", "--screenshot", str(tmp_path / "s.png")]) == 0
    assert main.run(["live", "--headless"]) == 0
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(name, raising=False)
    assert main.run(["live"]) == 0
    assert seen == ["simulated:night", "simulated", "simulated", "simulated", "simulated"]
    monkeypatch.setenv("QT_QPA_PLATFORM", "offscreen")
    Remembered(SettingsFile(settings)).source = str(tmp_path / "gone.aedat4")
    capsys.readouterr()
    assert main.run(["live"]) == 0
    assert seen[-1] == "simulated"
    assert "gone.aedat4, which was shown last, does not open" in capsys.readouterr().err
