"""Rig files that `halfmirror simulate` writes: none that says something else is replaced unasked."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.cli.program import execute
from app.cli.simulate_shared import save_rig
from capture.errors import UsageError
from capture.simulated.presets import configure
from capture.simulated.rig import facts_of
from sync.rig import Rig
from tests.capture.genicam.wire import device, own_address
from tests.capture.simulated_small import SMALL, SMALL_DAVIS

CALIBRATED = "# calibrated on a Tuesday\n"


@pytest.fixture
def rig() -> Rig:
    return Rig.from_facts("simulated:handheld on the wire", facts_of(configure("handheld", {})))


def test_a_file_that_says_the_same_is_left(rig: Rig, tmp_path: Path) -> None:
    path = tmp_path / "wire.toml"
    save_rig(rig, path, overwrite=False)
    path.write_text(CALIBRATED + path.read_text())
    save_rig(rig, path, overwrite=False)
    assert path.read_text().startswith(CALIBRATED)


def test_another_one_is_kept_unless_told(rig: Rig, tmp_path: Path) -> None:
    path = tmp_path / "wire.toml"
    clock = rig.clock.model_copy(update={"host_latency_ms": 3.25})
    rig.model_copy(update={"clock": clock}).save(path)
    before = path.read_bytes()
    with pytest.raises(UsageError, match=r"wire.toml exists already .* give another name, or --overwrite"):
        save_rig(rig, path, overwrite=False)
    assert path.read_bytes() == before
    save_rig(rig, path, overwrite=True)
    assert Rig.load(path).clock == rig.clock


def test_what_is_no_rig_file_is_never_replaced(rig: Rig, tmp_path: Path) -> None:
    path = tmp_path / "wire.toml"
    path.write_text("notes")
    with pytest.raises(UsageError, match=r"wire.toml exists already"):
        save_rig(rig, path, overwrite=False)
    with pytest.raises(UsageError, match=r"wire.toml is no rig file, so it is not replaced"):
        save_rig(rig, path, overwrite=True)
    assert path.read_text() == "notes"


@pytest.mark.parametrize("what", [
    ["rig", "--port", "0", "--address"], ["genicam", "--address"],
    ["events", "--rig", "simulated:davis", "--port", "0"],
], ids=lambda w: w[0])  # fmt: skip
def test_every_server_asks(
    what: list[str], rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setenv("HALFMIRROR_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "wire.toml"
    rig.save(path)
    path.write_text(CALIBRATED + path.read_text())
    small = SMALL_DAVIS if "simulated:davis" in what else SMALL
    line = ["simulate", *what, *([own_address()] if "--address" in what else [])]
    line += [w for k, v in small.items() for w in ("--set", f"{k}={v}")]
    line += ["--rig-file", str(path), "--seconds", "0.05"]
    assert execute(line) == 2
    assert "exists already" in capsys.readouterr().err
    assert path.read_text().startswith(CALIBRATED)
    assert execute([*line, "--overwrite"]) == 0
    assert Rig.load(path).events.camera != rig.events.camera


@pytest.mark.parametrize("verb", ["rig", "events", "genicam"])
@pytest.mark.parametrize("there", ["text", "folder", "place"])
def test_what_cannot_become_a_rig_file_is_refused_before_the_scene_is_drawn(
    verb: str, there: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "wire.toml"
    if there == "folder":
        path.mkdir()
    else:
        path.write_text("notes")
    path = path / "more.toml" if there == "place" else path
    more = ["--rig", "simulated:davis"] if verb == "events" else []
    assert execute(["simulate", verb, "--rig-file", str(path), "--seconds", "0.05", *more]) in (1, 2)
    told = capsys.readouterr().err
    assert "preparing" not in told
    assert "sent" not in told
    assert ("is no rig file, so it is not replaced" if there != "place" else "cannot write") in told


def test_none_is_left_for_an_address_that_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HALFMIRROR_CACHE", str(tmp_path / "cache"))
    path, address = tmp_path / "wire.toml", own_address()
    line = ["simulate", "rig", "--rig-file", str(path), "--address", address]
    line += ["--port", "0", "--seconds", "0.05"]
    line += [w for k, v in SMALL.items() for w in ("--set", f"{k}={v}")]
    with device(address=address):
        assert execute(line) == 1
    assert f"cannot use {address}" in capsys.readouterr().err
    assert not path.exists()
    assert execute(line) == 0
    assert path.exists()
