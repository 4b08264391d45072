from __future__ import annotations

import numpy as np
from PySide6.QtGui import QColor, QImage

from app.viewer.raster import Layer, difference, to_qimage
from app.viewer.viewport import Placement


def whole(width: int, height: int, by: int = 1) -> Placement:
    return Placement((0, 0, width, height), (0, 0, width * by, height * by))


def rgb(image: QImage, x: int, y: int) -> tuple[int, int, int]:
    c = QColor(image.pixel(x, y))
    return c.red(), c.green(), c.blue()


def test_pixels_come_out_as_they_went_in() -> None:
    a = np.random.default_rng(0).integers(0, 256, (7, 5, 3), np.uint8)
    layer = Layer()
    layer.set(a)
    image = layer.scaled(whole(5, 7))
    assert image is not None
    assert all(rgb(image, x, y) == tuple(a[y, x]) for x in range(5) for y in range(7))


def test_gray_is_shown_gray() -> None:
    a = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
    layer = Layer()
    layer.set(a)
    image = layer.scaled(whole(4, 3))
    assert image is not None
    assert rgb(image, 3, 2) == (220, 220, 220)


def test_high_zoom_shows_squares_and_a_crop_its_own_part() -> None:
    a = np.random.default_rng(1).integers(0, 256, (8, 8, 3), np.uint8)
    layer = Layer()
    layer.set(a)
    image = layer.scaled(Placement((2, 3, 5, 6), (0, 0, 30, 30)))
    assert image is not None
    assert rgb(image, 0, 0) == rgb(image, 9, 9) == tuple(a[3, 2])
    assert rgb(image, 29, 29) == tuple(a[5, 4])


def test_much_smaller_is_an_average_and_not_a_selection() -> None:
    a = np.zeros((64, 64), np.uint8)
    a[::2] = 200  # every other line: picking lines would give 0 or 200
    layer = Layer()
    layer.set(a)
    image = layer.scaled(Placement((0, 0, 64, 64), (0, 0, 16, 16)))
    assert image is not None
    assert rgb(image, 8, 8) == (100, 100, 100)


def test_the_same_memory_is_not_scaled_again() -> None:
    a = np.zeros((2, 4, 4, 3), np.uint8)
    layer = Layer()
    assert layer.set(a[0])
    first = layer.scaled(whole(4, 4))
    assert not layer.set(a[0])
    assert layer.scaled(whole(4, 4)) is first
    assert layer.set(a[1])
    assert layer.scaled(whole(4, 4)) is not first


def test_a_picture_that_is_not_contiguous_is_copied_not_misread() -> None:
    a = np.random.default_rng(2).integers(0, 256, (6, 6, 3), np.uint8)[:, ::2]
    image = to_qimage(a)
    assert rgb(image, 2, 5) == tuple(a[5, 2])


def test_difference_is_signed_about_mid_grey() -> None:
    sharp = np.array([[100, 200, 0]], np.uint8)
    blurred = np.array([[100, 50, 200]], np.uint8)
    assert difference(sharp, blurred).tolist() == [[128, 255, 0]]
    colour = np.full((1, 1, 3), 90, np.uint8)
    assert difference(colour, np.full((1, 1), 80, np.uint8)).tolist() == [[138]]
