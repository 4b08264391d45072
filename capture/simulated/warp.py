"""The one loop of drawing that OpenCV lacks: a layer with transparency, warped and blended in place."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]


@numba.njit(cache=True, nogil=True, fastmath=True)  # type: ignore[untyped-decorator]
def _blend(out: F32, tex: F32, m: F64, x0: int, y0: int, x1: int, y1: int) -> None:
    th, tw, channels = tex.shape
    alpha = channels - 1
    one = np.float32(1.0)
    for y in range(y0, y1):
        for x in range(x0, x1):
            w = m[2, 0] * x + m[2, 1] * y + m[2, 2]
            u = (m[0, 0] * x + m[0, 1] * y + m[0, 2]) / w
            v = (m[1, 0] * x + m[1, 1] * y + m[1, 2]) / w
            # The outermost ring of a layer is empty, so stopping inside it cuts nothing off.
            if not (u >= 0.0 and v >= 0.0 and u < tw - 1 and v < th - 1):
                continue
            iu, iv = int(u), int(v)
            fu, fv = np.float32(u - iu), np.float32(v - iv)
            w11 = fu * fv
            w01 = fu - w11
            w10 = fv - w11
            w00 = one - fu - w10
            a = (
                w00 * tex[iv, iu, alpha] + w01 * tex[iv, iu + 1, alpha]
                + w10 * tex[iv + 1, iu, alpha] + w11 * tex[iv + 1, iu + 1, alpha]
            )  # fmt: skip
            keep = one - a
            for c in range(alpha):
                out[y, x, c] = keep * out[y, x, c] + (
                    w00 * tex[iv, iu, c] + w01 * tex[iv, iu + 1, c]
                    + w10 * tex[iv + 1, iu, c] + w11 * tex[iv + 1, iu + 1, c]
                )  # fmt: skip


def blend(out: F32, layer: F32, image_from_layer: F64) -> None:
    """Draw a layer over a picture, in place, with bilinear sampling.

    Args:
        out: (H, W, C) float32 picture in linear light, C-contiguous.
        layer: (h, w, D) float32, premultiplied, alpha last, D - 1 <= C colour channels; alpha 0 with colour
            > 0 adds light.
        image_from_layer: (3, 3) homography, layer pixel → picture pixel, pixel centres at integers.
    """
    h, w = layer.shape[:2]
    corners = np.array([[0.0, w - 1.0, w - 1.0, 0.0], [0.0, 0.0, h - 1.0, h - 1.0], [1.0, 1.0, 1.0, 1.0]])
    q = image_from_layer @ corners
    x, y = q[0] / q[2], q[1] / q[2]
    height, width = out.shape[:2]
    x0, x1 = max(0, int(np.floor(x.min()))), min(width, int(np.ceil(x.max())) + 1)
    y0, y1 = max(0, int(np.floor(y.min()))), min(height, int(np.ceil(y.max())) + 1)
    if x0 >= x1 or y0 >= y1:
        return
    call: Any = _blend
    call(out, layer, np.linalg.inv(image_from_layer), x0, y0, x1, y1)
