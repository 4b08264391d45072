"""Boards seen through simulated rigs: corners to hundredths of a pixel, and the map from them."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest

from calibration.geometry.blinking import (
    detect_blinking,
    event_picture,
    find_swaps,
    still_stretches,
    swaps_of,
)
from calibration.geometry.charuco import detect
from calibration.geometry.collect import TimedFrame, blinking_views, charuco_views, steady_corners
from calibration.geometry.solve import solve
from calibration.geometry.targets import Board
from calibration.geometry.views import BadView, Source
from calibration.simulated import BoardShot, board_shots, random_poses
from calibration.simulated_truth import SimulatedTruth, random_truth
from capture.packets import Events
from sync.lens import common_field

BOARD = Board()
MIRRORED, STRAIGHT = 5, 4  # seeds of rigs of either hand


def timed(shots: tuple[tuple[int, int, np.ndarray], ...]) -> list[TimedFrame]:
    return [TimedFrame(*f) for f in shots]


@pytest.fixture(scope="module")
def blinking() -> tuple[SimulatedTruth, BoardShot]:
    truth = random_truth(MIRRORED)
    return truth, next(board_shots(truth, "blinking", 1, seed=3))


def test_swaps_are_found_at_their_times(blinking: tuple[SimulatedTruth, BoardShot]) -> None:
    _, shot = blinking
    swaps = find_swaps(shot.events)
    assert len(swaps) == 3
    for k, s in enumerate(swaps):
        assert abs(s.start_us - (shot.start_us + (k + 1) * 200_000)) < 3_000
    (still,) = still_stretches(swaps)
    assert still.signs == (1, -1, 1)


def test_bursts_that_are_no_swaps_are_not_held_and_swaps_take_a_byte_per_pixel() -> None:
    """Two minutes of a light that flickers in a corner, and two swaps."""
    w, h, sensor = 400, 300, 400 * 300
    rng = np.random.default_rng(0)

    def parts() -> Iterator[Events]:
        for k in range(300):
            n, most = (3 * sensor, sensor) if k in (100, 200) else (2_000, 2_000)
            t = np.sort(rng.integers(400_000 * k, 400_000 * k + 4_000, n))
            where = np.arange(n) % most
            x, y = (where % w).astype(np.uint16), (where // w).astype(np.uint16)
            yield Events(t, x, y, np.full(n, k == 100), w, h)

    tracemalloc.start()
    swaps = swaps_of(parts)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [s.counts.dtype for s in swaps] == [np.int8] * 2
    assert [int(s.counts[-1, -1]) for s in swaps] == [3, -3]
    assert most < 200 * sensor, "some hundred bytes per pixel, whatever comes besides"


def test_the_event_picture_is_the_board(blinking: tuple[SimulatedTruth, BoardShot]) -> None:
    _, shot = blinking
    picture = event_picture(still_stretches(find_swaps(shot.events))[0])
    assert picture.shape == (192, 288)
    low, high = np.percentile(picture, (2, 98))
    assert low < 0.15
    assert high > 0.85


def test_corners_in_both_cameras(blinking: tuple[SimulatedTruth, BoardShot]) -> None:
    _, shot = blinking
    seen = detect_blinking(still_stretches(find_swaps(shot.events))[0], BOARD)
    assert seen.mirrored
    assert seen.seen > 0.8
    off = seen.points - shot.event_corners[seen.ids]
    assert np.sqrt(np.mean(off**2)) < 0.04
    assert np.abs(off.mean(axis=0)).max() < 0.03
    # A picture in which the board is black on white, and one of its negative.
    for _, _, picture in shot.frames[:2]:
        image = detect(picture, BOARD)
        assert not image.mirrored
        assert np.sqrt(np.mean((image.points - shot.image_corners[image.ids]) ** 2)) < 0.05
        assert image.blur_px < 2.5


def test_views_of_a_blinking_board_make_the_map() -> None:
    truth = random_truth(MIRRORED)
    views = []
    for shot in board_shots(truth, "blinking", 6, seed=1):
        found, missed = blinking_views(timed(shot.frames), shot.events, BOARD)
        assert not missed
        views += found
    assert all(v.source is Source.BLINKING for v in views)
    r = solve(views, truth.image_size, truth.event_size, lens="auto")
    assert r.flip
    e, i = common_field(truth.pixel_map, truth.event_size, truth.image_size)
    off = np.linalg.norm(r.pixel_map.to_event(i) - e, axis=1)
    assert np.sqrt(np.mean(off**2)) < 0.15
    assert off.max() < 0.4


def test_frames_of_both_cameras() -> None:
    truth = random_truth(STRAIGHT, lenses=False)
    (shot,) = board_shots(truth, "charuco", 1, seed=2)
    views, missed = charuco_views(timed(shot.frames), timed(shot.event_frames), BOARD)
    assert not missed
    assert len(views) == 2
    off = truth.pixel_map.to_event(views[0].image_points) - views[0].event_points
    assert np.sqrt(np.mean(off**2)) < 0.04


def test_no_swap_is_told() -> None:
    views, missed = blinking_views([], Events.empty(288, 192), BOARD)
    assert not views
    assert "no events" in missed[0].why
    rng = np.random.default_rng(0)
    n = 20_000
    noise = Events(
        np.sort(rng.integers(0, 2_000_000, n)), rng.integers(0, 288, n).astype(np.uint16),
        rng.integers(0, 192, n).astype(np.uint16), rng.random(n) < 0.5, 288, 192,
    )  # fmt: skip
    _, missed = blinking_views([], noise, BOARD)
    assert "no swap of the blinking board in 2.0 s" in missed[0].why
    assert "full-screen" in missed[0].why


def test_a_board_that_moves_between_frames_is_refused() -> None:
    truth = random_truth(STRAIGHT)
    poses = random_poses(truth, BOARD, 3, 0)
    a, b = board_shots(truth, "charuco", 2, poses=[poses[2], poses[2]])
    frames = [a.frames[0], (b.frames[0][0], b.frames[0][1], np.roll(b.frames[0][2], 6, axis=1))]
    with pytest.raises(BadView, match=r"moved by .* image pixels"):
        steady_corners(timed(tuple(frames)), BOARD)


def test_cameras_that_see_different_places_give_no_view(blinking: tuple[SimulatedTruth, BoardShot]) -> None:
    _, shot = blinking
    blank = [TimedFrame(a, b, np.full_like(p, 90)) for a, b, p in shot.frames]
    views, missed = blinking_views(blank, shot.events, BOARD)
    assert not views
    assert missed[0].camera == "image"
    assert "no board is seen" in missed[0].why


def test_the_same_seed_gives_the_same_rig() -> None:
    assert random_truth(7) == random_truth(7)
    assert random_truth(7) != random_truth(8)
    t = random_truth(7)
    assert abs(t.config.roll_deg) <= 5
    assert 3.5 <= t.config.scale <= 4.5
    assert t.rig().geometry.undistorted_image_from_event is not None
