"""Windows of a video, and GEM's items: rules, draws, refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from inference.representations.coding import columns
from inference.representations.eger import Spans
from inference.representations.eger_numba import eger
from training.data.gem import (
    Draw,
    FramePair,
    draw,
    item_at,
    items_at_fraction,
    large_blur,
    training_item,
    values,
)
from training.data.windows import Ends, five_frame_windows


def test_windows_without_ends() -> None:
    assert five_frame_windows(7).tolist() == [[0, 1, 2, 3, 4], [1, 2, 3, 4, 5], [2, 3, 4, 5, 6]]
    assert len(five_frame_windows(1000)) == 996
    for count in range(5):
        assert five_frame_windows(count).shape == (0, 5)


def test_published_ends_run_back_and_forth() -> None:
    w = five_frame_windows(9, Ends.PUBLISHED)
    assert w[[0, 1, 7, 8]].tolist() == [[0, 1, 0, 1, 2], [1, 0, 1, 2, 3], [5, 6, 7, 8, 7], [6, 7, 8, 7, 8]]
    assert w[:, 2].tolist() == list(range(9))
    assert five_frame_windows(2, Ends.PUBLISHED).tolist() == [[0, 1, 0, 1, 0], [1, 0, 1, 0, 1]]


def test_corrected_ends_repeat_the_outermost_frame() -> None:
    w = five_frame_windows(6, Ends.CORRECTED)
    assert w[[0, 1, 4, 5]].tolist() == [[0, 0, 0, 1, 2], [0, 0, 1, 2, 3], [2, 3, 4, 5, 5], [3, 4, 5, 5, 5]]
    assert five_frame_windows(1, Ends.CORRECTED).tolist() == [[0] * 5]
    assert five_frame_windows(0, Ends.CORRECTED).shape == (0, 5)


def test_videos_without_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="a video of -1 frames"):
        five_frame_windows(-1)
    with pytest.raises(ValueError, match="published ends take 2 frames from either end; the video has 1"):
        five_frame_windows(1, Ends.PUBLISHED)


# -- GEM -----------------------------------------------------------------------------------------------------

HEIGHT, WIDTH, SCALE = 12, 20, 2
EXPOSURES = ((1000, 2000), (2100, 3100))


@pytest.fixture
def pair() -> FramePair:
    rng = np.random.default_rng(0)
    n = 4000
    t = np.sort(rng.integers(900, 3200, n))
    x, y, p = rng.integers(0, WIDTH, n), rng.integers(0, HEIGHT, n), rng.integers(0, 2, n)
    frames = rng.integers(0, 256, (2, 3, HEIGHT * SCALE, WIDTH * SCALE)).astype(np.uint8)
    return FramePair(*frames, EXPOSURES, columns(t, x, y, p, WIDTH, HEIGHT), SCALE)


@pytest.mark.parametrize("rng", [np.random.RandomState(0), np.random.default_rng(0)])
def test_draws_cover_what_they_should(pair: FramePair, rng: Any) -> None:
    drawn = [draw(pair, (10, 15), rng) for _ in range(3000)]
    assert {d.top for d in drawn} == set(range(3))
    assert {d.left for d in drawn} == set(range(6))
    assert 0.45 < np.mean([d.first for d in drawn]) < 0.55
    for first, (start, end) in zip((True, False), EXPOSURES, strict=True):
        instants = [d.instant for d in drawn if d.first is first]
        assert start <= min(instants) < start + 10
        assert end - 10 < max(instants) < end


def test_draws_repeat_with_their_generator(pair: FramePair) -> None:
    one, two = (draw(pair, (4, 4), np.random.RandomState(7)) for _ in range(2))
    assert one == two
    assert all(type(v) is int for v in (one.instant, one.top, one.left))


def test_crops_that_do_not_fit_are_refused(pair: FramePair) -> None:
    assert draw(pair, (HEIGHT, WIDTH), np.random.default_rng(0)).top == 0
    for crop in ((HEIGHT + 1, 4), (4, 0)):
        with pytest.raises(ValueError, match="event pixels out of 20×12"):
            draw(pair, crop, np.random.default_rng(0))


@pytest.mark.parametrize("first", [True, False])
def test_an_item_is_the_crop_of_the_whole(pair: FramePair, first: bool) -> None:
    instant = EXPOSURES[0 if first else 1][0] + 400
    whole = training_item(pair, Draw(first, instant, 0, 0), (HEIGHT, WIDTH))
    item = training_item(pair, Draw(first, instant, 3, 5), (6, 8))
    for name in ("sharp_from_frame", "sharp_from_large", "frame_from_large"):
        np.testing.assert_array_equal(getattr(item, name), getattr(whole, name)[:, 3:9, 5:13])
    for name in ("frame", "large"):
        np.testing.assert_array_equal(getattr(item, name), getattr(whole, name)[:, 6:18, 10:26])
    own = EXPOSURES[0 if first else 1]
    joint = Spans((1000, 3100), own)
    np.testing.assert_array_equal(whole.frame_from_large, eger(pair.events, joint))
    np.testing.assert_array_equal(whole.frame, values(pair.first if first else pair.second))


def test_values_and_the_large_blur(pair: FramePair) -> None:
    every = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    got = values(every)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, every / 255, rtol=0, atol=1e-7)
    assert got[0, 0, 0] == 0
    assert got[0, -1, -1] == 1
    np.testing.assert_array_equal(large_blur(every, every[:, ::-1]), (every.astype(float) + every[:, ::-1]) / 2)
    assert large_blur(np.full((1, 1, 1), 300.0), np.full((1, 1, 1), 300.0)).max() == 255


def test_test_items(pair: FramePair) -> None:
    half, quarter = list(items_at_fraction(pair)), list(items_at_fraction(pair, 0.25, bins=4))
    assert [counts.shape for counts, _ in half] == [(96, HEIGHT, WIDTH)] * 2
    assert [counts.shape for counts, _ in quarter] == [(24, HEIGHT, WIDTH)] * 2
    counts, picture, second = item_at(pair, 1500)
    np.testing.assert_array_equal(counts, half[0][0])
    np.testing.assert_array_equal(picture, half[0][1])
    assert [item_at(pair, t)[2] for t in (1000, 2000, 2001, 2100, 3100)] == [False, False, True, True, True]
    assert not second
    with pytest.raises(ValueError, match=r"latent position 1\.5"):
        list(items_at_fraction(pair, 1.5))


def test_pairs_without_sense_are_refused(pair: FramePair) -> None:
    with pytest.raises(ValueError, match="1000…2200 and 2100…3100 µs do not follow one another"):
        FramePair(pair.first, pair.second, ((1000, 2200), (2100, 3100)), pair.events)
    with pytest.raises(ValueError, match="expected two"):
        FramePair(pair.first, pair.second[:, :-1], EXPOSURES, pair.events)
    with pytest.raises(ValueError, match="scale 0"):
        FramePair(pair.first, pair.second, EXPOSURES, pair.events, 0)
