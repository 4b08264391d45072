"""Views with known truth, made of points alone: no picture is drawn."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from calibration.geometry.views import Source, View
from sync.lens import PixelMap

F64 = NDArray[np.float64]
EVENT, IMAGE = (288, 192), (1152, 768)


def homography(
    *, roll_deg: float = 2.0, scale: float = 4.0, shift: tuple[float, float] = (20.0, -12.0),
    mirrored: bool = True, perspective: float = 2e-5,
) -> F64:  # fmt: skip
    (ew, eh), (iw, ih) = EVENT, IMAGE
    a = np.radians(roll_deg)
    centre = np.array([[1, 0, -(ew - 1) / 2], [0, 1, -(eh - 1) / 2], [0, 0, 1.0]])
    flip = np.diag([-1.0 if mirrored else 1.0, 1, 1])
    turn = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    tilt = np.array([[1.0, 0, 0], [0, 1, 0], [perspective, -perspective, 1]])
    back = np.array([[1, 0, (iw - 1) / 2 + shift[0]], [0, 1, (ih - 1) / 2 + shift[1]], [0, 0, 1.0]])
    m = back @ tilt @ np.diag([scale, scale, 1]) @ turn @ flip @ centre
    return m / m[2, 2]


def board_view(
    pixel_map: PixelMap, centre: tuple[float, float], rng: np.random.Generator, *, noise: float = 0.05,
    size: float = 60.0, source: Source = Source.CHARUCO, shift: tuple[float, float] = (0.0, 0.0),
    name: str = "",
) -> View:  # fmt: skip
    """A board of 6 × 4 points around an event pixel, slightly turned, with noise in event pixels."""
    x, y = np.meshgrid(np.linspace(-1, 1, 6), np.linspace(-0.7, 0.7, 4))
    a = rng.uniform(-0.3, 0.3)
    turn = np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])
    e = np.stack([x.ravel(), y.ravel()], axis=1) * size / 2 @ turn.T + centre
    i = pixel_map.to_image(e + shift)
    inside = ((i >= 0) & (i <= np.array(IMAGE) - 1)).all(axis=1) & ((e >= 0) & (e <= np.array(EVENT) - 1)).all(
        axis=1
    )
    seen = e + rng.normal(0, noise, e.shape)
    return View(i[inside], seen[inside], np.flatnonzero(inside), source=source, name=name)


def everywhere(pixel_map: PixelMap, seed: int = 0, noise: float = 0.05) -> list[View]:
    rng = np.random.default_rng(seed)
    at = [(x, y) for y in (40.0, 96.0, 152.0) for x in (45.0, 144.0, 243.0)]
    return [board_view(pixel_map, p, rng, noise=noise) for p in [*at, (100.0, 70.0), (200.0, 120.0)]]


def error(truth: PixelMap, found: PixelMap) -> tuple[float, float]:
    """RMS over the common field and worst of its points, in event pixels."""
    from sync.lens import common_field

    e, i = common_field(truth, EVENT, IMAGE)
    d = np.linalg.norm(found.to_event(i) - e, axis=1)
    return float(np.sqrt(np.mean(d**2))), float(d.max())
