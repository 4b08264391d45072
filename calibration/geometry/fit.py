"""The map between both cameras from pairs of points: robust least squares in event pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from sync.lens import PixelMap, apply, distort, undistort
from sync.rig import Lens

F64 = NDArray[np.float64]

LensChoice = Literal["none", "brown", "fisheye"]
Shape = Literal["similarity", "affine", "homography"]

INLIER_PX = 3.0
"""A pair further off than this, in event pixels, takes no part in the first, rough fit."""
_HUBER = 2.0  # in robust standard deviations: beyond it a pair's pull no longer grows
_STEPS = 12
_LENS_TERMS = {"none": 0, "brown": 4, "fisheye": 4}
# Prior of a lens's coefficients (standard deviation): keeps them at bay where few points lie far out.
_PRIOR = {"brown": np.array([0.3, 0.3, 0.01, 0.01]), "fisheye": np.array([0.3, 0.1, 0.05, 0.05])}


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Pairs of points with their weights.

    Attributes:
        image, event: (N, 2) float64, pixels of either camera.
        sigma: (N,) float64, expected error in event pixels.
    """

    image: F64
    event: F64
    sigma: F64

    def only(self, keep: NDArray[np.bool_]) -> Pairs:
        """Some of the pairs."""
        return Pairs(self.image[keep], self.event[keep], self.sigma[keep])


@dataclass(frozen=True, slots=True)
class Setting:
    """What is fitted, and what is known beforehand.

    Attributes:
        event_size, image_size: (width, height).
        lens: distortion to estimate: the difference between both lenses, written as the event camera's.
        event_lens, image_lens: known lenses; with a known event lens nothing is estimated.
        shape: how free the homography is: 4, 6 or 8 numbers.
    """

    event_size: tuple[int, int]
    image_size: tuple[int, int]
    lens: LensChoice = "none"
    event_lens: Lens | None = None
    image_lens: Lens | None = None
    shape: Shape = "homography"

    @property
    def terms(self) -> int:
        """Coefficients of distortion that are estimated."""
        return 0 if self.event_lens is not None else _LENS_TERMS[self.lens]


def residuals(pixel_map: PixelMap, pairs: Pairs) -> F64:
    """(N, 2) event pixels: where the map puts the image's points, minus where the event camera saw them."""
    return np.asarray(pixel_map.to_event(pairs.image) - pairs.event, np.float64)


def rough(pairs: Pairs, setting: Setting) -> tuple[F64, NDArray[np.bool_]] | None:
    """A homography undistorted image → undistorted event by MAGSAC++, and which pairs fit it.

    None when nothing fits. OpenCV's samples that turn the plane over are thrown away as impossible for one
    camera; behind a mirror they are the rule, so both hands are tried and the one that explains more is taken.
    """
    image, event = undistort(pairs.image, setting.image_lens), undistort(pairs.event, setting.event_lens)
    best: tuple[F64, NDArray[np.bool_]] | None = None
    for hand in (1.0, -1.0):
        turned = np.diag([hand, 1.0, 1.0])
        found: Any
        found, inliers = cv2.findHomography(
            image * (hand, 1.0), event, cv2.USAC_MAGSAC, INLIER_PX, maxIters=5000, confidence=0.999
        )
        if found is None or not np.isfinite(found).all() or abs(np.linalg.det(found)) < 1e-15:
            continue
        fits = np.asarray(inliers).reshape(-1).astype(np.bool_)
        if best is None or fits.sum() > best[1].sum():
            best = np.asarray(found @ turned, np.float64), fits
    return best


