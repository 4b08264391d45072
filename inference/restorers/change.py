"""What a network changed on the event grid, added to the full picture in one pass on the CPU.

Where a network works on the event sensor's pixels, only its change is brought back (`NeuralRestorer`): sampled
bilinearly through the rig, added in the picture's own codes, clipped and rounded. As tensors of the full
picture that takes a dozen passes over memory; here it is one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from capture.compiled import njit
from sync.border import REACH


@njit(nogil=True, error_model="numpy")
def _add(
    image: NDArray[np.uint8], change: NDArray[np.float32], m: NDArray[np.float64], out: NDArray[np.uint8]
) -> None:
    """`image`, `out`: (H, W, C); `change`: (h, w, C) codes; `m`: image pixel → event pixel."""
    h, w, channels = change.shape
    half, zero, top = np.float32(0.5), np.float32(0.0), np.float32(255.0)
    reach, right, bottom = np.float32(REACH), np.float32(w - 1), np.float32(h - 1)
    dx, dy, dz = np.float32(m[0, 0]), np.float32(m[1, 0]), np.float32(m[2, 0])
    for v in range(image.shape[0]):
        ax = np.float32(m[0, 1] * v + m[0, 2])
        ay = np.float32(m[1, 1] * v + m[1, 2])
        az = np.float32(m[2, 1] * v + m[2, 2])
        for u in range(image.shape[1]):
            uf = np.float32(u)
            d = dz * uf + az
            z = np.float32(1.0) / d
            x, y = (dx * uf + ax) * z, (dy * uf + ay) * z
            # Behind the horizon (d ≤ 0) and NaN fail the test and leave the picture as it is.
            if not (d > zero and x >= -reach and y >= -reach and x <= right + reach and y <= bottom + reach):
                for c in range(channels):
                    out[v, u, c] = image[v, u, c]
                continue
            x, y = min(max(x, zero), right), min(max(y, zero), bottom)
            xi, yi = np.int32(x), np.int32(y)
            fx, fy = x - np.float32(xi), y - np.float32(yi)
            x0, y0 = np.uint32(xi), np.uint32(yi)
            x1, y1 = np.uint32(min(xi + 1, w - 1)), np.uint32(min(yi + 1, h - 1))
            for c in range(channels):
                a = change[y0, x0, c] + fx * (change[y0, x1, c] - change[y0, x0, c])
                b = change[y1, x0, c] + fx * (change[y1, x1, c] - change[y1, x0, c])
                value = np.float32(image[v, u, c]) + a + fy * (b - a)
                out[v, u, c] = np.uint8(min(max(value, zero), top) + half)


def add_change(
    image: NDArray[np.uint8], change: NDArray[np.float32], event_from_image: NDArray[np.float64]
) -> NDArray[np.uint8]:
    """The picture plus a change that lies on the event grid.

    Args:
        image: (H, W, 3) or (H, W) uint8.
        change: (h, w, 3) or (h, w) float32, finite, in codes (0…255) of the picture.
        event_from_image: (3, 3), image pixel → event pixel, pixel centres at integers; see
            `inference.restorers.edi.event_from_image`.

    Returns:
        uint8, as `image`; unchanged where the event sensor does not see.
    """
    flat = image.ndim == 2
    planes = np.ascontiguousarray(image[..., None] if flat else image)
    moved = np.ascontiguousarray(change[..., None] if flat else change, dtype=np.float32)
    out = np.empty_like(planes)
    _add(planes, moved, np.ascontiguousarray(event_from_image, dtype=np.float64), out)
    return out[..., 0] if flat else out
