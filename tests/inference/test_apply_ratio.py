"""Picture times ratio: exact where it can be told, careful where it cannot."""

from __future__ import annotations

import numpy as np
import pytest

from inference.restorers.apply_ratio import (
    CLIPPED_LIGHT,
    apply_ratio,
    brightening,
    overflow,
    saturated_share,
)
from inference.tone import Tone, decode, encode
from sync.geometry import scaled_homography, warp_event_map_to_image
from tests.inference.moving_scene import rig_for


def noise(shape: tuple[int, ...], low: int = 10, high: int = 240) -> np.ndarray:
    return np.random.default_rng(0).integers(low, high, shape).astype(np.uint8)


@pytest.mark.parametrize("shape", [(7, 5), (7, 5, 3), (1, 1), (1, 1, 3)])
@pytest.mark.parametrize("tone", ["linear", "srgb"])
def test_ratio_one_changes_nothing(shape: tuple[int, ...], tone: Tone) -> None:
    image = noise(shape, 0, 256)
    np.testing.assert_array_equal(apply_ratio(image, np.ones(shape[:2], np.float32), tone), image)


@pytest.mark.parametrize("shape", [(33, 47), (33, 47, 3)])
@pytest.mark.parametrize("tone", ["linear", "srgb"])
def test_it_multiplies_light(shape: tuple[int, ...], tone: Tone) -> None:
    image = noise(shape)
    ratio = np.random.default_rng(1).uniform(0.05, 3, shape[:2]).astype(np.float32)
    light = decode(image, tone).astype(np.float64) * ratio.reshape(*ratio.shape, *[1] * (len(shape) - 2))
    got = apply_ratio(image, ratio, tone)
    # The reference rounds float64 light, the kernel float32: at most one code apart, and hardly ever.
    difference = np.abs(got.astype(int) - encode(light, tone))
    assert difference.max() <= 1
    assert (difference > 0).mean() < 1e-3


def test_colours_keep_their_hue() -> None:
    image = np.array([[[200, 100, 50]]], np.uint8)
    np.testing.assert_array_equal(
        apply_ratio(image, np.full((1, 1), 0.5, np.float32), "linear"), [[[100, 50, 25]]]
    )


@pytest.mark.parametrize("value", [0.9, 5.0, 1e20])
def test_clipped_pixels_are_not_brightened_nor_dimmed_a_little(value: float) -> None:
    # One clipped channel holds all three back: no coloured fringe.
    image = np.array([[[255, 120, 30]]], np.uint8)
    np.testing.assert_array_equal(apply_ratio(image, np.full((1, 1), value, np.float32), "srgb"), image)


def test_a_clipped_channel_darkens_with_the_others() -> None:
    image = np.array([[[255, 120, 30]]], np.uint8)
    got = apply_ratio(image, np.full((1, 1), 0.5, np.float32), "linear")
    np.testing.assert_allclose(got[0, 0], np.array([255, 120, 30]) * 0.5 * CLIPPED_LIGHT, atol=0.5001)


def test_black_is_not_brightened_but_may_darken() -> None:
    image = np.array([[0, 1, 3, 20]], np.uint8)
    up = apply_ratio(image, np.full((1, 4), 8, np.float32), "linear")[0].astype(int)
    assert up[0] == 0
    assert up[1] < 8
    assert up[2] < 24
    assert up[3] == 160
    np.testing.assert_array_equal(
        apply_ratio(image, np.full((1, 4), 0.1, np.float32), "linear"), [[0, 0, 0, 2]]
    )


def test_ratios_are_followed_in_between_and_limited_at_the_ends() -> None:
    up, over = brightening(), overflow()
    assert (up[8:240] == 1).all()
    assert (over[:240] == 1).all()
    assert up[0] == up[255] == 0
    assert over[255] == pytest.approx(CLIPPED_LIGHT)
    assert (np.diff(up[240:]) <= 0).all()
    assert (np.diff(over) >= 0).all()


@pytest.mark.parametrize("shape", [(1, 4), (1, 4, 3)])
def test_clipped_light_is_a_little_more_than_its_code(shape: tuple[int, ...]) -> None:
    image = np.full(shape, 255, np.uint8)
    ratio = np.array([[0.95, 0.9, 0.5, 1.4]], np.float32)
    got = apply_ratio(image, ratio, "linear").reshape(4, -1)
    # Small dips stay white, large ones are followed, and nothing is brighter than white.
    want = [255, 255, round(255 * 0.5 * CLIPPED_LIGHT), 255]
    np.testing.assert_array_equal(got, np.broadcast_to(np.array(want)[:, None], got.shape))


@pytest.mark.parametrize("mirrored", [False, True])
def test_sampling_through_a_homography_is_the_geometrys(mirrored: bool) -> None:
    m = scaled_homography(3.0, mirrored=mirrored, event_width=21)
    m = np.array([[0.99, 0.03, 4], [-0.02, 1.01, -3], [1e-5, 2e-5, 1]]) @ m
    rig = rig_for((21, 17), (63, 50), image_from_event=m)
    ratio = np.random.default_rng(2).uniform(0.3, 2, (17, 21)).astype(np.float32)
    image = noise((50, 63, 3), 20, 120)
    got = apply_ratio(image, ratio, "linear", np.linalg.inv(m))
    full = warp_event_map_to_image(ratio, rig, outside=1.0)
    # OpenCV samples at 1/32 pixel: 3 % of the difference of neighbours, times 120 codes.
    expected = apply_ratio(image, np.ascontiguousarray(full, dtype=np.float32), "linear")
    difference = np.abs(got.astype(int) - expected)
    assert np.median(difference) <= 1
    assert np.quantile(difference, 0.99) <= 8


def test_outside_the_event_sensor_the_picture_stays() -> None:
    image = noise((20, 40))
    shift = np.array([[1.0, 0, -30], [0, 1, 0], [0, 0, 1]])  # event sensor sees columns 30… only
    got = apply_ratio(image, np.full((20, 10), 0.5, np.float32), "linear", shift)
    np.testing.assert_array_equal(got[:, :29], image[:, :29])
    assert (got[:, 30:] < image[:, 30:]).all()


def test_a_degenerate_geometry_leaves_the_picture() -> None:
    image = noise((8, 8, 3))
    for m in (np.full((3, 3), np.nan), np.zeros((3, 3)), -np.eye(3)):
        got = apply_ratio(image, np.full((8, 8), 0.5, np.float32), "linear", m)
        np.testing.assert_array_equal(got, image)


def test_sizes_must_fit() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        apply_ratio(noise((8, 8)), np.ones((8, 9), np.float32), "linear")


def test_saturated_share() -> None:
    image = np.zeros((10, 10, 3), np.uint8)
    image[:5, :, 1] = 251
    assert saturated_share(image) == pytest.approx(0.5)
    assert saturated_share(np.full((3, 3), 255, np.uint8)) == 1
    assert saturated_share(np.full((3, 3), 249, np.uint8)) == 0
