"""Events and frames brought to one view whose grids differ by a whole number, as MS-RBD's files have them.

The frames stay as they are but for a crop: a part that the event sensor sees wholly, its sides multiples of 16
event pixels. Events go through the rig's homography, which undoes the mirror, to the event pixel whose block of
`scale` × `scale` image pixels they fall into.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from capture.errors import UsageError
from capture.packets import Events
from sync.geometry import image_grid, inside_events
from sync.rig import Rig

# Event maps are halved four times by the networks that read these files.
MULTIPLE = 16
MAX_SCALE = 64


@dataclass(frozen=True, slots=True, eq=False)
class SharedGrid:
    """The part of the image that is kept, and where every event pixel goes.

    Attributes:
        scale: image pixels along an event pixel.
        left, top, width, height: the part of the image, in image pixels.
        place: (h, w) int32, for each pixel of the sensor its index `y * columns + x` on the new grid, or -1.
    """

    scale: int
    left: int
    top: int
    width: int
    height: int
    place: NDArray[np.int32]

    @property
    def columns(self) -> int:
        """Width of the new event grid."""
        return self.width // self.scale

    @property
    def rows(self) -> int:
        """Height of the new event grid."""
        return self.height // self.scale

    def events(self, e: Events) -> Events:
        """The events that fall into the part, on the new grid."""
        index = self.place[e.y, e.x]
        seen = index >= 0
        index = index[seen]
        x, y = (index % self.columns).astype(np.uint16), (index // self.columns).astype(np.uint16)
        return Events(e.t[seen], x, y, e.p[seen], self.columns, self.rows)

    def picture(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The part of an image, (H, W) or (H, W, 3)."""
        return image[self.top : self.top + self.height, self.left : self.left + self.width]


def shared_grid(rig: Rig, scale: int | None = None) -> SharedGrid:
    """The grid of a rig; `scale` None: the whole number next to the rig's own.

    Raises:
        UsageError: a scale that is none, or no part of the image is seen that is large enough.
    """
    s = max(1, round(rig.scale)) if scale is None else scale
    if not 1 <= s <= MAX_SCALE:
        raise UsageError(f"a scale of {s} is out of range; give 1 to {MAX_SCALE}")
    step = s * MULTIPLE
    left, top, right, bottom = _seen(inside_events(rig))
    width, height = (right - left) // step * step, (bottom - top) // step * step
    if not width or not height:
        raise UsageError(
            f"both cameras share {right - left}×{bottom - top} image pixels; at scale {s} at least "
            f"{step}×{step} are needed: give a smaller --scale, or calibrate the rig"
        )
    # The middle of what is seen: an optic is best there.
    left, top = left + (right - left - width) // 2, top + (bottom - top - height) // 2
    at = np.floor((image_grid(rig).astype(np.float64) + 0.5 - (left, top)) / s)
    return SharedGrid(s, left, top, width, height, places(at, width // s, height // s))


def places(at: NDArray[np.floating], columns: int, rows: int) -> NDArray[np.int32]:
    """Cells of a grid, as `SharedGrid.place` has them.

    Args:
        at: (h, w, 2) for each pixel of the sensor its column and row on the new grid, whole numbers; NaN:
            nowhere.
        columns, rows: of the new grid.
    """
    x, y = at[..., 0], at[..., 1]
    with np.errstate(invalid="ignore"):
        inside = (x >= 0) & (x < columns) & (y >= 0) & (y < rows)
        return np.where(inside, y * columns + x, -1).astype(np.int32)


def _seen(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """A rectangle (left, top, right, bottom) within the mask: its worst side is moved in until all is seen."""
    left, top, right, bottom = 0, 0, mask.shape[1], mask.shape[0]
    while left < right and top < bottom:
        part = mask[top:bottom, left:right]
        if part.all():
            break
        lacks = [1 - float(v.mean()) for v in (part[:, 0], part[:, -1], part[0], part[-1])]
        worst = int(np.argmax(lacks))
        if lacks[worst] == 0:  # a hole within
            left, top, right, bottom = left + 1, top + 1, right - 1, bottom - 1
            continue
        left, right = left + (worst == 0), right - (worst == 1)
        top, bottom = top + (worst == 2), bottom - (worst == 3)
    return left, top, max(left, right), max(top, bottom)
