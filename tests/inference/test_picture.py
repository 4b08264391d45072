"""Frames as restorers take them."""

from __future__ import annotations

import numpy as np
import pytest

from capture.packets import Frame, FrameClock, PixelLayout
from inference.restorers.picture import picture_of

COLOUR = {"r": 200, "g": 120, "b": 40}


@pytest.mark.parametrize("layout", [v for v in PixelLayout if v.value.startswith("bayer")])
def test_bayer_colours_come_out_in_order(layout: PixelLayout) -> None:
    mosaic = np.empty((12, 16), np.uint8)
    for k, letter in enumerate(layout.value.removeprefix("bayer_")):
        mosaic[k // 2 :: 2, k % 2 :: 2] = COLOUR[letter]
    picture = picture_of(Frame(mosaic, layout, 0, None, None, FrameClock.DEVICE))
    assert picture.shape == (12, 16, 3)
    np.testing.assert_array_equal(picture[2:-2, 2:-2].reshape(-1, 3), np.tile([200, 120, 40], (96, 1)))


def test_rgb_and_gray_are_given_as_they_are() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (5, 7, 3)).astype(np.uint8)
    for image, layout in ((rgb, PixelLayout.RGB), (rgb[..., 0].copy(), PixelLayout.GRAY)):
        got = picture_of(Frame(image, layout, 0, None, None, FrameClock.DEVICE))
        np.testing.assert_array_equal(got, image)
        assert got.flags.c_contiguous
    view = picture_of(Frame(rgb[:, ::-1], PixelLayout.RGB, 0, None, None, FrameClock.DEVICE))
    assert view.flags.c_contiguous
    np.testing.assert_array_equal(view, rgb[:, ::-1])
