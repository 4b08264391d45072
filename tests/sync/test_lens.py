"""Lenses: against OpenCV's, and back again."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from sync.geometry import scaled_homography
from sync.lens import PixelMap, common_field, distort, undistort
from sync.rig import Lens

BROWN = Lens(focal=(310.0, 305.0), centre=(170.0, 131.0), coefficients=(-0.25, 0.08, 1e-3, -2e-3, 0.01))
FISH = Lens(
    model="fisheye", focal=(210.0, 212.0), centre=(172.0, 128.0), coefficients=(-0.04, 0.01, -0.003, 0.001)
)


def lattice() -> np.ndarray:
    y, x = np.mgrid[0:260:13, 0:346:17]
    return np.stack([x.ravel(), y.ravel()], axis=1).astype(np.float64)


def test_brown_is_opencvs() -> None:
    rays = (lattice() - BROWN.centre) / np.array(BROWN.focal)
    k = np.array([[310.0, 0, 170], [0, 305.0, 131], [0, 0, 1]])
    points = np.column_stack([rays, np.ones(len(rays))])
    theirs, _ = cv2.projectPoints(points, np.zeros(3), np.zeros(3), k, np.array(BROWN.coefficients))
    np.testing.assert_allclose(distort(lattice(), BROWN), theirs.reshape(-1, 2), atol=1e-9)


def test_fisheye_is_opencvs() -> None:
    k = np.array([[210.0, 0, 172], [0, 212.0, 128], [0, 0, 1]])
    rays = ((lattice() - FISH.centre) / np.array(FISH.focal)).reshape(-1, 1, 2)
    theirs = cv2.fisheye.distortPoints(rays, k, np.array(FISH.coefficients))
    np.testing.assert_allclose(distort(lattice(), FISH), theirs.reshape(-1, 2), atol=1e-9)


@pytest.mark.parametrize("lens", [BROWN, FISH, None])
def test_undistort_is_the_inverse(lens: Lens | None) -> None:
    p = lattice()
    np.testing.assert_allclose(undistort(distort(p, lens), lens), p, atol=1e-6)
    if lens is not None:
        assert np.abs(distort(p, lens) - p).max() > 3.0


def test_where_no_ray_falls_there_is_nan() -> None:
    folded = Lens(focal=(100.0, 100.0), centre=(0.0, 0.0), coefficients=(-0.4,))
    assert np.isnan(undistort(np.array([[90.0, 90.0]]), folded)).all()
    assert np.isfinite(undistort(np.array([[30.0, 0.0]]), folded)).all()


def test_map_there_and_back_and_the_nearest_homography() -> None:
    h = scaled_homography(3.3, mirrored=True, event_width=346)
    image = Lens(focal=(1000.0, 1000.0), centre=(570.0, 430.0), coefficients=(0.03,))
    m = PixelMap(h, BROWN, image)
    p = lattice()
    np.testing.assert_allclose(m.to_event(m.to_image(p)), p, atol=1e-4)
    near = PixelMap(m.nearest_homography((346, 260), (1140, 860)))
    e, i = common_field(m, (346, 260), (1140, 860))
    assert 0 < len(e) <= 33 * 25
    far = np.linalg.norm(near.to_event(i) - e, axis=1)
    # Much nearer than the homography between undistorted pixels used on raw ones.
    raw = np.linalg.norm(PixelMap(h).to_event(i) - e, axis=1)
    assert np.sqrt(np.mean(far**2)) < 0.5 * np.sqrt(np.mean(raw**2))
    plain = PixelMap(2 * h)
    np.testing.assert_allclose(plain.nearest_homography((346, 260), (1140, 860)), h)
