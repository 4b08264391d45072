"""The samples of a deformable convolution on one CPU core: each tap in one pass, nothing kept in between."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from capture.compiled import njit

F32 = NDArray[np.float32]


@njit(nogil=True, error_model="numpy")
def sample_taps(table: F32, offset: F32, mask: F32, first: int, k: int, out: F32) -> None:
    """What the taps of some rows of pixels read, weighed.

    Args:
        table: (H + 2, W + 2, C), the map with a border of zeros.
        offset: (rows, W, 2k²), row and column alternating.
        mask: (rows, W, k²).
        first: the map's row at which these rows begin.
        k: side of the kernel.
        out: (rows, W, k², C), written.
    """
    rows, width, taps = mask.shape
    height, channels = table.shape[0] - 2, table.shape[2]
    zero, one = np.float32(0), np.float32(1)
    bottom, right = np.float32(height + 1), np.float32(width + 1)
    for i in range(rows):
        for j in range(width):
            for t in range(taps):
                dy, dx, m = offset[i, j, 2 * t], offset[i, j, 2 * t + 1], mask[i, j, t]
                if not (math.isfinite(dy) and math.isfinite(dx)):
                    out[i, j, t, :] = np.nan
                    continue
                down, across = math.floor(dy), math.floor(dx)
                # In the table's own rows and columns, which begin one outside the map. What lies further out
                # than the border is as zero as the border itself.
                y = np.float32(first + i + 1 - k // 2 + t // k) + np.float32(down)
                x = np.float32(j + 1 - k // 2 + t % k) + np.float32(across)
                y0, y1 = np.int64(min(max(y, zero), bottom)), np.int64(min(max(y + one, zero), bottom))
                x0, x1 = np.int64(min(max(x, zero), right)), np.int64(min(max(x + one, zero), right))
                fy, fx = dy - np.float32(down), dx - np.float32(across)
                lower = m * fy
                upper = m - lower
                upper_right, lower_right = upper * fx, lower * fx
                upper_left, lower_left = upper - upper_right, lower - lower_right
                for c in range(channels):
                    out[i, j, t, c] = (
                        upper_left * table[y0, x0, c] + upper_right * table[y0, x1, c]
                        + lower_left * table[y1, x0, c] + lower_right * table[y1, x1, c]
                    )  # fmt: skip
