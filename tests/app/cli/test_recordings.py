"""`halfmirror recordings info`: what it prints for a person and for a program, and one line for each error."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from app.cli import main
from tests.recordings.make_aedat4 import write_aedat4
from tests.recordings.make_prophesee import write
from tests.recordings.sample import EXPOSURE_US, FRAMES, sample_edges, sample_events, sample_frames

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def aedat4(tmp_path: Path) -> Path:
    return write_aedat4(tmp_path / "s.aedat4", sample_events(), sample_frames(), sample_edges())


def test_json_holds_counts_times_rates_and_exposures(aedat4: Path, capsys: Captured) -> None:
    e = sample_events()
    assert main.run(["recordings", "info", str(aedat4), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    windows, counts = np.unique(e.t // 10_000, return_counts=True)
    k = int(np.argmax(counts))
    events = found["events"]
    assert (events["count"], events["brighter"]) == (len(e), int(e.p.sum()))
    assert (events["first_us"], events["last_us"]) == (e.t[0], e.t[-1])
    assert events["peak_rate_hz"] == 100 * counts[k]
    assert events["peak_at_us"] == windows[k] * 10_000
    assert events["mean_rate_hz"] == pytest.approx(len(e) * 1e6 / (e.t[-1] - e.t[0]), abs=0.1)
    assert found["frames"]["count"] == FRAMES
    exposures = found["frames"]["exposures"]
    assert (exposures["count"], exposures["median_us"]) == (FRAMES, EXPOSURE_US)
    assert found["triggers"] == {"edges": 2 * FRAMES, "rising": FRAMES, "rejected": 0}
    assert found["problems"] == []


def test_a_person_reads_the_same_in_lines(aedat4: Path, capsys: Captured) -> None:
    assert main.run(["recordings", "info", str(aedat4)]) == 0
    out = capsys.readouterr().out
    assert f"events     {len(sample_events())} of 64×48 pixels" in out
    assert f"exposures  {FRAMES} of {FRAMES}, from the frames' own stamps: 60.000 ms" in out
    assert f"triggers   {2 * FRAMES} edges, {FRAMES} rising" in out
    assert "problems   none" in out


def test_geometry_is_asked_for_and_taken(tmp_path: Path, capsys: Captured) -> None:
    path = write(tmp_path / "e.raw", "evt2", sample_events(), header="% evt 2.0\n")
    assert main.run(["recordings", "info", str(path)]) != 0
    assert "state it: --geometry 1280x720" in capsys.readouterr().err
    assert main.run(["recordings", "info", str(path), "--geometry", "64x48"]) == 0
    out = capsys.readouterr().out
    assert "of 64×48 pixels" in out
    assert "frames     none" in out
    assert main.run(["recordings", "info", str(path), "--geometry", "big"]) == 2
    assert "'big' is not a size; give WIDTHxHEIGHT" in capsys.readouterr().err


def test_replay_of_a_recording_without_frames_says_so(tmp_path: Path, capsys: Captured) -> None:
    path = write(tmp_path / "e.raw", "evt3", sample_events())
    assert main.run(["replay", str(path), "--headless"]) != 0
    assert "has no frames, only events of Prophesee" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["recordings"], ["recordings", "info"]])
def test_help_has_an_example_and_imports_nothing_heavy(arguments: list[str]) -> None:
    code = (
        f"import sys; from app.cli.main import run; run([*{arguments}, '--help'])\n"
        "print([m for m in ('torch', 'numpy', 'numba') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Example: halfmirror recordings" in done.stdout
    assert done.stdout.strip().splitlines()[-1] == "[]"
