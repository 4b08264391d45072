"""`--exposure-us`: frames whose file gives no exposure are refused without it and restored with it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from app.cli.program import execute
from tests.recordings.make_datasets import EXPOSURE_US, SCALE, exposure, made_events, pair


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
