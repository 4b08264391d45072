"""The one loop of drawing that OpenCV lacks: a layer with transparency, warped and blended in place."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from capture.compiled import njit

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]


@njit(nogil=True, fastmath=True)
def _blend(
    out: F32, tex: F32, used: NDArray[np.bool_], m: F64, affine: bool, x0: int, y0: int, x1: int, y1: int
) -> None:
    th, tw, channels = tex.shape
    colour = channels == 4
    one = np.float32(1.0)
    for y in range(y0, y1):
        for x in range(x0, x1):
            u = m[0, 0] * x + m[0, 1] * y + m[0, 2]
            v = m[1, 0] * x + m[1, 1] * y + m[1, 2]
            if not affine:
                w = one / (m[2, 0] * x + m[2, 1] * y + m[2, 2])
                u *= w
                v *= w
            # The outermost ring of a layer is empty, so stopping inside it cuts nothing off.
            if not (u >= 0.0 and v >= 0.0 and u < tw - 1 and v < th - 1):
                continue
            iu, iv = int(u), int(v)
            if not used[iv, iu]:
                continue
            fu, fv = np.float32(u - iu), np.float32(v - iv)
            w11 = fu * fv
            w01 = fu - w11
            w10 = fv - w11
            w00 = one - fu - w10
            a, b = tex[iv, iu], tex[iv, iu + 1]
            c, d = tex[iv + 1, iu], tex[iv + 1, iu + 1]
            if colour:
                keep = one - (w00 * a[3] + w01 * b[3] + w10 * c[3] + w11 * d[3])
                o = out[y, x]
                o[0] = keep * o[0] + (w00 * a[0] + w01 * b[0] + w10 * c[0] + w11 * d[0])
                o[1] = keep * o[1] + (w00 * a[1] + w01 * b[1] + w10 * c[1] + w11 * d[1])
                o[2] = keep * o[2] + (w00 * a[2] + w01 * b[2] + w10 * c[2] + w11 * d[2])
            else:
                keep = one - (w00 * a[1] + w01 * b[1] + w10 * c[1] + w11 * d[1])
                out[y, x, 0] = keep * out[y, x, 0] + (w00 * a[0] + w01 * b[0] + w10 * c[0] + w11 * d[0])


def used_cells(layer: F32) -> NDArray[np.bool_]:
    """(h, w) bool: which cells between four neighbouring pixels of a layer hold anything at all."""
    any_ = np.any(layer != 0.0, axis=2)
    cells = any_.copy()
    cells[:-1] |= any_[1:]
    cells[:, :-1] |= any_[:, 1:]
    cells[:-1, :-1] |= any_[1:, 1:]
    return np.asarray(cells, np.bool_)


def blend(out: F32, layer: F32, used: NDArray[np.bool_], image_from_layer: F64) -> None:
    """Draw a layer over a picture, in place, with bilinear sampling.

    Args:
        out: (H, W, C) float32 picture in linear light, C-contiguous; 1 channel or 3 and more.
        layer: (h, w, 4) or, for gray pictures, (h, w, 2) float32, premultiplied, alpha last; alpha 0 with
            colour > 0 adds light. Its outermost ring of pixels must be empty.
        used: `used_cells(layer)`: saves reading where there is nothing.
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
    m = np.linalg.inv(image_from_layer)
    m /= m[2, 2]
    affine = bool(m[2, 0] == 0.0 and m[2, 1] == 0.0)
    call: Any = _blend
    call(out, layer, used, m, affine, x0, y0, x1, y1)
