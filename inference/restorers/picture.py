"""A frame's image as restorers take it: RGB or gray, never a Bayer mosaic."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from capture.packets import Frame, PixelLayout

# The layout names the colours of the top left 2×2 block, row by row. OpenCV's older names (BayerBG …) name
# another block and confuse; the four-letter names below are the same as ours.
_DEMOSAIC = {
    PixelLayout.BAYER_RGGB: cv2.COLOR_BayerRGGB2RGB,
    PixelLayout.BAYER_GRBG: cv2.COLOR_BayerGRBG2RGB,
    PixelLayout.BAYER_GBRG: cv2.COLOR_BayerGBRG2RGB,
    PixelLayout.BAYER_BGGR: cv2.COLOR_BayerBGGR2RGB,
}


def picture_of(frame: Frame) -> NDArray[np.uint8]:
    """(H, W, 3) RGB or (H, W) gray, C-contiguous; Bayer is demosaiced bilinearly."""
    code = _DEMOSAIC.get(frame.layout)
    if code is None:
        return np.ascontiguousarray(frame.image)
    return np.asarray(cv2.cvtColor(frame.image, code), dtype=np.uint8)
