"""The verdict on a geometry, by figures made by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from calibration.geometry.judge import (
    BENT,
    FAIL_FIELD_PX,
    FAIL_RMS_PX,
    PASS_FIELD_PX,
    PASS_P95_PX,
    PASS_RMS_PX,
    SCENE_FACTOR,
    judge,
)
from calibration.geometry.result import GeometryResult, ResidualMap, ViewResult
from calibration.geometry.views import Coverage, Source

GOOD = GeometryResult(
    event_size=(96, 64),
    image_size=(192, 128),
    image_from_event=np.diag([2.0, 2.0, 1.0]),
    pixel_map=None,
    flip=False,
    scale=2.0,
    rms_px=0.2,
    p95_px=0.4,
    training_rms_px=0.19,
    plain_rms_px=0.2,
    field_error_px=0.1,
    corner_error_px=0.2,
    per_view=tuple(ViewResult(f"view {n}", Source.BLINKING, 40, 0.2, 0.2, True) for n in range(12)),
    residual_map=ResidualMap(
        np.zeros((2, 2), np.int64), np.full((2, 2, 2), np.nan), np.full((2, 2), np.nan), (48, 32)
    ),
    coverage=Coverage(np.full((3, 3), 9), np.ones((3, 3), np.bool_)),
)  # fmt: skip


def with_left_out(n: int) -> GeometryResult:
    """Of twelve views the last n took no part."""
    views = [replace(v, used=False, why="blurred: hold it still") for v in GOOD.per_view[:n]]
    return replace(GOOD, per_view=(*GOOD.per_view[n:], *views))


def test_good_figures_pass_without_a_word() -> None:
    r = judge(GOOD)
    assert (r.verdict, r.problems) == ("pass", [])


@pytest.mark.parametrize(
    ("changed", "verdict", "said"),
    [
        ({"rms_px": PASS_RMS_PX + 0.05}, "warn", "held-out error 0.40 px RMS, 0.40 px at the 95th"),
        ({"p95_px": PASS_P95_PX + 0.1}, "warn", "held-out error 0.20 px RMS, 0.90 px at the 95th"),
        (
            {"rms_px": FAIL_RMS_PX + 0.1, "training_rms_px": FAIL_RMS_PX},
            "fail",
            "held-out error 1.10 px is above 1 px",
        ),
        ({"rms_px": 0.19 * BENT + 0.1}, "fail", "bent to few places"),
        ({"rms_px": np.nan}, "fail", "no view could be held out"),
        ({"field_error_px": PASS_FIELD_PX + 0.1}, "warn", "the map itself is known to 0.40 px"),
        ({"field_error_px": FAIL_FIELD_PX + 0.1}, "fail", "the map itself is only known to 1.10 px"),
    ],
)
def test_each_limit_has_its_verdict_and_its_sentence(
    changed: dict[str, float], verdict: str, said: str
) -> None:
    r = judge(replace(GOOD, **changed))  # type: ignore[arg-type]
    assert r.verdict == verdict
    assert len(r.problems) == 1
    assert said in r.problems[0]


def test_a_map_of_other_views_is_judged_by_its_errors_alone() -> None:
    bad = replace(GOOD, field_error_px=9.0, training_rms_px=0.01)
    assert judge(bad, trained=False).verdict == "pass"
    moved = judge(replace(bad, rms_px=FAIL_RMS_PX + 0.1), trained=False)
    assert moved.verdict == "fail"
    assert "the rig has moved" in moved.problems[0]


def test_patches_of_a_scene_may_be_off_by_more() -> None:
    views = tuple(replace(v, source=Source.SCENE) for v in GOOD.per_view)
    loose = replace(GOOD, per_view=views, rms_px=0.9 * SCENE_FACTOR * PASS_RMS_PX, training_rms_px=0.9)
    assert judge(loose).verdict == "pass"
    assert judge(replace(loose, per_view=GOOD.per_view)).verdict == "warn"


@pytest.mark.parametrize(("n", "verdict"), [(0, "pass"), (3, "pass"), (4, "warn"), (9, "warn"), (10, "fail")])
def test_up_to_a_quarter_of_the_views_is_spare(n: int, verdict: str) -> None:
    r = judge(with_left_out(n))
    assert r.verdict == verdict
    assert [p for p in r.problems if p.startswith("left out")] == (
        [p for p in r.problems if "blurred: hold it still" in p] if n else []
    )
    assert bool(n) == any("left out view 0" in p for p in r.problems)


def test_spare_views_excuse_nothing_else() -> None:
    assert judge(replace(with_left_out(2), field_error_px=PASS_FIELD_PX + 0.1)).verdict == "warn"
