"""How a frame is exposed: how many pixels have each code, and how many are at its ends."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from capture.packets import PixelLayout

CLIPPED = 0.01
"""Share of pixels at one end from which on it is named: that light is lost to every restorer."""
DARK_MEAN = 24.0
"""Mean code below which a frame is dark, so that noise is most of it."""


@dataclass(frozen=True, slots=True, eq=False)
class Histogram:
    """Of one frame.

    Attributes:
        counts: (C, 256) int64, pixels of each code; C is 1 (gray) or 3 (red, green, blue).
        white, black: share of pixels 0…1 of which a channel is 255, or all are 0.
        mean: of all codes.
    """

    counts: NDArray[np.int64]
    white: float
    black: float
    mean: float

    @property
    def words(self) -> str:
        """Clipped shares, named; one line."""
        return f"{_percent(self.white)} white · {_percent(self.black)} black"

    @property
    def advice(self) -> str:
        """What to do about it, "" when it is well exposed."""
        if self.white > CLIPPED and self.black > CLIPPED:
            return "light and dark ends are cut off: less contrast in the scene would help"
        if self.white > CLIPPED:
            return "clipped: shorten the exposure, lower the gain or close the aperture"
        if self.mean < DARK_MEAN or self.black > 10 * CLIPPED:
            return "dark: open the aperture, raise the gain or lengthen the exposure"
        return ""


def _percent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.1 else f"{share:.1%}" if share >= 0.0005 or share == 0 else "<0.1%"


def histogram(image: NDArray[np.uint8], layout: PixelLayout) -> Histogram:
    """Count the codes of a frame as it came: Bayer sites count as the colours that they are.

    Args:
        image: (H, W) or (H, W, 3) uint8.
        layout: what its values mean.

    Raises:
        ValueError: the image does not fit the layout.
    """
    if image.ndim != (3 if layout is PixelLayout.RGB else 2):
        raise ValueError(f"a {layout.value} image has not the shape {image.shape}")
    if layout is PixelLayout.RGB:
        counts = np.stack([_counts(image[:, :, c]) for c in range(3)])
        if counts[:, 255].any() or counts[:, 0].any():
            white = int(np.count_nonzero(image.max(axis=2) == 255)) if counts[:, 255].any() else 0
            black = int(np.count_nonzero(image.max(axis=2) == 0)) if counts[:, 0].all() else 0
        else:
            white = black = 0
        pixels = image.shape[0] * image.shape[1]
    else:
        colours = layout.value.removeprefix("bayer_") if layout is not PixelLayout.GRAY else ""
        if colours:
            counts = np.zeros((3, 256), np.int64)
            for i, colour in enumerate(colours):
                counts["rgb".index(colour)] += _counts(image[i // 2 :: 2, i % 2 :: 2])
        else:
            counts = _counts(image)[None]
        pixels = image.size
        white, black = int(counts[:, 255].sum()), int(counts[:, 0].sum())
    mean = float((counts * np.arange(256)).sum() / max(1, counts.sum()))
    return Histogram(counts, white / pixels, black / pixels, mean)


def _counts(channel: NDArray[np.uint8]) -> NDArray[np.int64]:
    found = cv2.calcHist([np.ascontiguousarray(channel)], [0], None, [256], [0.0, 256.0])
    return np.asarray(found, np.float32).ravel().astype(np.int64)
