"""Corners of a chessboard to a few hundredths of a pixel, also where a square is only a dozen pixels wide.

Around a corner the picture is b · f(u/s) · f(v/t) + a, with u and v the distances from both edges and f a soft
step. The model is fitted to the pixels themselves, on a cross that follows the edges and spares the markers,
so that every pixel near an edge says where the edge is. Gradients of an enlarged picture (`cornerSubPix`) err
by 0.05 pixels at that size before any noise.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
Bool = NDArray[np.bool_]

_STEPS = 12
_LONGEST_PX = 12.0
"""No further from the corner: the lens may bend the edges, and more pixels tell little more."""
_LEAST_PIXELS = 25


def fit_corners(
    picture: NDArray[np.floating], points: F64, edges: F64, square_px: F64, free: float
) -> tuple[F64, Bool]:
    """Refine corners.

    Args:
        picture: (H, W), any range, brightness about linear in light.
        points: (N, 2) starts, within about half the width of a strip.
        edges: (N, 2, 2): its rows take an offset in pixels to the distances (u, v) from both edges, in pixels.
        square_px: (N,) side of a square at each corner.
        free: width of the strip beside an edge that no marker reaches, as a share of a square.

    Returns:
        (N, 2) corners; (N,) bool: fitted (near its start, with contrast, all of its window in the picture).
    """
    n = len(points)
    if not n:
        return points.copy(), np.zeros(0, np.bool_)
    h, w = picture.shape
    reach = np.minimum(0.45 * square_px, _LONGEST_PX)
    # A pixel and the lens smear the marker's edge towards the strip.
    strip = np.maximum(free * square_px - 0.7, 1.6)
    r = int(np.ceil(reach.max())) + 1
    dy, dx = np.mgrid[-r : r + 1, -r : r + 1]
    base = np.rint(points).astype(np.int64)
    px = base[:, :1] + dx.reshape(1, -1)
    py = base[:, 1:] + dy.reshape(1, -1)
    inside = (px >= 0) & (px < w) & (py >= 0) & (py < h)
    value = picture[np.clip(py, 0, h - 1), np.clip(px, 0, w - 1)].astype(np.float64)
    u, v = _distances(px, py, points, edges)
    near = np.minimum(np.abs(u), np.abs(v)) < strip[:, None]
    mask = (inside & near & (np.abs(u) < reach[:, None]) & (np.abs(v) < reach[:, None])).astype(np.float64)
    ok = mask.sum(axis=1) >= _LEAST_PIXELS
    mask[~ok] = 0.0

    level = np.sum(mask * value, axis=1) / np.maximum(mask.sum(axis=1), 1)
    span = np.sqrt(np.sum(mask * (value - level[:, None]) ** 2, axis=1) / np.maximum(mask.sum(axis=1), 1))
    sign = np.sign(np.sum(mask * (value - level[:, None]) * np.sign(u * v), axis=1))
    # x, y, level, contrast, and the logarithms of both edge widths.
    p = np.column_stack([points, level, sign * np.maximum(span, 1e-9), np.full((n, 2), np.log(1.2))])
    cost = np.full(n, np.inf)
    damping = np.full(n, 1e-3)
    best = p.copy()
    for _ in range(_STEPS):
        u, v = _distances(px, py, p[:, :2], edges)
        su, sv = np.exp(p[:, 4:5]), np.exp(p[:, 5:6])
        fu, fv = np.tanh(u / su), np.tanh(v / sv)
        b = p[:, 3:4]
        miss = mask * (p[:, 2:3] + b * fu * fv - value)
        now = np.sum(miss**2, axis=1)
        better = now < cost
        best[better] = p[better]
        cost = np.where(better, now, cost)
        damping = np.clip(np.where(better, damping * 0.2, damping * 8), 1e-7, 1e6)
        p = best.copy()
        # Derivatives at the best point; where the last step was refused they belong to the refused point, so
        # take them anew there.
        u, v = _distances(px, py, p[:, :2], edges)
        su, sv = np.exp(p[:, 4:5]), np.exp(p[:, 5:6])
        fu, fv = np.tanh(u / su), np.tanh(v / sv)
        b = p[:, 3:4]
        miss = mask * (p[:, 2:3] + b * fu * fv - value)
        gu, gv = (1 - fu**2) / su * fv * b, (1 - fv**2) / sv * fu * b
        jacobian = np.stack(
            [
                -(gu * edges[:, 0, :1] + gv * edges[:, 1, :1]), -(gu * edges[:, 0, 1:] + gv * edges[:, 1, 1:]),
                np.ones_like(u), fu * fv, -gu * u, -gv * v,
            ],
            axis=2,
        ) * mask[..., None]  # fmt: skip
        normal = np.einsum("npi,npj->nij", jacobian, jacobian)
        gradient = np.einsum("npi,np->ni", jacobian, miss)
        diagonal = np.einsum("nii->ni", normal)
        normal = normal + (damping[:, None] * diagonal + 1e-12)[:, :, None] * np.eye(6)
        step = -np.linalg.solve(normal, gradient[..., None])[..., 0]
        step[:, :2] = np.clip(step[:, :2], -1.0, 1.0)
        step[:, 4:] = np.clip(step[:, 4:], -0.5, 0.5)
        p = best + step
        p[:, 4:] = np.clip(p[:, 4:], np.log(0.3), np.log(12.0))
    moved = np.linalg.norm(best[:, :2] - points, axis=1)
    residual = np.sqrt(cost / np.maximum(mask.sum(axis=1), 1))
    ok &= (
        (moved < np.maximum(strip, 2.0))
        & (residual < 0.35 * np.abs(best[:, 3]))
        & np.isfinite(best).all(axis=1)
    )
    return best[:, :2].copy(), np.asarray(ok, np.bool_)


def _distances(px: NDArray[np.int64], py: NDArray[np.int64], points: F64, edges: F64) -> tuple[F64, F64]:
    x, y = px - points[:, :1], py - points[:, 1:]
    return (
        edges[:, 0, :1] * x + edges[:, 0, 1:] * y,
        edges[:, 1, :1] * x + edges[:, 1, 1:] * y,
    )
