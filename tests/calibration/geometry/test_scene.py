"""The map from an ordinary scene, and scenes that do not suffice."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from calibration.geometry import scene
from calibration.geometry.change import changes, told_change
from calibration.geometry.scene import check_scene, solve_scene
from calibration.geometry.scene_search import Aligned
from calibration.simulated_scene import SceneTake, scene_take
from calibration.simulated_truth import SimulatedTruth
from capture.packets import Events
from capture.simulated.presets import configure
from inference.representations.double_integral import Contrast
from sync.lens import PixelMap, common_field

# A small rig: the whole of it takes a second to draw.
SMALL = {
    "image_width": 288, "image_height": 192, "event_width": 144, "event_height": 96, "scale": 2.1,
    "roll_deg": 3.0, "shift_x": 9.0, "shift_y": -7.0, "perspective": 0.02, "speed": 300.0, "loop_s": 0.8,
    "fine": 2, "cache": False,
}  # fmt: skip


@cache
def taken(mirror: bool = True) -> SceneTake:
    truth = SimulatedTruth(configure("handheld", {**SMALL, "mirror": mirror}))
    return scene_take(
        truth, settings={k: SMALL[k] for k in ("image_width", "image_height", "speed", "loop_s", "fine")}
    )


def error(take: SceneTake, m: PixelMap) -> float:
    t = take.truth
    e, i = common_field(t.pixel_map, t.event_size, t.image_size)
    return float(np.sqrt(np.mean(np.sum((m.to_event(i) - e) ** 2, axis=1))))


def test_frames_and_events_tell_of_the_same_change() -> None:
    take = taken()
    pairs = changes(take.frames, take.events, "srgb", 2.0, Contrast(0.22, 0.22), most=4)
    assert len(pairs) == 4
    told, weight = told_change(pairs[1], take.truth.config.image_from_event, take.truth.event_size)
    good = weight > 0
    assert 0.5 < good.mean() < 1.0
    assert np.corrcoef(told[good], pairs[1].seen[good])[0, 1] > 0.85
    wrong, _ = told_change(pairs[1], np.eye(3), take.truth.event_size)
    assert np.corrcoef(wrong[good], pairs[1].seen[good])[0, 1] < 0.4


@pytest.mark.parametrize("mirror", [True, False])
def test_the_map_is_found_without_a_target(mirror: bool) -> None:
    take = taken(mirror)
    s = solve_scene(take.frames, take.events, take.truth.image_size, take.truth.event_size)
    assert s.geometry.verdict != "fail", s.geometry.problems
    assert s.geometry.flip is mirror
    assert s.likeness > 0.8
    assert error(take, s.geometry.pixel_map) < 0.25
    assert all(v.source == "scene" for v in s.geometry.per_view)
    # What it states of its own error is of the right size.
    assert 0.02 < s.geometry.field_error_px < 0.4


def test_check_sees_a_rig_that_has_moved() -> None:
    take = taken()
    good = take.truth.rig()
    s = check_scene(take.frames[:5], take.events, good)
    assert s.geometry.verdict != "fail", s.geometry.problems
    g = good.geometry
    m = np.array(g.image_from_event) @ np.array([[1, 0, 1.2], [0, 1, 0.0], [0, 0, 1]])
    m /= m[2, 2]
    rows = tuple(tuple(float(v) for v in r) for r in m)
    moved = good.model_copy(update={"geometry": g.model_copy(update={"image_from_event": rows})})
    bad = check_scene(take.frames[:5], take.events, moved)
    assert bad.geometry.rms_px > s.geometry.rms_px + 0.6
    shift = np.nanmean(bad.geometry.residual_map.mean, axis=(0, 1))
    assert shift[0] == pytest.approx(-1.2, abs=0.35)
    assert abs(shift[1]) < 0.3


def test_no_motion_is_said() -> None:
    take = taken()
    rng = np.random.default_rng(0)
    n = 400
    t = np.sort(rng.integers(0, 1_200_000, n))
    w, h = take.truth.event_size
    quiet = Events(
        t, rng.integers(0, w, n).astype(np.uint16), rng.integers(0, h, n).astype(np.uint16),
        rng.random(n) < 0.5, w, h,
    )  # fmt: skip
    same = [replace(f, picture=take.frames[0].picture) for f in take.frames]
    s = solve_scene(same, quiet, take.truth.image_size, take.truth.event_size)
    assert s.geometry.verdict == "fail"
    assert "no motion" in s.geometry.problems[0]
    assert s.geometry.image_from_event is None


def test_too_few_frames_and_no_events_are_said() -> None:
    take = taken()
    for frames, events in ((take.frames[:2], take.events), (take.frames, Events.empty(*take.truth.event_size))):
        s = solve_scene(frames, events, take.truth.image_size, take.truth.event_size)
        assert s.geometry.verdict == "fail"
        assert "does not suffice" in s.geometry.problems[0]


def test_cameras_that_look_at_different_things() -> None:
    take = taken()
    rng = np.random.default_rng(1)
    h, w = take.truth.image_size[::-1]
    other = []
    for f in take.frames[:8]:
        coarse = rng.integers(20, 230, (h // 16, w // 16))
        other.append(replace(f, picture=np.kron(coarse, np.ones((16, 16))).astype(np.uint8)))
    s = solve_scene(other, take.events, take.truth.image_size, take.truth.event_size)
    assert s.geometry.verdict == "fail"
    assert "look at different things" in s.geometry.problems[0]
    assert s.likeness < 0.35


def test_noise_does_not_stand_for_motion() -> None:
    """Where only noise changes, its own slopes must not count as patches whose shift is known."""
    take = taken()
    rng = np.random.default_rng(2)
    w, h = take.truth.event_size
    left = take.truth.image_size[0] // 3
    frames = []
    for f in take.frames:
        still = take.frames[0].picture.copy()
        still[:, :left] = f.picture[:, :left]
        noisy = still.astype(float) + rng.normal(0, 2.0, still.shape)
        frames.append(replace(f, picture=noisy.clip(0, 255).astype(np.uint8)))
    e = take.events
    moves = take.truth.pixel_map.to_image(np.stack([e.x, e.y], axis=1).astype(float))[:, 0] < left
    n = 34_000
    t = np.concatenate([e.t[moves], rng.integers(e.t[0], e.t[-1], n)])
    order = np.argsort(t, kind="stable")
    x = np.concatenate([e.x[moves], rng.integers(0, w, n).astype(np.uint16)])[order]
    y = np.concatenate([e.y[moves], rng.integers(0, h, n).astype(np.uint16)])[order]
    p = np.concatenate([e.p[moves], rng.random(n) < 0.5])[order]
    s = solve_scene(
        frames, Events(t[order], x, y, p, w, h), take.truth.image_size, take.truth.event_size,
        start=take.truth.config.image_from_event,
    )  # fmt: skip
    assert s.likeness > 0.5, "the left third does move"
    assert s.geometry.verdict == "fail"
    assert "no views in the" in s.geometry.problems[0]


def test_lenses_that_do_not_match_their_sensors_are_found() -> None:
    take = taken()
    s = solve_scene(take.frames[:8], take.events, take.truth.image_size, take.truth.event_size, scale=1.2)
    assert s.geometry.verdict != "fail", s.geometry.problems
    assert error(take, s.geometry.pixel_map) < 0.25


def test_a_camera_on_its_side_is_found() -> None:
    take = taken()
    aside = [replace(f, picture=np.ascontiguousarray(np.rot90(f.picture))) for f in take.frames[:8]]
    w, h = take.truth.image_size
    s = solve_scene(aside, take.events, (h, w), take.truth.event_size)
    assert s.geometry.verdict != "fail", s.geometry.problems
    # (x, y) of the picture as it was lies at (y, w - 1 - x) of the one on its side.
    upright = np.array([[0, -1, w - 1], [1, 0, 0], [0, 0, 1.0]]) @ s.geometry.image_from_event
    assert error(take, PixelMap(upright / upright[2, 2])) < 0.25


def test_what_is_nowhere_to_be_found_is_said_with_where_was_looked() -> None:
    take = taken()
    mixed = [
        replace(f, picture=np.roll(np.roll(f.picture, 37 * k, 0), 61 * k * k, 1))
        for k, f in enumerate(take.frames)
    ]
    told: list[float] = []
    s = solve_scene(
        mixed[:8], take.events, take.truth.image_size, take.truth.event_size, told=told.append
    )  # fmt: skip
    assert s.geometry.verdict == "fail"
    # It is the longest way to an answer, so a person sees that it goes on.
    assert told == sorted(told)
    assert 0 < told[0] < 0.02
    assert 0.8 < told[-1] <= 1
    assert max(np.diff(told)) < 0.15
    assert sum(0.5 <= share <= 0.85 for share in told) > 100
    assert "image pixels per event pixel, upright or turned by right angles" in s.geometry.problems[0]


def test_what_was_found_far_off_and_lost_again_does_not_change_what_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nor is it looked for with more pairs than a few, which takes minutes where the sensors are large."""
    take = taken()
    pairs: list[int] = []

    def refined(some: list[object], start: np.ndarray, *_: object, **told: object) -> Aligned:
        pairs.append(len(some))
        # Found by one of the wide candidates; not with all pairs.
        return Aligned(np.diag([4.0, 4.0, 1.0]), 0.5 if len(pairs) == 3 else 0.1, 1.0)

    monkeypatch.setattr(scene, "refine", refined)
    s = solve_scene(take.frames, take.events, take.truth.image_size, take.truth.event_size)
    assert s.geometry.verdict == "fail"
    assert "1.0 to 4.0 image pixels per event pixel" in s.geometry.problems[0]
    every = pairs[0]
    assert every > 8
    assert pairs[:2] == [every] * 2
    assert max(pairs[2:5]) <= 8
    assert pairs[5:] == [every]
