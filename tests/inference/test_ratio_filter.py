"""Cleaning a ratio map: noise goes, edges and untouched pixels stay."""

from __future__ import annotations

import numpy as np
import pytest

from capture.packets import Events
from inference.representations.double_integral import Contrast
from inference.restorers.ratio_filter import REFINE, clean, fill, hot_pixels, refinement

C = Contrast(0.2, 0.2)


def events_with(counts: np.ndarray) -> Events:
    y, x = np.nonzero(counts)
    y, x = np.repeat(y, counts[y, x]), np.repeat(x, counts[y, x])
    n = len(x)
    return Events.checked(np.arange(n), x, y, np.ones(n, bool), counts.shape[1], counts.shape[0])


def test_hot_pixels_are_found_alone_in_pairs_and_in_the_corner() -> None:
    counts = np.random.default_rng(0).poisson(6, (20, 30))
    for y, x in ((5, 5), (12, 20), (12, 21), (0, 0), (19, 29)):
        counts[y, x] = 400
    hot = hot_pixels(events_with(counts))
    assert sorted(zip(*np.nonzero(hot), strict=True)) == [(0, 0), (5, 5), (12, 20), (12, 21), (19, 29)]


def test_busy_texture_is_not_hot() -> None:
    counts = np.zeros((20, 30), int)
    counts[:, 10:13] = 90  # an edge that shakes to and fro
    counts[8, :] = 60
    assert not hot_pixels(events_with(counts)).any()


def test_hot_pixels_take_their_neighbours_median() -> None:
    ratio = np.full((5, 5), 2.0, np.float32)
    hot = np.zeros((5, 5), bool)
    ratio[2, 2], hot[2, 2] = 1e9, True
    ratio[0, 0], hot[0, 0] = 1e-9, True
    fill(ratio, hot)
    assert (ratio == 2).all()
    alone = np.full((1, 1), 7.0, np.float32)
    fill(alone, np.ones((1, 1), bool))
    assert alone[0, 0] == 1


def test_steps_of_a_threshold_are_smoothed_edges_stay() -> None:
    rng = np.random.default_rng(1)
    log = np.where(np.arange(40) < 20, -0.8, 0.8)[None] + 0.1 * rng.choice([-1, 1], (30, 40))
    got = np.log(clean(np.exp(log).astype(np.float32), C, 1.0))
    assert got[:, :18].std() < 0.06
    assert got[:, 22:].std() < 0.06
    assert got[:, 20:].min() - got[:, :20].max() > 1.2  # the edge is as steep as it was


@pytest.mark.parametrize("scale", [1.0, 4.0])
@pytest.mark.parametrize("smooth", [True, False])
def test_one_stays_one_exactly(scale: float, smooth: bool) -> None:
    ratio = np.ones((20, 30), np.float32)
    ratio[10, 15] = 3
    got = clean(ratio, C, scale, smooth)
    n = refinement(scale)
    assert got.shape == (20 * n, 30 * n)
    far = np.ones(got.shape, bool)
    far[5 * n : 16 * n, 10 * n : 21 * n] = False
    assert (got[far] == 1).all()


def test_refinement_follows_the_scale_and_the_pixel_centres() -> None:
    assert refinement(1.0) == 1
    assert refinement(4.0) == REFINE
    log = np.tile(0.01 * np.arange(30), (20, 1))
    got = np.log(clean(np.exp(log).astype(np.float32), C, 4.0, smooth=False))
    # Fine centres 2x and 2x + 1 lie a quarter to either side of coarse x: together they are its value.
    np.testing.assert_allclose(0.5 * (got[5, 0::2] + got[5, 1::2])[3:-3], log[0, 3:-3], atol=1e-6)
    np.testing.assert_allclose((got[5, 1::2] - got[5, 0::2])[3:-3], 0.005, rtol=0.25)


@pytest.mark.parametrize("scale", [1.0, 4.0])
def test_wild_values_stay_finite(scale: float) -> None:
    ratio = np.ones((20, 30), np.float32)
    ratio[3, 3], ratio[8, 8], ratio[9, 9] = 1e26, 1e-26, np.finfo(np.float32).tiny
    got = clean(ratio, C, scale)
    assert np.isfinite(got).all()
    assert (got > 0).all()
