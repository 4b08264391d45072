"""What a report says of the check is what the check found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from calibration.field import FieldShift
from calibration.geometry.solve import solve
from calibration.report import _check
from calibration.run import Calibration, Options, calibrate
from calibration.take import Take
from calibration.time.result import AffineClock, TimeResult, Trouble, Verdict
from capture.registry import RigFacts
from sync.rig import Rig
from tests.calibration.test_target_views import RIG, H, W, blinking

SHIFT = FieldShift(np.zeros((3, 4, 2)), np.ones((3, 4)), 0.0, 0.0, 0.1, 0.2, 24)


def checked(shift: FieldShift | None, *troubles: Trouble) -> Calibration:
    c = calibrate(RIG, [Take("board", blinking)], Options(keep_geometry=True))
    assert c.check is not None
    return replace(c, check=replace(c.check, shift=shift, troubles=list(troubles), best=None))


def test_a_check_without_edges_says_why() -> None:
    still = Trouble("no motion", "too little moves in this recording")
    assert "Too little moves in this recording." in _check(checked(None, still))
    late = Trouble("edges scatter", "edges scatter by 40 µs")
    wrong = Trouble("geometry", "events and picture agree only when one of them is mirrored", Verdict.FAIL)
    said = _check(checked(None, late, wrong))
    assert "agree only when one of them is mirrored" in said
    assert "oo little moves" not in said


def test_a_check_says_whether_the_geometry_was_made_from_its_scene() -> None:
    c = checked(SHIFT)
    assert "in a scene that the geometry was not made from" in _check(c)
    measured = solve([], (2 * W, 2 * H), (W, H))
    own = replace(c, geometry=measured, geometry_by="no target: the scene itself, 40 pairs of frames")
    assert "in the scene that the geometry was made from" in _check(own)
    board = replace(c, geometry=measured, geometry_by="blinking board, 12 views")
    assert "was not made from" in _check(board)


@pytest.mark.parametrize("by_driver", [False, True])
def test_one_pixel_grid_is_one_sensor_only_where_that_stamps(
    by_driver: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Registered cameras of a data set share a grid, too."""
    rig = Rig.from_facts("grid", RigFacts((W, H), (W, H), one_sensor=True, exact=True))
    time = TimeResult("same", AffineClock(0, 0.0, 0.0), by_driver=by_driver)
    monkeypatch.setattr("calibration.run.calibrate_time", lambda *a, **k: time)
    c = calibrate(rig, [Take("scene", blinking, by_driver=by_driver)])
    said = "Events and pictures lie on one pixel grid." if by_driver else "One sensor gives both streams."
    assert _check(c) == f"<p>{said}</p>"
    assert c.geometry_by == f"{said[0].lower()}{said[1:-1]}: the map is the identity"
    assert c.time.to_json()["by_driver"] is by_driver


def test_a_shift_is_told_with_what_it_counts_from() -> None:
    r = TimeResult("same", shift_us=-3_000.0, shift_uncertainty_us=300.0, assumed_us=1_000.0)
    assert "-2000 ± 300 µs from their stamps" in r.summary()
    assert r.shift_from == "stamps and delay_us"
    assert TimeResult("trigger").shift_from == "the edges"
