"""Both cameras on one rectified grid, as the files of MS-RBD have them: the image `scale` times as fine,
exactly.

`recordings.export.grid` cuts a part out of the raw frames, which costs nothing but leaves a part of the field.
Here the picture is resampled as well, so that the whole common field fills a grid of the event sensor's size:
1152×768 over 288×192 for the default rig.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from capture.errors import UsageError
from capture.packets import Events
from recordings.export.grid import MULTIPLE, SharedGrid, places
from sync.lens import PixelMap
from sync.rig import Rig

F64 = NDArray[np.float64]

_SMALLEST = 0.5
"""A field that must be enlarged more than twice is no field worth the name."""
_RIM = 41  # points along a side that are looked at


@dataclass(frozen=True, slots=True, eq=False)
class Rectified:
    """The grid and the way to it.

    Attributes:
        scale: image pixels along an event pixel of the grid, whole.
        width, height: of the picture; both divisible by 16 · scale.
        zoom: raw image pixels along a pixel of the picture: below 1 the picture is enlarged a little.
        left, top: where the picture's upper left pixel centre lies in the raw image.
        shared: the event side (`SharedGrid.events`).
    """

    scale: int
    width: int
    height: int
    zoom: float
    left: float
    top: float
    shared: SharedGrid

    @property
    def image_from_picture(self) -> F64:
        """(3, 3) pixel of the rectified picture → pixel of the raw image."""
        return np.array([[self.zoom, 0, self.left], [0, self.zoom, self.top], [0, 0, 1.0]])

    def picture(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A raw frame, (H, W) or (H, W, 3), on the grid: (height, width[, 3]) uint8."""
        out: Any = cv2.warpPerspective(
            image, self.image_from_picture, (self.width, self.height),
            flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE,
        )  # fmt: skip
        return np.asarray(out, np.uint8)

    def events(self, events: Events) -> Events:
        """The events that fall into the field, on the new grid of (width / scale, height / scale)."""
        return self.shared.events(events)


def rectified(rig: Rig, scale: int | None = None) -> Rectified:
    """The largest upright field that both cameras see, on a grid of the event sensor's size.

    Lenses are followed exactly on the event side; the picture keeps its own lens.

    Args:
        rig: calibrated.
        scale: whole number; None: the one next to the rig's own.

    Raises:
        UsageError: a scale that is none, a sensor below 16 pixels, or hardly any common field.
    """
    s = max(1, round(rig.scale)) if scale is None else scale
    if not 1 <= s <= 64:
        raise UsageError(f"a scale of {s} is out of range; give 1 to 64")
    columns, rows = (n // MULTIPLE * MULTIPLE for n in (rig.events.width, rig.events.height))
    if not columns or not rows:
        raise UsageError(
            f"an event sensor of {rig.events.width}×{rig.events.height} pixels is below {MULTIPLE}"
        )
    width, height = columns * s, rows * s
    pixel_map = PixelMap.of(rig)
    zoom, centre = _largest(pixel_map, rig, width, height)
    if zoom < _SMALLEST:
        raise UsageError(
            f"both cameras share {100 * zoom:.0f} % of the field's width at most; turn the cameras towards "
            "each other, or calibrate the rig"
        )
    left, top = centre[0] - zoom * (width - 1) / 2, centre[1] - zoom * (height - 1) / 2
    y, x = np.mgrid[0 : rig.events.height, 0 : rig.events.width]
    image = pixel_map.to_image(np.stack([x.ravel(), y.ravel()], axis=1).astype(np.float64))
    at = np.floor(((image - (left, top)) / zoom + 0.5) / s).reshape(rig.events.height, rig.events.width, 2)
    shared = SharedGrid(s, 0, 0, width, height, places(at, columns, rows))
    return Rectified(s, width, height, zoom, left, top, shared)


def _largest(pixel_map: PixelMap, rig: Rig, width: int, height: int) -> tuple[float, F64]:
    """Zoom (at most 1.25) and centre of the largest upright rectangle of this shape inside both fields."""
    t = np.linspace(-0.5, 0.5, _RIM)
    half = np.full(_RIM, 0.5)
    rim = np.concatenate([np.stack(p, axis=1) for p in ((t, -half), (t, half), (-half, t), (half, t))])
    rim = rim * (width, height)
    event_size, image_size = (
        np.array([rig.events.width, rig.events.height]),
        np.array([rig.image.width, rig.image.height]),
    )

    def fits(zoom: float, centre: F64) -> bool:
        at = rim * zoom + centre
        if (at < -0.5).any() or (at > image_size - 0.5).any():
            return False
        e = pixel_map.to_event(at)
        with np.errstate(invalid="ignore"):
            return bool(((e >= -0.5) & (e <= event_size - 0.5)).all())

    def largest(centre: F64, least: float) -> float:
        if not fits(least, centre):
            return 0.0
        low, high = least, 1.25
        while high - low > 2e-4:
            middle = (low + high) / 2
            low, high = (middle, high) if fits(middle, centre) else (low, middle)
        return low

    middle = pixel_map.to_image((event_size[None].astype(np.float64) - 1) / 2)[0]
    best, centre = largest(middle, 0.05), middle
    step = 0.15 * width
    # A pattern search: the zoom is concave in the centre, up to the lenses.
    while step > 0.25:
        moved = False
        for d in ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, -1), (1, -1), (-1, 1)):
            trial = centre + step * np.array(d)
            zoom = largest(trial, max(best + 2e-4, 0.05))
            if zoom > best:
                best, centre, moved = zoom, trial, True
        if not moved:
            step /= 2
    return best, centre
