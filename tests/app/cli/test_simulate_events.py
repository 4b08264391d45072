"""`halfmirror simulate events` and `simulate rig`: what they serve opens, and what they refuse."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.cli.program import execute
from capture import registry
from capture.errors import CameraError
from capture.packets import EventPacket, Frame
from sync.rig import Rig

ROOT = Path(__file__).resolve().parents[3]
SMALL = [
    "event_width=48", "event_height=32", "image_width=96", "image_height=64", "loop_s=0.6", "rate_hz=25",
    "exposure_us=15000",
]  # fmt: skip


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Any]:
    running: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> Path:
        path = tmp_path / "wire.toml"
        given = [w for s in SMALL for w in ("--set", s)]
        running.append(
            subprocess.Popen(
                [sys.executable, "-m", "app.cli.main", "simulate", *arguments, "--rig-file", str(path), *given],
                cwd=tmp_path, text=True, stderr=subprocess.PIPE,
                env={**os.environ, "PYTHONPATH": str(ROOT), "HALFMIRROR_CACHE": str(tmp_path / "cache")},
            )
        )  # fmt: skip
        deadline = time.monotonic() + 80
        while not path.exists() and running[-1].poll() is None and time.monotonic() < deadline:
            time.sleep(0.1)
        assert path.exists(), running[-1].stderr and running[-1].stderr.read()
        return path

    yield start
    for p in running:
        p.send_signal(signal.SIGINT)
        _, said = p.communicate(timeout=30)
        assert p.returncode == 130
        assert "Traceback" not in said


def first_items(rig: Rig) -> tuple[EventPacket, Frame]:
    e_driver, e_config = registry.open_driver(rig.events.camera, rig.events.settings)
    f_driver, f_config = registry.open_driver(rig.image.camera, rig.image.settings)
    events, frames = e_driver.event_camera(e_config), f_driver.frame_camera(f_config)
    deadline = time.monotonic() + 60
    for c in (events, frames):
        while True:
            try:
                c.open()
                break
            except CameraError:
                assert time.monotonic() < deadline
                time.sleep(0.2)
        c.start()
    e = f = None
    while (e is None or f is None or not len(e.events)) and time.monotonic() < deadline:
        e = events.read(0.1) if e is None or not len(e.events) else e
        f = frames.read(0.1) if f is None else f
    events.close()
    frames.close()
    assert e is not None
    assert f is not None
    return e, f


def test_both_cameras_open_by_the_rig_file(serve: Any) -> None:
    rig = Rig.load(serve("rig", "--port", "0", "--address", "127.0.7.1"))
    assert rig.events.camera.startswith("aedat4-tcp:127.0.0.1:")
    assert rig.image.camera == "genicam:127.0.7.1"
    e, f = first_items(rig)
    assert (e.events.width, e.events.height) == (48, 32)
    assert (f.width, f.height) == (96, 64)
    assert len(e.events) > 0


def test_wrong_requests_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, text in (
        (["events", "--rig", "davis346"], "give simulated"),
        (["events", "--port", "80"], "out of range"),
        (["events", "--serial", "a b"], "letters and digits"),
        (["events", "--sockets", str(tmp_path / "no")], "is no folder"),
        (["events", "--rig-file", str(tmp_path / "r.toml")], "simulate rig"),
        (["events", "--sockets", str(tmp_path), "--port", "7777"], "--sockets and --port are two ways"),
        (["events", "--overwrite"], "--overwrite is about --rig-file"),
        (["genicam", "--overwrite"], "--overwrite is about --rig-file"),
        (["rig", "--loss", "2"], "share"),
        (["rig", "--address", "8.8.8.8"], "127"),
    ):
        assert execute(["simulate", *arguments]) == 2, arguments
        said = capsys.readouterr().err
        assert text in said
        assert said.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("later_s", [0.013, 1.234, 77.7])
def test_cameras_that_are_started_by_themselves_are_in_step(
    later_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else no trigger edge belongs to a frame, and events and pictures show different motion."""
    from app.cli import simulate_events
    from capture.simulated.gige import pictures

    epochs: list[int] = []

    def told(*arguments: Any) -> None:
        epochs.append(arguments[-1])
        raise CameraError("enough")

    monkeypatch.setattr(simulate_events, "served", told)
    monkeypatch.setattr(pictures, "RigPictures", told)
    now = time.monotonic_ns()
    small = [w for s in SMALL for w in ("--set", s)]
    for what, moment in (("events", now), ("genicam", now + round(1e9 * later_s))):
        monkeypatch.setattr(time, "monotonic_ns", lambda moment=moment: moment)
        assert execute(["simulate", what, *small]) == 1
        assert 0 <= moment - epochs[-1] <= 600_000_000
    assert (epochs[1] - epochs[0]) % 600_000_000 == 0
