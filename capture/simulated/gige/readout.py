"""From a sensor's picture to the bytes that are sent: gain, white balance, region, pixel format."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from capture.packets import PixelLayout
from capture.simulated.gige.features import PIXEL_FORMATS
from capture.simulated.gige.pictures import Picture, Pictures
from capture.simulated.textures import linear_from_srgb, srgb_from_linear

U8 = NDArray[np.uint8]

FORMATS: dict[PixelLayout, tuple[str, ...]] = {
    PixelLayout.RGB: ("RGB8", "Mono8"),
    PixelLayout.GRAY: ("Mono8",),
    PixelLayout.BAYER_RGGB: ("BayerRG8", "BayerRG16", "Mono8"),
    PixelLayout.BAYER_GRBG: ("BayerGR8", "Mono8"),
    PixelLayout.BAYER_GBRG: ("BayerGB8", "Mono8"),
    PixelLayout.BAYER_BGGR: ("BayerBG8", "Mono8"),
}
"""Pixel formats that a sensor offers, its own first."""

_RED, _BLUE = (0, 2)
_PLACE = {
    PixelLayout.BAYER_RGGB: ((0, 0), (1, 1)), PixelLayout.BAYER_GRBG: ((0, 1), (1, 0)),
    PixelLayout.BAYER_GBRG: ((1, 0), (0, 1)), PixelLayout.BAYER_BGGR: ((1, 1), (0, 0)),
}  # fmt: skip
"""(row, column) of the red and the blue pixel in a Bayer cell."""


@dataclass(frozen=True, slots=True)
class Readout:
    """How pictures are read.

    Attributes:
        region: width, height, x, y.
        pixel_format: name of it.
        gain: factor on the light.
        red, blue: white balance, factors on the light.
    """

    region: tuple[int, int, int, int]
    pixel_format: str
    gain: float = 1.0
    red: float = 1.0
    blue: float = 1.0


def bytes_per_pixel(pixel_format: str) -> int:
    """Of a pixel format by name."""
    return (PIXEL_FORMATS[pixel_format] >> 16 & 0xFF) // 8


class Developer:
    """Reads pictures out; those of a loop once, then from memory."""

    def __init__(self, pictures: Pictures) -> None:
        self._pictures = pictures
        self._kept: dict[int, U8] = {}
        self._key: tuple[Readout, int] | None = None

    def develop(self, picture: Picture, readout: Readout) -> U8:
        """The picture's bytes as an array, C-contiguous; never written to again."""
        key = (readout, picture.version)
        if key != self._key:
            self._kept, self._key = {}, key
        made = self._kept.get(picture.place)
        if made is None:
            made = self._kept[picture.place] = self._make(picture.image, readout)
        return made

    def _make(self, image: U8, r: Readout) -> U8:
        layout = self._pictures.layout
        if (r.gain, r.red, r.blue) != (1.0, 1.0, 1.0):
            image = self._amplified(image, r, layout)
        width, height, x, y = r.region
        if r.pixel_format == "Mono8" and layout is PixelLayout.RGB:
            image = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8)
        image = image[y : y + height, x : x + width]
        if r.pixel_format.endswith("16"):
            return np.ascontiguousarray(image.astype("<u2") << 8).view(np.uint8)
        return np.ascontiguousarray(image)

    def _amplified(self, image: U8, r: Readout, layout: PixelLayout) -> U8:
        out = cv2.LUT(image, self._curve(r.gain)).astype(np.uint8, copy=False)
        for factor, which in ((r.red, _RED), (r.blue, _BLUE)):
            if factor == 1.0 or layout is PixelLayout.GRAY:
                continue
            curve = self._curve(r.gain * factor)
            if layout is PixelLayout.RGB:
                out[:, :, which] = curve[image[:, :, which]]
            else:
                row, column = _PLACE[layout][which == _BLUE]
                out[row::2, column::2] = curve[image[row::2, column::2]]
        return out

    def _curve(self, factor: float) -> U8:
        values, linear = np.arange(256, dtype=np.uint8), self._pictures.linear
        light = values.astype(np.float32) / np.float32(255) if linear else linear_from_srgb(values)
        light = np.minimum(light * np.float32(factor), np.float32(1))
        return np.rint(255 * (light if linear else srgb_from_linear(light))).astype(np.uint8)
