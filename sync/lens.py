"""Lenses: raw pixels ↔ undistorted pixels, and the exact map between two cameras that have them.

`sync.rig_map` makes the tables of it that restoring uses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from sync.rig import Lens, Rig

F64 = NDArray[np.float64]

_NEWTON_STEPS = 12


def distort(points: F64, lens: Lens | None) -> F64:
    """Undistorted pixels (N, 2) → raw pixels (N, 2), float64; unchanged without a lens."""
    p = np.asarray(points, np.float64).reshape(-1, 2)
    if lens is None:
        return p.copy()
    focal, centre = np.array(lens.focal), np.array(lens.centre)
    return np.asarray(_bend((p - centre) / focal, lens) * focal + centre, np.float64)


def undistort(points: F64, lens: Lens | None) -> F64:
    """Raw pixels (N, 2) → undistorted pixels (N, 2), float64; the inverse of `distort`, to 1e-6 pixels.

    A raw pixel that no ray reaches (a Brown lens folds far outside its field) gives NaN.
    """
    p = np.asarray(points, np.float64).reshape(-1, 2)
    if lens is None:
        return p.copy()
    focal, centre = np.array(lens.focal), np.array(lens.centre)
    goal = (p - centre) / focal
    x = goal.copy()
    # Fixed-point steps leave the basin at wide angles; Newton with a numerical Jacobian does not.
    step = 1e-6
    right, down = np.array([step, 0.0]), np.array([0.0, step])
    for _ in range(_NEWTON_STEPS):
        miss = _bend(x, lens) - goal
        dx = (_bend(x + right, lens) - _bend(x - right, lens)) / (2 * step)
        dy = (_bend(x + down, lens) - _bend(x - down, lens)) / (2 * step)
        det = dx[:, 0] * dy[:, 1] - dx[:, 1] * dy[:, 0]
        with np.errstate(divide="ignore", invalid="ignore"):
            move = np.stack(
                [
                    (miss[:, 0] * dy[:, 1] - miss[:, 1] * dy[:, 0]) / det,
                    (miss[:, 1] * dx[:, 0] - miss[:, 0] * dx[:, 1]) / det,
                ],
                axis=1,
            )
        x = x - np.clip(move, -0.5, 0.5)
    x[np.abs(_bend(x, lens) - goal).max(axis=1) * focal.max() > 1e-4] = np.nan
    return np.asarray(x * focal + centre, np.float64)


def _bend(x: F64, lens: Lens) -> F64:
    """Where a ray (x, y) = (X/Z, Y/Z) falls, in units of the focal length."""
    c = np.zeros(5)
    c[: len(lens.coefficients)] = lens.coefficients
    r2 = np.sum(x * x, axis=1)
    if lens.model == "fisheye":
        r = np.sqrt(r2)
        theta = np.arctan(r)
        t2 = theta * theta
        bent = theta * (1 + t2 * (c[0] + t2 * (c[1] + t2 * (c[2] + t2 * c[3]))))
        factor = np.divide(bent, r, out=np.ones_like(r), where=r > 1e-12)
        return np.asarray(x * factor[:, None], np.float64)
    k1, k2, p1, p2, k3 = c
    radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
    xy = x[:, 0] * x[:, 1]
    tangential = np.stack(
        [2 * p1 * xy + p2 * (r2 + 2 * x[:, 0] ** 2), p1 * (r2 + 2 * x[:, 1] ** 2) + 2 * p2 * xy], axis=1
    )
    return np.asarray(x * radial[:, None] + tangential, np.float64)


def apply(points: F64, homography: F64) -> F64:
    """Points (N, 2) through a homography, float64 (`sync.geometry.project` gives float32)."""
    p = np.asarray(points, np.float64).reshape(-1, 2)
    q = p @ homography[:, :2].T + homography[:, 2]
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(q[:, :2] / q[:, 2:3], np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class PixelMap:
    """Raw event pixel ↔ raw image pixel, exact: undistort, homography, distort.

    Attributes:
        homography: (3, 3) float64, undistorted event pixel → undistorted image pixel.
        event_lens, image_lens: None for a camera without distortion.
    """

    homography: F64
    event_lens: Lens | None = None
    image_lens: Lens | None = None

    @classmethod
    def of(cls, rig: Rig) -> PixelMap:
        """The map of a rig."""
        rows = rig.geometry.undistorted_image_from_event
        if rows is None:
            return cls(rig.image_from_event)
        return cls(np.array(rows, np.float64), rig.events.lens, rig.image.lens)

    @property
    def plain(self) -> bool:
        """No lens: the homography is the whole map."""
        return self.event_lens is None and self.image_lens is None

    def to_image(self, points: F64) -> F64:
        """Raw event pixels (N, 2) → raw image pixels (N, 2)."""
        return distort(apply(undistort(points, self.event_lens), self.homography), self.image_lens)

    def to_event(self, points: F64) -> F64:
        """Raw image pixels (N, 2) → raw event pixels (N, 2)."""
        back = np.asarray(np.linalg.inv(self.homography), np.float64)
        return distort(apply(undistort(points, self.image_lens), back), self.event_lens)

    def nearest_homography(self, event_size: tuple[int, int], image_size: tuple[int, int]) -> F64:
        """(3, 3): the one homography raw → raw that comes nearest over the common field (least squares)."""
        if self.plain:
            return np.asarray(self.homography / self.homography[2, 2], np.float64)
        e, i = common_field(self, event_size, image_size)
        m: Any = cv2.findHomography(e, i, 0)[0]
        return np.asarray(m, np.float64)


def common_field(
    pixel_map: PixelMap, event_size: tuple[int, int], image_size: tuple[int, int], steps: int = 33
) -> tuple[F64, F64]:
    """A lattice of event pixels (N, 2) that the frame camera sees, and their image pixels (N, 2)."""
    w, h = event_size
    x, y = np.meshgrid(np.linspace(0, w - 1, steps), np.linspace(0, h - 1, max(2, round(steps * h / w))))
    e = np.stack([x.ravel(), y.ravel()], axis=1)
    i = pixel_map.to_image(e)
    with np.errstate(invalid="ignore"):
        inside = (i >= -0.5).all(axis=1) & (i <= np.array(image_size) - 0.5).all(axis=1)
    return e[inside], i[inside]
