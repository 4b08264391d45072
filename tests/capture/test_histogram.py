"""Histograms of frames as they come, clipped shares named."""

from __future__ import annotations

import numpy as np
import pytest

from capture.histogram import histogram
from capture.packets import PixelLayout


def test_gray_by_hand() -> None:
    image = np.array([[0, 0, 255, 100], [100, 100, 7, 9]], np.uint8)
    h = histogram(image, PixelLayout.GRAY)
    assert h.counts.shape == (1, 256)
    assert h.counts[0, 100] == 3
    assert h.counts.sum() == 8
    assert (h.white, h.black) == (1 / 8, 2 / 8)
    assert h.mean == pytest.approx(image.mean())
    assert h.words == "12% white · 25% black"


@pytest.mark.parametrize(
    ("layout", "colours"),
    [
        (PixelLayout.BAYER_RGGB, "rggb"),
        (PixelLayout.BAYER_GRBG, "grbg"),
        (PixelLayout.BAYER_GBRG, "gbrg"),
        (PixelLayout.BAYER_BGGR, "bggr"),
    ],
)
def test_bayer_sites_count_as_their_colour(layout: PixelLayout, colours: str) -> None:
    value = {"r": 200, "g": 120, "b": 40}
    block = np.array([value[c] for c in colours], np.uint8).reshape(2, 2)
    h = histogram(np.tile(block, (5, 7)), layout)
    assert [int(h.counts[i].argmax()) for i in range(3)] == [200, 120, 40]
    assert h.counts[1, 120] == 70
    assert h.counts[0, 200] == h.counts[2, 40] == 35


def test_a_colour_pixel_clips_once() -> None:
    image = np.full((10, 10, 3), 90, np.uint8)
    image[0] = (255, 255, 10)  # two channels of ten pixels
    image[1, :5] = 0
    image[2, :5] = (0, 3, 0)  # dark, not black
    h = histogram(image, PixelLayout.RGB)
    assert h.white == 0.1
    assert h.black == 0.05
    assert "cut off" in h.advice


def test_advice() -> None:
    rng = np.random.default_rng(0)
    good = rng.integers(30, 220, (40, 40), dtype=np.uint8)
    assert histogram(good, PixelLayout.GRAY).advice == ""
    bright = np.where(good > 180, 255, good).astype(np.uint8)
    assert "shorten the exposure" in histogram(bright, PixelLayout.GRAY).advice
    assert "open the aperture" in histogram((good // 12).astype(np.uint8), PixelLayout.GRAY).advice
    both = np.where(good < 60, 0, bright).astype(np.uint8)
    assert "ends" in histogram(both, PixelLayout.GRAY).advice


def test_a_shape_that_does_not_fit() -> None:
    with pytest.raises(ValueError, match="rgb image"):
        histogram(np.zeros((4, 4), np.uint8), PixelLayout.RGB)
