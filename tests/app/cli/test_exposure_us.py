"""What is stated about a recording, `--exposure-us` and `--geometry`, reaches every verb that reads one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from app.cli.program import execute
from app.offline_input import open_input
from app.sources import SourceRequest, resolve
from capture.packets import EventPacket, Frame, FrameClock, TriggerEdges
from capture.registry import open_driver
from capture.simulated.presets import SimulatedConfig
from recordings import timeline
from recordings.open import open_recording
from recordings.recording import OpenOptions
from recordings.replay import ReplayConfig
from tests.recordings.make_datasets import (
    EXPOSURE_US,
    FRAMES,
    GRID,
    SCALE,
    exposure,
    made_events,
    pair,
    write_efnet,
)
from tests.recordings.own_sample import items_of, rig_of_config, write_own


def test_deblur_restores_frames_without_exposure_only_when_it_is_stated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (s1, _), (s2, _) = exposure(0), exposure(1)
    path = tmp_path / "p.npz"
    np.savez(path, **pair(0, made_events(), scale=SCALE, exp_end1=np.int64(s1), exp_end2=np.int64(s2)))
    out = tmp_path / "out"
    assert execute(["deblur", str(path), "-o", str(out), "--contrast", "0.2"]) == 1
    assert "none of 2 exposures could be restored (2 × no exposure" in " ".join(capsys.readouterr().err.split())
    assert not out.exists()
    line = ["deblur", str(path), "-o", str(out), "--contrast", "0.2", "--exposure-us", str(EXPOSURE_US)]
    assert execute(line) == 0
    report = json.loads((out / "report.json").read_text())
    assert report["items"]["restored"] >= 1
    assert any(f"exposed for {EXPOSURE_US} µs" in p for p in report["problems"])


def test_a_length_that_is_none_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "p.npz"
    np.savez(path, **pair(0, made_events(), scale=SCALE))
    for bad in ("0", "-5", "99000000"):
        assert execute(["deblur", str(path), "-o", str(tmp_path / "o"), "--exposure-us", bad]) == 2
        assert "is out of range; give 1 to 10000000" in " ".join(capsys.readouterr().err.split())


def test_the_timeline_and_info_know_a_stated_exposure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_efnet(tmp_path / "g.h5", made_events(size=(64, 48)), exposures=False)
    assert {e for _, e in timeline.build(path).exposures} == {None}
    stated = timeline.build(path, options=OpenOptions(exposure_us=EXPOSURE_US))
    assert stated.exposures == [exposure(k) for k in range(FRAMES)]
    assert execute(["recordings", "info", str(path), "--json", "--exposure-us", str(EXPOSURE_US)]) == 0
    found = json.loads(capsys.readouterr().out)["frames"]["exposures"]
    assert (found["count"], found["median_us"]) == (FRAMES, EXPOSURE_US)


def test_our_own_recordings_take_a_stated_exposure_where_nothing_else_tells(tmp_path: Path) -> None:
    config = SimulatedConfig(preset="davis")
    items = [
        replace(i, triggers=TriggerEdges.empty()) if isinstance(i, EventPacket)
        else replace(i, device_end_ns=None, clock=FrameClock.EVENT)
        for i in items_of(config, 0.3)
    ]  # fmt: skip
    write_own(tmp_path / "r", rig_of_config(config), items)
    with open_recording(tmp_path / "r") as r:
        assert {e for _, e in r.frame_times_us()} == {None}
    with open_recording(tmp_path / "r", exposure_us=4321) as r:
        assert {e - s for s, e in r.frame_times_us() if e is not None} == {4321}
        frames = [i for i in r.items() if isinstance(i, Frame)]
    assert {f.exposure_ns for f in frames} == {4_321_000}


def test_geometry_reaches_deblur_and_replay(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Half the picture's size is no published scale; without a word of it the file is read as scale 1."""
    whole = made_events()
    small = {f"blur{k}": np.zeros((3, 2 * GRID[1], 2 * GRID[0]), np.uint8) for k in (1, 2)}
    path = tmp_path / "p.npz"
    np.savez(path, **pair(0, whole, **small))
    with open_input(str(path), geometry=GRID) as source:
        assert (source.rig.events.width, source.rig.events.height) == GRID
    with open_input(str(path)) as source:
        assert (source.rig.events.width, source.rig.events.height) == (2 * GRID[0], 2 * GRID[1])
    request = SourceRequest.of(path, {"geometry": GRID})
    source = resolve(request)
    assert (source.rig.events.width, source.rig.events.height) == GRID
    _, config = open_driver(source.cameras[0].camera, source.cameras[0].settings)
    assert isinstance(config, ReplayConfig)
    assert config.options.geometry == GRID
    for verb in ("deblur", "replay"):
        line = [verb, str(path), "-o", str(tmp_path / "o"), "--geometry", "64"]
        assert execute(line if verb == "deblur" else [*line, "--headless"]) == 2
        assert "--geometry '64' is not a size; give WIDTHxHEIGHT" in " ".join(capsys.readouterr().err.split())
