"""`halfmirror bench`: what it measures, what it prints, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import app.live
from app import measure
from app.cli import main
from capture.camera import CameraState
from tests.app.test_measure import Fake
from tests.recordings.make_aedat4 import write_aedat4
from tests.recordings.sample import sample_events, sample_frames


class Made:
    def __init__(self) -> None:
        self.calls: list[tuple[Any, str, dict[str, Any]]] = []
        self.state = CameraState.RUNNING
        self.looped: list[bool] = []
        self.devices: list[str] = []

    def __call__(
        self, source: str | Path, network: str, *, options: dict[str, Any], loop: bool, device: str
    ) -> Fake:
        self.devices.append(device)
        self.calls.append((source, network, options))
        self.looped.append(loop)
        return Fake(state=self.state)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Made:
    maker = Made()
    monkeypatch.setattr(app.live, "make_session", maker)
    monkeypatch.setattr(measure, "WARM_UP_S", 0.02)
    monkeypatch.setattr(measure, "START_LIMIT_S", 1.0)
    return maker


@pytest.fixture
def davis_recording(tmp_path: Path) -> Path:
    return write_aedat4(tmp_path / "cups.aedat4", sample_events(), sample_frames())


def test_edi_and_glint_unless_others_are_named(made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["bench", "--seconds", "0.2", "--dtype", "bfloat16", "--set", "grid=event"]) == 0
    assert [(c[0], c[1]) for c in made.calls] == [("simulated:davis", "edi"), ("simulated:davis", "glint")]
    assert [c[2] for c in made.calls] == [{}, {"dtype": "bfloat16", "grid": "event"}]
    said = capsys.readouterr().out
    for words in ("edi", "glint", "CPU, float32", "whole chain", "2.0 / 2.0 / 2.0 ms", "pictures 8×6", "cores"):
        assert words in said, words


def test_what_edi_knows_reaches_it(made: Made) -> None:
    assert main.run(["bench", "--seconds", "0.1", "--set", "halfway=false", "-n", "edi"]) == 0
    assert [c[2] for c in made.calls] == [{"halfway": False}]


def test_a_recording_begins_again_however_short_it_is(made: Made, davis_recording: Path) -> None:
    assert main.run(["bench", str(davis_recording), "-n", "edi", "--seconds", "0.1"]) == 0
    assert main.run(["bench", "simulated:davis", "-n", "edi", "--seconds", "0.1"]) == 0
    assert made.looped == [True, False]


def test_what_does_not_exist(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    gone = tmp_path / "gone.aedat4"
    assert main.run(["bench", str(gone)]) == 2
    assert capsys.readouterr().err.startswith(f"halfmirror: {gone} does not exist; give ")


def test_json(made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["bench", "simulated:night", "-n", "edi", "-n", "edi", "--seconds", "0.2", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert len(made.calls) == 1
    assert said["source"] == "simulated:night"
    assert "torch" in said["machine"]
    assert said["networks"]["edi"]["restore_ms"]["p95"] == pytest.approx(2.0)


def test_all_are_those_that_can_run(made: Made) -> None:
    assert main.run(["bench", "-n", "all", "--seconds", "0.1"]) == 0
    names = [c[1] for c in made.calls]
    assert {"edi", "glint"} <= set(names)
    assert "none" not in names


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (["-n", "edy"], "edy"),
        (["--seconds", "0"], "--seconds"),
        (["simulated:dawn"], "dawn"),
        (["nowhere.toml"], "nowhere.toml"),
        (["-n", "efnet"], "efnet"),
    ],
)
def test_wrong_requests_start_nothing(
    made: Made, capsys: pytest.CaptureFixture[str], line: list[str], words: str
) -> None:
    assert main.run(["bench", *line]) in (1, 2)
    said = capsys.readouterr().err
    assert words in said
    assert len(said.strip().splitlines()) == 1
    assert not made.calls


def test_a_worker_that_is_down_is_one_line(made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    made.state = CameraState.FAULTED
    assert main.run(["bench", "-n", "edi", "--seconds", "0.1"]) == 1
    assert "out of paper" in capsys.readouterr().err


def test_the_device_is_the_one_asked_for(made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["bench", "-n", "edi", "--seconds", "0.05"]
    main.run([*line, "--device", "cpu"])
    assert made.devices == ["cpu"]
    assert main.run([*line, "--device", "gpu"]) == 2
    assert "device 'gpu' is not one" in capsys.readouterr().err
    assert made.devices == ["cpu"]
