"""Pictures as files and beside each other."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

U8 = NDArray[np.uint8]
_GAP = 4


def encode_png(picture: U8) -> bytes:
    """(H, W, 3) RGB or (H, W) gray uint8 as the bytes of a PNG file."""
    bgr = picture if picture.ndim == 2 else np.ascontiguousarray(picture[..., ::-1])
    ok, data = cv2.imencode(".png", bgr)
    if not ok:
        raise ValueError(f"a picture of shape {picture.shape} cannot be encoded as PNG")
    return data.tobytes()


def strip(pictures: Sequence[U8]) -> U8:
    """Pictures of one height beside each other with a white gap; gray ones become RGB beside an RGB one."""
    colour = any(p.ndim == 3 for p in pictures)
    same = [np.repeat(p[..., None], 3, axis=2) if colour and p.ndim == 2 else p for p in pictures]
    gap = np.full((same[0].shape[0], _GAP, *same[0].shape[2:]), 255, np.uint8)
    parts = [part for p in same for part in (gap, p)][1:]
    return np.concatenate(parts, axis=1)
