"""How far event edges lie from the image's own edges: the residual of a rig's geometry, seen in ordinary
scenes.

While the shutter is open, edges move: they smear the frame along their path, and they leave events all along
it. So the gradient of the blurred frame and the count of the exposure's events lie on each other when the
geometry is right. The shift between them is found by normalised correlation on the event grid, to a fraction
of a pixel. The blurred frame is looked at, not a restored one: what is restored with a wrong geometry has its
edges where the events are, and would say that all is well.

A single measurement says little: edges along the motion give no events, and a pixel's latency moves its events
behind the edge. Over many motions the median says where the calibration stands (`inference.drift`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from capture.packets import Events
from inference.restorers.contrast_learner import light_on_event_grid
from sync.rig import Rig

F32 = NDArray[np.float32]

REACH_PX = 8
"""Shifts of up to so many event pixels are looked for."""
MIN_EVENTS = 300
MIN_QUALITY = 0.15  # correlation below which nothing was recognised


@dataclass(frozen=True, slots=True)
class EdgeShift:
    """Where the image's edges lie as seen from the events' edges.

    Attributes:
        dx, dy: event pixels; the picture's edges lie so far to the right of, and below, the events'.
        quality: normalised correlation at the best place, -1…1.
        nothing_moved: normalised correlation without any shift.
    """

    dx: float
    dy: float
    quality: float
    nothing_moved: float


def event_edges(events: Events) -> F32:
    """(h, w) float32: events of each pixel, capped, so that a hot pixel is one pixel."""
    flat = events.y.astype(np.int64) * events.width + events.x
    count = np.bincount(flat, minlength=events.width * events.height).reshape(events.height, events.width)
    return np.asarray(np.minimum(count, 2), np.float32)


def image_edges(picture: NDArray[np.uint8], rig: Rig) -> F32:
    """(h, w) float32: size of the gradient of log light on the event grid; 0 beyond the picture."""
    light = light_on_event_grid(picture, rig)
    seen = light > 0
    log = np.log(np.maximum(light, 0.01), dtype=np.float32)
    log[~seen] = float(log[seen].mean()) if seen.any() else 0.0
    gx: Any = cv2.Sobel(log, cv2.CV_32F, 1, 0, ksize=3)
    gy: Any = cv2.Sobel(log, cv2.CV_32F, 0, 1, ksize=3)
    size = np.sqrt(gx * gx + gy * gy)
    # The border of what the picture covers is no edge of the scene.
    inner: Any = cv2.erode(seen.astype(np.uint8), np.ones((5, 5), np.uint8), borderValue=1)
    return np.asarray(np.where(inner > 0, size, 0.0), np.float32)


def edge_shift(picture: NDArray[np.uint8], events: Events, rig: Rig) -> EdgeShift | None:
    """Compare a frame with the events of its exposure.

    Args:
        picture: (H, W) or (H, W, 3) uint8, the frame as it came.
        events: of its exposure.
        rig: the geometry that is looked at.

    Returns:
        None where too little moves, or nothing is recognised.
    """
    drawn = event_edges(events)
    if int(drawn.sum()) < MIN_EVENTS:
        return None
    seen = image_edges(picture, rig)
    h, w = seen.shape
    r = min(REACH_PX, h // 6, w // 6)
    a: Any = cv2.GaussianBlur(drawn, (0, 0), 1.0)
    b: Any = cv2.GaussianBlur(np.minimum(seen, 4.0 * float(seen.mean()) + 1e-6), (0, 0), 1.0)
    inner = np.ascontiguousarray(a[r : h - r, r : w - r])
    found: Any = cv2.matchTemplate(b, inner, cv2.TM_CCOEFF_NORMED)
    k = int(found.argmax())
    y, x = divmod(k, found.shape[1])
    best = float(found[y, x])
    if best < MIN_QUALITY or not (0 < x < 2 * r and 0 < y < 2 * r):
        return None
    dx = x - r + _vertex(*(float(v) for v in found[y, x - 1 : x + 2]))
    dy = y - r + _vertex(*(float(v) for v in found[y - 1 : y + 2, x]))
    return EdgeShift(dx, dy, best, float(found[r, r]))


def _vertex(a: float, b: float, c: float) -> float:
    bend = a - 2 * b + c
    return 0.0 if bend >= 0 else max(-0.5, min(0.5, 0.5 * (a - c) / bend))