def fit(pairs: Pairs, setting: Setting, start: F64) -> PixelMap | None:
    """Refine from a homography undistorted image → undistorted event; None when it runs away.

    Levenberg-Marquardt on the reprojection into raw event pixels with Huber weights; the scale of the residuals
    is taken anew at every step from their median, so that figures of `sigma` matter only among each other.
    """
    to_unit_i = _unit(setting.image_size)
    to_unit_e = _unit(setting.event_size)
    h0 = to_unit_e @ start @ np.linalg.inv(to_unit_i)
    h0 = h0 / h0[2, 2]
    image = undistort(pairs.image, setting.image_lens)
    terms = setting.terms
    model: Any = setting.lens
    hand = float(np.sign(np.linalg.det(h0[:2, :2])))
    if setting.shape == "similarity":
        # The nearest one: both columns share a length and stand upright on each other.
        a, b = (h0[0, 0] + hand * h0[1, 1]) / 2, (h0[1, 0] - hand * h0[0, 1]) / 2
        first = np.array([a, b, h0[0, 2], h0[1, 2]])
    else:
        first = h0.reshape(-1)[: 6 if setting.shape == "affine" else 8]
    free = len(first)

    def matrix(p: F64) -> F64:
        if free == 4:
            return np.array([[p[0], -hand * p[1], p[2]], [p[1], hand * p[0], p[3]], [0, 0, 1.0]])
        return np.concatenate([p[:free], np.zeros(8 - free), [1.0]]).reshape(3, 3)

    def pixel_map(p: F64) -> PixelMap:
        h = matrix(p)
        event_from_image = np.linalg.inv(to_unit_e) @ h @ to_unit_i
        lens = setting.event_lens
        if terms:
            lens = relative_lens(model, setting.event_size, tuple(float(v) for v in p[free:]))
        m = np.linalg.inv(event_from_image)
        return PixelMap(m / m[2, 2], lens, setting.image_lens)

    def miss(p: F64) -> F64:
        h = matrix(p)
        ideal = apply(image, np.linalg.inv(to_unit_e) @ h @ to_unit_i)
        lens = setting.event_lens
        if terms:
            lens = relative_lens(model, setting.event_size, tuple(float(v) for v in p[free:]))
        return np.asarray((distort(ideal, lens) - pairs.event) / pairs.sigma[:, None], np.float64)

    p = np.concatenate([first, np.zeros(terms)])
    prior = np.concatenate([np.full(free, np.inf), _PRIOR[setting.lens] if terms else np.zeros(0)])
    found = _least_squares(miss, p, prior)
    return None if found is None else pixel_map(found)


def relative_lens(
    model: Literal["brown", "fisheye"], size: tuple[int, int], coefficients: tuple[float, ...]
) -> Lens:
    """A lens with a nominal focal length (the sensor's width) and its axis in the middle of the sensor."""
    w, h = size
    return Lens(
        model=model, focal=(float(w), float(w)), centre=((w - 1) / 2, (h - 1) / 2), coefficients=coefficients,
        relative=True,
    )  # fmt: skip


def _unit(size: tuple[int, int]) -> F64:
    """Pixels → about -1 … 1, so that all eight numbers of a homography are of one size."""
    s = 2.0 / max(size)
    return np.array([[s, 0, -s * (size[0] - 1) / 2], [0, s, -s * (size[1] - 1) / 2], [0, 0, 1]])


def _least_squares(miss: Callable[[F64], F64], p: F64, prior: F64) -> F64 | None:
    damping = 1e-6
    pull = np.divide(1.0, prior**2, out=np.zeros_like(prior), where=np.isfinite(prior))

    def cost(r: F64, scale: float, q: F64) -> float:
        a = np.linalg.norm(r, axis=1) / scale
        huber = np.where(a < _HUBER, 0.5 * a * a, _HUBER * (a - 0.5 * _HUBER))
        return float(huber.sum() + 0.5 * np.sum(pull * q * q))

    r = miss(p)
    for _ in range(_STEPS):
        if not np.isfinite(r).all():
            return None
        size = np.linalg.norm(r, axis=1)
        # Median of a Rayleigh distribution: 1.1774 standard deviations.
        scale = max(float(np.median(size)) / 1.1774, 1e-9)
        weight = np.minimum(1.0, _HUBER * scale / np.maximum(size, 1e-12))
        jacobian = np.empty((2 * len(r), len(p)))
        for k in range(len(p)):
            step = 1e-6
            up, down = p.copy(), p.copy()
            up[k] += step
            down[k] -= step
            jacobian[:, k] = ((miss(up) - miss(down)) / (2 * step)).reshape(-1)
        w = np.repeat(weight, 2) / scale**2
        normal = jacobian.T @ (jacobian * w[:, None]) + np.diag(pull)
        gradient = jacobian.T @ (r.reshape(-1) * w) + pull * p
        before = cost(r, scale, p)
        for _ in range(8):
            try:
                step_p = np.linalg.solve(normal + damping * np.diag(np.diag(normal)), -gradient)
            except np.linalg.LinAlgError:
                return None
            trial = p + step_p
            r_trial = miss(trial)
            if np.isfinite(r_trial).all() and cost(r_trial, scale, trial) <= before:
                damping = max(damping / 10, 1e-9)
                break
            damping *= 10
        else:
            return p
        moved = float(np.abs(step_p).max())
        p, r = trial, r_trial
        if moved < 1e-10:
            break
    return p
