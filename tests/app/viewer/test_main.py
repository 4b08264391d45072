from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PySide6.QtGui import QImage

from app.viewer import main
from app.viewer.remembered import Remembered
from capture.errors import UsageError
from tests.app.viewer.fake_session import FakeSession, Scene

ROOT = Path(__file__).resolve().parents[3]


def test_a_screenshot_is_taken_when_there_is_something_to_see(
    scene: Scene, tmp_path: Path, remembered: Remembered
) -> None:
    sessions: list[FakeSession] = []

    def factory(source: str | Path, network: str) -> FakeSession:
        sessions.append(FakeSession(scene, fps=60, network=network))
        return sessions[-1]

    file = tmp_path / "shots" / "window.png"
    remembered.network = "none"
    code = main.run_viewer(
        factory, "simulated", "edi", screenshot=file, screenshot_after_s=0.1, remembered=remembered
    )
    assert code == 0
    image = QImage(str(file))
    assert (image.width(), image.height()) == (1280, 800)
    assert len({image.pixel(x, 300) for x in range(200, 1000, 7)}) > 20
    assert sessions[0].calls[-1] == ("stop",)
    assert remembered.network == "none"  # a screenshot changes nothing that is remembered
    assert remembered.source == ""


def test_a_recording_of_few_pictures_is_taken_at_its_end(
    scene: Scene, tmp_path: Path, remembered: Remembered, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(main, "SCREENSHOT_LIMIT_S", 20.0)

    def factory(source: str | Path, network: str) -> FakeSession:
        session = FakeSession(scene, fps=60, network=network, recording=True)
        session.total = main.SCREENSHOT_PICTURES - 7
        return session

    file = tmp_path / "w.png"
    code = main.run_viewer(
        factory, "short.aedat4", "edi", screenshot=file, screenshot_after_s=0.1, remembered=remembered
    )
    assert code == 0
    assert file.exists()


def test_no_screenshot_of_a_source_that_does_not_open(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], remembered: Remembered
) -> None:
    def factory(source: str | Path, network: str) -> FakeSession:
        raise UsageError("no such file: cups.aedat4")

    file = tmp_path / "w.png"
    assert main.run_viewer(factory, "cups.aedat4", "edi", screenshot=file, remembered=remembered) == 1
    assert "no such file: cups.aedat4" in capsys.readouterr().err
    assert not file.exists()


def test_without_a_display_one_line_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(name, raising=False)

    def factory(source: str | Path, network: str) -> FakeSession:
        raise AssertionError("no session without a display")

    assert main.run_viewer(factory, "simulated", "edi") == 1
    assert capsys.readouterr().err == (
        "The viewer needs a display: no display: neither DISPLAY nor WAYLAND_DISPLAY is set.\n"
    )


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_closes_the_window_and_stops_the_session(sign: signal.Signals, tmp_path: Path) -> None:
    code = (
        "import sys; from app.viewer.main import run_viewer; "
        "from tests.app.viewer.fake_session import FakeSession, Scene\n"
        "class S(FakeSession):\n"
        "    def poll(self):\n"
        "        print('running', flush=True); return super().poll()\n"
        "    def stop(self):\n"
        "        super().stop(); print('stopped', flush=True)\n"
        "sys.exit(run_viewer(lambda s, n: S(Scene(64, 48, frames=2, events_per_frame=9)), 'simulated', 'edi'))"
    )
    env = {**os.environ, "QT_QPA_PLATFORM": "offscreen", "XDG_CONFIG_HOME": str(tmp_path)}
    p = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=env,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert p.stdout is not None
    assert p.stdout.readline() == "running\n"
    time.sleep(0.1)
    p.send_signal(sign)
    out, err = p.communicate(timeout=60)
    assert out.splitlines()[-1] == "stopped"
    assert p.returncode == 0
    assert "Traceback" not in err


def test_a_screenshot_into_no_folder_ends_the_program(
    scene: Scene, tmp_path: Path, remembered: Remembered, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    code = main.run_viewer(
        lambda _s, network: FakeSession(scene, fps=60, network=network), "simulated", "edi",
        screenshot=tmp_path / "file" / "w.png", screenshot_after_s=0.1, remembered=remembered,
    )  # fmt: skip
    assert code == 1
    assert "halfmirror: no screenshot was taken:" in capsys.readouterr().err
