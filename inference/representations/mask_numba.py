"""The event mask on one CPU core. See `mask`."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from capture.compiled import njit


@njit(nogil=True)
def _support(grid: NDArray[Any], out: NDArray[np.uint8]) -> None:
    channels, n = grid.shape
    for i in range(n):
        out[i] = 0
    for c in range(channels):
        for i in range(n):
            if grid[c, i] != 0:
                out[i] = 255


def event_mask(grid: NDArray[Any], *, closed: bool = True) -> NDArray[np.uint8]:
    """The mask of a representation.

    Args:
        grid: (C, H, W).
        closed: with the closing, as published; without it the bare support.

    Returns:
        (1, H, W) uint8, 0 or 255. The network takes it as 0.0 and 1.0.
    """
    _, height, width = grid.shape
    out = np.empty((height, width), np.uint8)
    _support(np.ascontiguousarray(grid).reshape(len(grid), -1), out.reshape(-1))
    if closed and out.size:
        # OpenCV's default border is the identity of each step: outside pixels change nothing.
        out = np.asarray(cv2.morphologyEx(out, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8)), np.uint8)
    return out[None]
