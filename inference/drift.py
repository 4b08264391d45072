"""Has the rig moved since it was calibrated? A slow watch over ordinary scenes; it only warns."""

from __future__ import annotations

import math
import time
from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capture.packets import Events
from inference.alignment import edge_shift
from sync.rig import Rig

EVERY_S = 1.0
COST_SHARE = 0.015
"""Of a core, at most: a measurement that takes longer makes the pauses longer."""
KEPT, ENOUGH = 40, 12
LIMIT_PX = 1.0
LIMIT_US, LIMIT_TIMES = 50.0, 5.0
"""Edges may scatter by so much, or so many times more than when the rig was calibrated."""


@dataclass(frozen=True, slots=True)
class Drift:
    """How the rig stands, slowly measured.

    Attributes:
        dx, dy: median shift between picture and events, event pixels.
        sigma_px: of those medians.
        samples: how many measurements are behind it; below `ENOUGH` nothing is concluded.
        residual_us: of trigger edges around the clock; 0 without.
        warning: one line when the rig seems to have moved, "" when not.
    """

    dx: float = 0.0
    dy: float = 0.0
    sigma_px: float = math.inf
    samples: int = 0
    residual_us: float = 0.0
    warning: str = ""

    @property
    def shift_px(self) -> float:
        """Length of the shift."""
        return math.hypot(self.dx, self.dy)

    def to_message(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "dx": self.dx, "dy": self.dy, "sigma_px": self.sigma_px if math.isfinite(self.sigma_px) else None,
            "samples": self.samples, "residual_us": self.residual_us, "warning": self.warning,
        }  # fmt: skip


class AlignmentWatch:
    """Measures now and then, and warns; it never changes anything. For one thread.

    Args:
        rig: with the figures of its calibration.
        every_s: from measurement to measurement, at least.
    """

    def __init__(self, rig: Rig, *, every_s: float = EVERY_S) -> None:
        self._rig, self._every_s = rig, every_s
        self._shifts: deque[tuple[float, float]] = deque(maxlen=KEPT)
        self._next = 0.0
        self.cost_s = 0.0
        stated = rig.geometry.residual_px or 0.0
        self._limit_px = max(LIMIT_PX, 3.0 * stated)
        self._limit_us = max(LIMIT_US, LIMIT_TIMES * (rig.clock.residual_us or 0.0))

    def due(self, now: float) -> bool:
        """It is time for the next one (`time.monotonic`)."""
        return now >= self._next

    def measure(self, picture: NDArray[np.uint8], events: Events) -> None:
        """One measurement, some ten milliseconds: a frame as it came, and the events of its exposure."""
        began = time.monotonic()
        cpu = time.thread_time()
        found = edge_shift(picture, events, self._rig)
        cost = time.thread_time() - cpu
        self.cost_s += cost
        self._next = began + max(self._every_s, cost / COST_SHARE)
        if found is not None:
            self._shifts.append((found.dx, found.dy))

    def drift(self, residual_us: float = 0.0) -> Drift:
        """What is known now; `residual_us` is the clock fit's own."""
        n = len(self._shifts)
        if not n:
            return Drift(residual_us=residual_us, warning=self._clock_warning(residual_us))
        points = np.array(self._shifts)
        dx, dy = (float(v) for v in np.median(points, axis=0))
        spread = 1.4826 * float(np.median(np.hypot(points[:, 0] - dx, points[:, 1] - dy)))
        sigma = 1.25 * spread / math.sqrt(n)
        warning = self._clock_warning(residual_us)
        if n >= ENOUGH and math.hypot(dx, dy) > self._limit_px + 2.0 * sigma:
            what = "is not calibrated: calibrate it" if self._rig.assumed else "has moved; calibrate it again"
            warning = (
                f"events and picture lie {math.hypot(dx, dy):.1f} event pixels apart ({dx:+.1f}, {dy:+.1f}): "
                f"the rig {what}"
            )
        return Drift(dx, dy, sigma, n, residual_us, warning)

    def _clock_warning(self, residual_us: float) -> str:
        if residual_us <= self._limit_us:
            return ""
        return (
            f"trigger edges scatter by {residual_us:.0f} µs, {self._limit_us:.0f} are allowed: look at the wire"
        )
