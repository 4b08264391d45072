"""Does a map put events and picture anywhere near each other? The whole field at once, any shift, either hand.

`calibration.field` looks a few pixels around where the map says, cell by cell. A rig file of another rig, one
from before the region of a sensor was moved, or one of the wrong hand lies farther off: there every cell finds
nothing, which looks the same as a scene without edges that tell. Here both pictures of edges are laid on each
other at every shift, as they are and with the events mirrored, and summed over many frames.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

LARGEST = 400
"""Longer side that is looked at, pixels; larger sensors are reduced by a whole number."""
BROAD_PX = 6.0
"""Changes over longer ways are taken out: a band in which much moves is no edge."""
MIN_Z, MIN_DISTINCT = 15.0, 1.5
"""A place counts when it stands out so many standard deviations, and so many times over the next best one.
Right maps: 40 and 2.5 while the camera turns; chance: 11 and 1.2."""
APART_PX = 8


@dataclass(frozen=True, slots=True)
class WholeShift:
    """Where events and picture agree.

    Attributes:
        dx, dy: event pixels; the picture's edges lie so far to the right of, and below, the events'.
        mirrored: only after the events were mirrored left to right.
    """

    dx: float
    dy: float
    mirrored: bool


class WholeField:
    """Adds up frames."""

    def __init__(self) -> None:
        self._sums: list[F64] = []
        self._reduced = 1

    def add(self, drawn: F32, seen: F32) -> None:
        """One frame: (h, w) edges of events and of the picture on the event grid (`inference.alignment`)."""
        self._reduced = k = -(-max(drawn.shape) // LARGEST)
        a, b = _fine(_small(drawn, k)), _fine(_small(seen, k))
        h, w = a.shape
        around = np.fft.rfft2(b, (2 * h, 2 * w))
        both = [
            np.fft.irfft2(np.conj(np.fft.rfft2(x, (2 * h, 2 * w))) * around, (2 * h, 2 * w))
            for x in (a, a[:, ::-1])
        ]
        self._sums = both if not self._sums else [s + x for s, x in zip(self._sums, both, strict=True)]

    def result(self) -> WholeShift | None:
        """The one place where they agree; None where there is none, or several."""
        if not self._sums:
            return None
        mirrored = bool(self._sums[1].max() > self._sums[0].max())
        found = _place(np.fft.fftshift(self._sums[mirrored]))
        if found is None:
            return None
        return WholeShift(found[0] * self._reduced, found[1] * self._reduced, mirrored)


def _small(image: F32, k: int) -> F32:
    if k == 1:
        return image
    size = image.shape[1] // k, image.shape[0] // k
    out: Any = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return np.asarray(out, np.float32)


def _fine(edges: F32) -> F32:
    """Blurred by a pixel, without its broad changes, of length 1."""
    # An edge of great contrast must not speak for the whole scene.
    capped = np.minimum(edges, 4.0 * float(edges.mean()) + 1e-6)
    near: Any = cv2.GaussianBlur(capped, (0, 0), 1.0)
    broad: Any = cv2.GaussianBlur(near, (0, 0), BROAD_PX)
    out = near - broad
    return np.asarray(out / (float(np.linalg.norm(out)) + 1e-9), np.float32)


def _place(surface: F64) -> tuple[float, float] | None:
    h, w = surface.shape
    y, x = divmod(int(surface.argmax()), w)
    best = float(surface[y, x])
    others = surface.copy()
    others[max(0, y - APART_PX) : y + APART_PX + 1, max(0, x - APART_PX) : x + APART_PX + 1] = -np.inf
    if best < MIN_Z * float(surface.std()) or best < MIN_DISTINCT * float(others.max()):
        return None
    return float(x - w // 2), float(y - h // 2)
