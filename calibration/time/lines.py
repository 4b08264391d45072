"""A straight line through points of which some are wild."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]

_TUKEY = 4.685  # 95 % efficient for a Gaussian


@dataclass(frozen=True, slots=True)
class Line:
    """y = mean_y + slope · (x − mean_x).

    Attributes:
        sigma: robust standard deviation of the points around it.
        used: weight of all points together, in points.
        spread: Σ w (x − mean_x)², plus what the prior on the slope stands for.
    """

    mean_x: float
    mean_y: float
    slope: float
    sigma: float
    used: float
    spread: float

    def at(self, x: float | F64) -> F64:
        """y at x."""
        return np.asarray(self.mean_y + self.slope * (np.asarray(x, np.float64) - self.mean_x))

    def half_width(self, x: float) -> float:
        """About 95 %, of the line itself at x."""
        if self.used <= 0:
            return math.inf
        far = (x - self.mean_x) ** 2 / self.spread if self.spread > 0 else 0.0
        return self._wide * self.sigma * math.sqrt(1.0 / self.used + far)

    @property
    def slope_half_width(self) -> float:
        """About 95 %, of the slope."""
        return self._wide * self.sigma / math.sqrt(self.spread) if self.spread > 0 else math.inf

    @property
    def _wide(self) -> float:
        """Half of a 95 % interval in standard deviations: 2 of many points, more of few.

        Student's distribution (1.96 + 2.8/ν comes near it for ν ≥ 3), and a spread that was taken from the
        residuals of a line through the same points, which hides two of them.
        """
        free = max(self.used - 2.0, 1.0)
        return (1.96 + 2.8 / free) * math.sqrt(self.used / free) if self.used > 2.0 else 6.0


def robust_line(
    x: F64, y: F64, *, weights: F64 | None = None, slope_sigma: float = math.inf, floor: float = 1e-9
) -> Line:
    """Tukey's biweight by iterated least squares, begun at the line through the medians of both halves.

    Args:
        x, y: (N,) points, N at least 1.
        weights: (N,) how much each one counts beforehand.
        slope_sigma: what is known of the slope beforehand: 0 within this standard deviation.
        floor: least standard deviation of a point.

    Raises:
        ValueError: no points.
    """
    n = len(x)
    if not n:
        raise ValueError("no points to draw a line through")
    given = np.ones(n) if weights is None else np.asarray(weights, np.float64)
    slope = _start_slope(x, y)
    if math.isfinite(slope_sigma):
        slope = min(max(slope, -3.0 * slope_sigma), 3.0 * slope_sigma)
    mx, my = float(np.median(x)), 0.0
    my = float(np.median(y - slope * (x - mx)))
    sigma, sxx, total = floor, 0.0, float(n)
    for _ in range(30):
        r = y - my - slope * (x - mx)
        sigma = max(1.4826 * float(np.median(np.abs(r - np.median(r)))), floor)
        # A line through two points leaves no residual; the floor then stands for them.
        u = np.clip(np.abs(r) / (_TUKEY * sigma), 0.0, 1.0)
        w = given * (1.0 - u * u) ** 2
        total = float(w.sum())
        if total <= 0:
            w, total = given, float(given.sum())
        mx2, my2 = float(w @ x) / total, float(w @ y) / total
        dx = x - mx2
        prior = 0.0 if math.isinf(slope_sigma) else (sigma / slope_sigma) ** 2
        sxx = float(w @ (dx * dx)) + prior
        slope2 = float(w @ (dx * (y - my2))) / sxx if sxx > 0 else 0.0
        done = (
            abs(slope2 - slope) * (float(np.ptp(x)) + 1e-12) < 1e-3 * sigma
            and abs(my2 + slope2 * (mx - mx2) - my) < 1e-3 * sigma
        )
        mx, my, slope = mx2, my2, slope2
        if done:
            break
    return Line(mx, my, slope, sigma, total, sxx)


def _start_slope(x: F64, y: F64) -> float:
    """From the median of the first half of the points to that of the second."""
    if len(x) < 4:
        return 0.0
    order = np.argsort(x, kind="stable")
    h = len(x) // 2
    a, b = order[:h], order[-h:]
    dx = float(np.median(x[b]) - np.median(x[a]))
    return float(np.median(y[b]) - np.median(y[a])) / dx if dx > 0 else 0.0
