"""`halfmirror simulate genicam`: a camera in another process, killed and brought back; what it refuses."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from app.cli import main
from capture.errors import CameraError, CameraLost
from capture.genicam import aravis
from capture.genicam.driver import GENICAM
from sync.rig import Rig
from tests.capture.contract import read_items
from tests.capture.genicam.wire import own_address
from tests.capture.simulated_small import SMALL

ROOT = Path(__file__).resolve().parents[3]


def _process(address: str, *more: str) -> subprocess.Popen[str]:
    settings = [w for k, v in SMALL.items() for w in ("--set", f"{k}={v}")]
    call = [sys.executable, "-m", "app.cli.main", "simulate", "genicam", "--address", address, *settings, *more]
    p = subprocess.Popen(
        call, cwd=ROOT, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert p.stderr is not None
    for line in p.stderr:
        if "open it as" in line:
            return p
    raise AssertionError(f"it ended with {p.wait()}")


def test_a_camera_that_is_killed_and_started_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        aravis.load()
    except CameraError as e:
        pytest.skip(str(e))
    monkeypatch.setenv("HALFMIRROR_CACHE", str(tmp_path))
    address, rig_file = own_address(), tmp_path / "camera.toml"
    process = _process(address, "--rig-file", str(rig_file), "--loss", "0.01")
    rig = Rig.load(rig_file)
    assert (rig.image.camera, rig.image.width, rig.image.tone) == (f"genicam:{address}", 128, "srgb")
    camera = GENICAM.frame_camera(GENICAM.configure(address, rig.image.settings))
    try:
        camera.open()
        camera.start()
        frames = read_items(camera, 5)
        assert [f.exposure_ns for f in frames] == [20_000_360] * 5  # type: ignore[union-attr]
        process.kill()
        process.wait()
        began = time.monotonic()
        with pytest.raises(CameraLost):
            while True:
                camera.read(0.05)
        assert time.monotonic() - began < 1.0
        camera.close()
        process = _process(address, "--seconds", "30")
        began = time.monotonic()
        camera.open()
        camera.start()
        assert read_items(camera, 3)
        assert time.monotonic() - began < 5.0
    finally:
        camera.close()
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=20)[1]
    assert process.returncode == 130
    assert "frames sent in" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--address", "192.168.1.5"], "'192.168.1.5' is not a loopback address"),
        (["--address", "home"], "'home' is not a loopback address"),
        (["--loss", "2"], "--loss 2 is out of range"),
        (["--stamp", "middle"], "--stamp 'middle'"),
        (["--serial", "x" * 16], "--serial"),
        (["--rig", "evk4"], "give simulated or simulated:PRESET"),
        (["--rig", "simulated:nigth"], "did you mean 'night'"),
        (["--set", "exposure_us=5"], "exposure_us"),
        (["--seconds", "-1"], "--seconds -1 is out of range"),
    ],
)
def test_what_it_refuses(
    options: list[str],
    told: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("HALFMIRROR_CACHE", str(tmp_path))
    settings = [w for k, v in SMALL.items() if "--rig" not in options for w in ("--set", f"{k}={v}")]
    assert main.run(["simulate", "genicam", *settings, *options]) == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert told in last


def test_an_address_that_is_taken(capsys: pytest.CaptureFixture[str]) -> None:
    from tests.capture.genicam import wire

    with wire.device() as first, pytest.raises(CameraError, match=f"cannot use {first.address}:3956"):
        wire.device(address=first.address).start()
