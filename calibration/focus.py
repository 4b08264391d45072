"""Focus by numbers: how sharp a frame is, how sharp the edges are that events draw, and the best so far.

Both numbers say nothing by themselves: turn the lens, and keep it where the number is largest.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from capture.packets import Events, PixelLayout

EVENTS_A_PIXEL = 0.2
"""Newest events that are looked at, as a share of the sensor's pixels: a fixed number, not a fixed time, so
that focus matters more than the speed of what moves."""
SMOOTH = 0.3
"""Weight of the newest value in what is shown."""


def frame_sharpness(image: NDArray[np.uint8], layout: PixelLayout) -> float:
    """Gradient energy against brightness: mean |∇g|² over mean g², times 1000 (Tenengrad, normalised).

    A longer exposure changes it little; noise raises it, so compare at one gain. Of a Bayer mosaic each 2×2
    block counts as one pixel.

    Args:
        image: (H, W) or (H, W, 3) uint8, at least 6×6.
        layout: what its values mean.

    Raises:
        ValueError: smaller than that.
    """
    if min(image.shape[:2]) < 6:
        raise ValueError(f"sharpness needs at least 6×6 pixels, got {image.shape[1]}×{image.shape[0]}")
    if layout is PixelLayout.RGB:
        gray = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8)
    elif layout is PixelLayout.GRAY:
        gray = image
    else:
        height, width = (n // 2 * 2 for n in image.shape[:2])
        half = (width // 2, height // 2)
        gray = np.asarray(cv2.resize(image[:height, :width], half, interpolation=cv2.INTER_AREA), np.uint8)
    gx = np.asarray(cv2.Sobel(gray, cv2.CV_32F, 1, 0, ksize=1, scale=0.5))
    gy = np.asarray(cv2.Sobel(gray, cv2.CV_32F, 0, 1, ksize=1, scale=0.5))
    energy = float(cv2.mean(cv2.multiply(gx, gx))[0] + cv2.mean(cv2.multiply(gy, gy))[0])
    light = float(cv2.mean(cv2.multiply(gray, gray, dtype=cv2.CV_32F))[0])
    return 1000.0 * energy / max(light, 1.0)


def events_wanted(width: int, height: int) -> int:
    """How many of a sensor's newest events `event_sharpness` looks at."""
    return max(200, round(EVENTS_A_PIXEL * width * height))


def event_sharpness(events: Events) -> float | None:
    """How many more events of its kind an event finds at its own pixel, within the newest few.

    A sharp edge makes a pixel fire several times while it passes; a blurred one spreads the same events over
    many pixels and over time. Noise, which finds none, lowers it. Hot pixels are left out. Something must move.

    Returns:
        100 Σ n (n - 1) / Σ n over pixels and polarities with n events each, of the newest `events_wanted`;
        None while there are fewer.
    """
    pixels = events.width * events.height
    wanted = events_wanted(events.width, events.height)
    if len(events) < wanted:
        return None
    newest = events[len(events) - wanted :]
    index = (newest.y.astype(np.int64) * events.width + newest.x) * 2 + newest.p
    n = np.bincount(index, minlength=2 * pixels)
    # A pixel that fires a hundred times while a fifth of the others fire once is broken.
    n = n[n <= max(20.0, 0.01 * wanted)].astype(np.float64)
    total = float(n.sum())
    return 100.0 * float((n * (n - 1)).sum()) / total if total else 0.0


class PeakHold:
    """A number that is read while a lens is turned: smoothed, against the best so far.

    Attributes:
        value: smoothed, None before the first.
        peak: the best of `value` since `reset`.
    """

    def __init__(self) -> None:
        self.value: float | None = None
        self.peak = 0.0

    def add(self, measured: float | None) -> None:
        """The next one; None (nothing to measure) changes nothing."""
        if measured is None:
            return
        self.value = measured if self.value is None else self.value + SMOOTH * (measured - self.value)
        self.peak = max(self.peak, self.value)

    @property
    def share(self) -> float | None:
        """Of the peak, 0…1."""
        return None if self.value is None else 1.0 if self.peak <= 0 else self.value / self.peak

    def reset(self) -> None:
        """Forget the peak: another scene, another lens."""
        self.value, self.peak = None, 0.0
