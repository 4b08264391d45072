"""The map from pairs of points: right, with an honest error, and bad views refused by name."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from calibration.geometry.solve import check, solve
from calibration.geometry.views import Corners, Source, View, pair
from sync.lens import PixelMap
from sync.rig import EventEntry, ImageEntry, Lens, Rig
from tests.calibration.geometry.made_views import EVENT, IMAGE, board_view, error, everywhere, homography

TRUTH = PixelMap(homography())
# 1.5 px at the corner of the event sensor, a common figure of C-mount lenses.
BENT = PixelMap(homography(), Lens(focal=(300.0, 300.0), centre=(143.5, 95.5), coefficients=(-0.08, 0.02)))


@pytest.mark.parametrize("mirrored", [True, False])
def test_the_map_and_its_error_are_found(mirrored: bool) -> None:
    truth = PixelMap(homography(mirrored=mirrored))
    r = solve(everywhere(truth), IMAGE, EVENT)
    assert r.verdict == "pass", r.problems
    assert r.flip is mirrored
    assert r.scale == pytest.approx(4.0, abs=0.1)
    rms, worst = error(truth, r.pixel_map)
    assert rms < 0.03
    assert worst < 0.06
    # Noise of 0.05 px in both axes: 0.07 px in the plane.
    assert r.rms_px == pytest.approx(0.0707, rel=0.15)
    assert r.training_rms_px < r.rms_px
    assert r.p95_px > r.rms_px
    assert not r.coverage.missing()


def test_stated_error_of_the_map_covers_the_true_one() -> None:
    ratios = []
    for seed in range(12):
        r = solve(everywhere(TRUTH, seed, noise=0.1), IMAGE, EVENT)
        ratios.append(error(TRUTH, r.pixel_map)[0] / r.field_error_px)
    assert 0.4 < np.median(ratios) < 1.6
    assert max(ratios) < 3.0


def test_a_lens_is_estimated_and_told_of() -> None:
    views = everywhere(BENT)
    plain = solve(views, IMAGE, EVENT)
    assert plain.pixel_map.plain
    assert plain.rms_px > 0.15
    auto = solve(views, IMAGE, EVENT, lens="auto")
    assert auto.pixel_map.event_lens is not None
    assert auto.pixel_map.event_lens.relative
    rms, worst = error(BENT, auto.pixel_map)
    assert rms < 0.06
    assert worst < 0.25
    assert auto.plain_rms_px == pytest.approx(plain.rms_px, rel=0.02)
    # Without a lens in the truth, none is put in.
    assert solve(everywhere(TRUTH), IMAGE, EVENT, lens="auto").pixel_map.plain


def test_a_fisheye_lens_is_estimated_and_found_by_itself() -> None:
    fish = Lens(model="fisheye", focal=(200.0, 200.0), centre=(143.5, 95.5), coefficients=(-0.03, 0.01))
    truth = PixelMap(homography(), fish)
    views = everywhere(truth)
    assert solve(views, IMAGE, EVENT).verdict == "fail"
    asked = solve(views, IMAGE, EVENT, lens="fisheye")
    rms, worst = error(truth, asked.pixel_map)
    assert rms < 0.03
    assert worst < 0.15
    assert asked.verdict == "pass"
    auto = solve(views, IMAGE, EVENT, lens="auto")
    assert auto.pixel_map.event_lens.model == "fisheye"
    # A mild lens is Brown's.
    mild = solve(everywhere(BENT), IMAGE, EVENT, lens="auto")
    assert mild.pixel_map.event_lens.model == "brown"


def test_a_known_lens_is_used() -> None:
    r = solve(everywhere(BENT), IMAGE, EVENT, event_lens=BENT.event_lens)
    assert error(BENT, r.pixel_map)[0] < 0.03
    assert r.pixel_map.event_lens == BENT.event_lens


def test_one_bad_view_is_left_out_by_name() -> None:
    views = everywhere(TRUTH)
    views[4] = replace(
        views[4], event_points=views[4].event_points + np.array([2.0, 1.0]), name="the moved one"
    )
    r = solve(views, IMAGE, EVENT)
    assert [v.used for v in r.per_view].count(False) == 1
    assert not r.per_view[4].used
    assert "left out" in r.per_view[4].why
    assert any("the moved one" in p for p in r.problems)
    assert error(TRUTH, r.pixel_map)[0] < 0.04


def test_too_few_views() -> None:
    r = solve(everywhere(TRUTH)[:2], IMAGE, EVENT)
    assert r.verdict == "fail"
    assert any("2 usable views of 2; at least 3 are needed" in p for p in r.problems)
    none = solve([], IMAGE, EVENT)
    assert none.verdict == "fail"
    assert none.image_from_event is None


def test_views_from_one_side_name_what_is_missing() -> None:
    rng = np.random.default_rng(0)
    views = [board_view(TRUTH, (45.0, y), rng) for y in (40.0, 60.0, 96.0, 130.0, 150.0)]
    r = solve(views, IMAGE, EVENT)
    assert r.verdict == "fail"
    line = next(p for p in r.problems if p.startswith("no views in the"))
    assert "upper right" in line
    assert "lower right" in line
    assert "upper left" not in line
    assert "move the board there" in line


def test_one_missing_corner_warns() -> None:
    rng = np.random.default_rng(0)
    at = [(x, y) for y in (35.0, 96.0, 157.0) for x in (45.0, 144.0, 243.0)][1:]
    r = solve([board_view(TRUTH, p, rng, size=45.0) for p in at], IMAGE, EVENT)
    assert r.verdict == "warn"
    assert r.problems == ["no views in the upper left third of the field: move the board there"]


def test_good_training_error_and_bad_held_out_error_fails_by_name() -> None:
    # A lens fitted to three small, noisy views in a corner each: it follows them and nothing else.
    rng = np.random.default_rng(3)
    at = [(30.0, 30.0), (250.0, 40.0), (140.0, 165.0)]
    views = [board_view(BENT, p, rng, size=22.0, noise=0.05) for p in at]
    r = solve(views, IMAGE, EVENT, lens="brown")
    assert r.training_rms_px < 0.12
    assert r.rms_px > 2.5 * r.training_rms_px
    assert r.verdict == "fail"
    assert any("fits the views that it was made from" in p and "not those" in p for p in r.problems)


def test_cameras_that_look_at_different_things() -> None:
    rng = np.random.default_rng(1)
    views = [
        View(rng.uniform(0, 768, (24, 2)), rng.uniform(0, 192, (24, 2)), np.arange(24)) for _ in range(6)
    ]  # fmt: skip
    r = solve(views, IMAGE, EVENT)
    assert r.verdict == "fail"
    assert "look at different things" in r.problems[0]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"seen": 0.3}, "half hidden"),
        ({"blur_px": 4.0}, "blurred over 4.0 event pixels"),
    ],
)
def test_views_that_cannot_be_used_say_why(change: dict[str, float], words: str) -> None:
    views = [replace(v, **change) for v in everywhere(TRUTH)]  # type: ignore[arg-type]
    r = solve(views, IMAGE, EVENT)
    assert r.verdict == "fail"
    assert any(words in p for p in r.problems)
    assert all(words in v.why for v in r.per_view)


def test_a_line_of_points_is_refused() -> None:
    e = np.stack([np.linspace(10, 200, 12), np.linspace(20, 100, 12)], axis=1)
    v = View(TRUTH.to_image(e), e, np.arange(12))
    assert "one line" in v.trouble()


def test_check_of_a_rig_that_moved() -> None:
    rig = solve(everywhere(TRUTH), IMAGE, EVENT).applied(a_rig(), "test", "r-1")
    assert rig.report == "r-1"
    assert rig.geometry.residual_px < 0.1
    good = check(everywhere(TRUTH, seed=5), rig)
    assert good.verdict == "pass", good.problems
    moved = PixelMap(homography(shift=(26.0, -12.0)))
    bad = check(everywhere(moved, seed=5), rig)
    assert bad.rms_px == pytest.approx(1.5, abs=0.2)
    assert bad.verdict == "fail"
    assert any("calibrate it anew" in p for p in bad.problems)


def test_a_rig_with_a_lens_round_trips(tmp_path) -> None:
    r = solve(everywhere(BENT), IMAGE, EVENT, lens="brown")
    rig = r.applied(a_rig(), "test")
    rig.save(tmp_path / "rig.toml")
    again = PixelMap.of(Rig.load(tmp_path / "rig.toml"))
    p = np.array([[10.0, 20.0], [250.0, 180.0]])
    np.testing.assert_allclose(again.to_image(p), r.pixel_map.to_image(p), atol=1e-9)
    # The plain homography of the file comes near, but not all the way.
    plain = PixelMap(rig.image_from_event)
    assert 0.05 < error(BENT, plain)[0] < 0.6


def test_pair_takes_what_both_cameras_found() -> None:
    a = Corners(np.arange(20.0).reshape(10, 2), np.arange(10), np.zeros((10, 2)), 7, blur_px=8.0)
    b = Corners(np.arange(12.0).reshape(6, 2), np.arange(4, 10), np.zeros((6, 2)), -1, seen=0.9, blur_px=1.0)
    v = pair(a, b, Source.BLINKING, scale=4.0, sigma_px=0.1)
    assert v.ids.tolist() == [4, 5, 6, 7, 8, 9]
    assert v.image_points[0].tolist() == [8.0, 9.0]
    assert (v.when_us, v.seen, v.blur_px) == (7, 0.9, 2.0)


def a_rig() -> Rig:
    return Rig(
        events=EventEntry(camera="e", width=EVENT[0], height=EVENT[1]),
        image=ImageEntry(camera="i", width=IMAGE[0], height=IMAGE[1]),
    )
