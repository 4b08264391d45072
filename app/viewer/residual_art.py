"""The map of the re-blur residual as colours over a picture, and what the colours mean.

The picture is dimmed, and the map glows on it: black where nothing is wrong, then violet, orange and yellow.
The colours are inferno's, whose lightness grows evenly with the value, so that they read alike for every kind
of colour vision and in grey.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

U8 = NDArray[np.uint8]

STEPS_A_CODE = 8  # of the map, see `inference.quality.MAP_STEP`
TOP = 16  # grey levels at which the brightest colour is reached
DIM = 0.55  # of the picture where nothing is wrong
COVER = 0.95  # of the picture at the top of the scale


def _colours() -> U8:
    """(256, 4) BGRA, not premultiplied, of each value of a map."""
    share = np.minimum(np.arange(256) / (STEPS_A_CODE * TOP), 1.0)
    colour = cv2.applyColorMap((255 * share).astype(np.uint8)[:, None], cv2.COLORMAP_INFERNO)[:, 0]
    alpha = np.round(255 * (DIM + (COVER - DIM) * share)).astype(np.uint8)
    return np.concatenate([colour, alpha[:, None]], axis=1)


COLOURS = _colours()
TABLE = [int(b) | int(g) << 8 | int(r) << 16 | int(a) << 24 for b, g, r, a in COLOURS]
"""The same as a QImage's colour table: 0xAARRGGBB."""


def bar(width: int, height: int) -> U8:
    """The scale from 0 to `TOP` grey levels as an opaque picture, (height, width, 4) BGRA."""
    at = np.linspace(0, STEPS_A_CODE * TOP, width).round().astype(np.uint8)
    out = COLOURS[np.repeat(at[None], height, axis=0)]
    out[..., 3] = 255
    return np.ascontiguousarray(out)
