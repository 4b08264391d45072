"""The map of a rig between raw event pixels and raw image pixels, its lenses included.

Everything that samples one camera's grid from the other's goes through tables that are made once for a rig, so
a lens costs nothing while pictures run. What maps row by row through the homography alone (the kernels that
multiply a picture by a ratio) takes a map of the event grid that was **straightened** before: resampled, some
pixels at most, onto a grid on which the homography is exact.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sync.lens import PixelMap
from sync.rig import Lens, Rig

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Rows = tuple[tuple[float, ...], ...]

NOWHERE = -1e4
"""A pixel that no ray of the other camera reaches: far outside of any grid, and finite."""


class RigMap(NamedTuple):
    """Event pixel ↔ image pixel of a rig; a key of caches.

    Attributes:
        rows: (3, 3) raw event pixel → raw image pixel, the nearest homography where lenses bend.
        exact: (3, 3) between undistorted pixels; None: no lens is known, `rows` is the whole map.
        event_lens, image_lens: see `sync.lens.PixelMap`.
    """

    rows: Rows
    exact: Rows | None = None
    event_lens: Lens | None = None
    image_lens: Lens | None = None

    @classmethod
    def of(cls, rig: Rig) -> RigMap:
        """The map of a rig."""
        g = rig.geometry
        if not rig.bent:
            return cls(g.image_from_event)
        return cls(g.image_from_event, g.undistorted_image_from_event, rig.events.lens, rig.image.lens)

    def to_image(self, points: NDArray[np.floating | np.integer]) -> F32:
        """Event pixels (N, 2) → image pixels (N, 2) float32."""
        if self.exact is None:
            return project(points, np.array(self.rows, np.float64))
        return _finite(self._pixel_map().to_image(np.asarray(points, np.float64)))

    def to_event(self, points: NDArray[np.floating | np.integer]) -> F32:
        """Image pixels (N, 2) → event pixels (N, 2) float32."""
        if self.exact is None:
            return project(points, inverse(self.rows))
        return _finite(self._pixel_map().to_event(np.asarray(points, np.float64)))

    def _pixel_map(self) -> PixelMap:
        return PixelMap(np.array(self.exact, np.float64), self.event_lens, self.image_lens)


def project(points: NDArray[np.floating | np.integer], homography: F64) -> F32:
    """Points (N, 2) as (x, y) through a 3×3 homography → (N, 2) float32.

    Computed in float64. Points on the plane's horizon give infinite coordinates.
    """
    p = np.asarray(points, dtype=np.float64)
    if p.ndim != 2 or p.shape[1] != 2:
        raise ValueError(f"points must have the shape (N, 2), got {p.shape}")
    if not len(p):
        return np.empty((0, 2), np.float32)
    q = p @ homography[:, :2].T + homography[:, 2]
    with np.errstate(divide="ignore", invalid="ignore"):
        return (q[:, :2] / q[:, 2:3]).astype(np.float32)


@lru_cache(maxsize=8)
def inverse(m: Rows) -> F64:
    """(3, 3) float64, read-only: the inverse of a homography, its last entry 1 where that can be."""
    inv: F64 = np.linalg.inv(np.array(m, dtype=np.float64))
    inv = inv / inv[2, 2] if abs(inv[2, 2]) > 1e-12 else inv
    inv.flags.writeable = False
    return inv


def straight_table(rig: Rig, finer: int = 1) -> F32 | None:
    """Where to sample a map of the event grid, so that `rig.image_from_event` is exact on what comes out.

    Args:
        rig: geometry and lenses.
        finer: the map that comes out is so many times finer, edge to edge.

    Returns:
        (h · finer, w · finer, 2) float32 as `cv2.remap` takes it, read-only and cached: raw event pixels
        (x, y); None where no lens bends.
    """
    if not rig.bent:
        return None
    return _straight_table(RigMap.of(rig), rig.events.width, rig.events.height, finer)


@lru_cache(maxsize=4)
def _straight_table(m: RigMap, width: int, height: int, finer: int) -> F32:
    table = m.to_event(project(lattice(width, height, finer), np.array(m.rows, np.float64)))
    return kept(table.reshape(height * finer, width * finer, 2))


def lattice(width: int, height: int, finer: int = 1) -> F64:
    """(N, 2) float64, row by row: pixel centres of a grid; with `finer`, of one so many times finer over it."""
    y, x = np.mgrid[0 : height * finer, 0 : width * finer]
    at = np.stack([x.ravel(), y.ravel()], axis=1).astype(np.float64)
    return (at - (finer - 1) / 2) / finer


def _finite(points: F64) -> F32:
    return np.nan_to_num(points, nan=NOWHERE, posinf=NOWHERE, neginf=NOWHERE).astype(np.float32)


def kept(table: F32) -> F32:
    """The same array, from now on read-only, as a cache gives it out."""
    table.flags.writeable = False
    return table
