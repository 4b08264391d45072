"""Event pixels ↔ image pixels through the rig: coordinates, maps, images.

Convention everywhere (as `sync.rig.Geometry`): pixel **centres** lie at integers, so the top left pixel covers
[-0.5, 0.5) in both axes. On this convention an image `scale` times as large as the event grid, covering the
same view, is `x_image = scale * x_event + (scale - 1) / 2`, not `scale * x_event`. OpenCV's warps take matrices
of the same convention.

What depends on the geometry alone (projected grids, masks) is cached. The warps are not: OpenCV's own is as
fast as one from stored tables, and exact.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from capture.packets import Events
from sync.border import REACH
from sync.rig import CameraEntry, Rig
from sync.rig_map import RigMap, inverse, kept, lattice, project

__all__ = [
    "event_grid", "events_on_image", "image_grid", "image_to_event_grid", "inside_events", "inside_image",
    "project", "scaled_homography", "to_event", "to_image", "warp_event_map_to_image",
]  # fmt: skip

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

Interpolation = Literal["linear", "nearest", "cubic"]
_FLAGS: dict[str, int] = {
    "linear": cv2.INTER_LINEAR,
    "nearest": cv2.INTER_NEAREST,
    "cubic": cv2.INTER_CUBIC,
}


def scaled_homography(scale: float, *, mirrored: bool = False, event_width: int = 0) -> F64:
    """(3, 3) event pixel → image pixel for two grids that cover the same view, one `scale` times as fine.

    With `mirrored`, the image is flipped left to right, which needs the event sensor's width.
    """
    shift = (scale - 1) / 2
    m: F64 = np.array([[scale, 0, shift], [0, scale, shift], [0, 0, 1]], dtype=np.float64)
    if mirrored:
        if event_width < 1:
            raise ValueError("a mirrored homography needs the event sensor's width")
        m = m @ np.array([[-1.0, 0, event_width - 1], [0, 1, 0], [0, 0, 1]])
    return m


def event_from_image(rig: Rig) -> F64:
    """(3, 3) float64, image pixel → event pixel; the third coordinate is positive in mid-picture."""
    m: F64 = np.linalg.inv(rig.image_from_event).astype(np.float64)
    centre = np.array([(rig.image.width - 1) / 2, (rig.image.height - 1) / 2, 1.0])
    return m if float(m[2] @ centre) > 0 else -m


def to_image(points: NDArray[np.floating | np.integer], rig: Rig) -> F32:
    """Event pixels (N, 2) → image pixels (N, 2) float32; unchanged where both share one grid."""
    if rig.identity:
        return np.array(points, dtype=np.float32).reshape(-1, 2)
    return RigMap.of(rig).to_image(points)


def to_event(points: NDArray[np.floating | np.integer], rig: Rig) -> F32:
    """Image pixels (N, 2) → event pixels (N, 2) float32; the inverse of `to_image`."""
    if rig.identity:
        return np.array(points, dtype=np.float32).reshape(-1, 2)
    return RigMap.of(rig).to_event(points)


def events_on_image(events: Events, rig: Rig) -> F32:
    """(N, 2) float32 image coordinates of events, some outside of the image.

    Every event pixel is projected once (cached), so the cost per event is one look-up.
    """
    if rig.identity:
        return np.stack([events.x, events.y], axis=1).astype(np.float32)
    return image_grid(rig)[events.y, events.x]


def image_grid(rig: Rig) -> F32:
    """(H, W, 2) float32, read-only: image coordinates of every event pixel. Cached per geometry."""
    return _image_grid(RigMap.of(rig), *_size(rig.events))


def event_grid(rig: Rig) -> F32:
    """(H, W, 2) float32, read-only: event coordinates of every image pixel. Cached per geometry."""
    return _event_grid(RigMap.of(rig), *_size(rig.image))


def inside_events(rig: Rig) -> NDArray[np.bool_]:
    """(H, W) bool, read-only: image pixels whose centre the event sensor sees. Cached per geometry."""
    return _inside(RigMap.of(rig), _size(rig.image), _size(rig.events), True)


def covered_share(rig: Rig) -> float:
    """Share of the image's pixels whose centre the event sensor sees, 0…1. Cached per geometry."""
    return 1.0 if rig.identity else _covered_share(RigMap.of(rig), _size(rig.image), _size(rig.events))


def inside_image(rig: Rig) -> NDArray[np.bool_]:
    """(H, W) bool, read-only: event pixels whose centre the frame camera sees. Cached per geometry."""
    return _inside(RigMap.of(rig), _size(rig.events), _size(rig.image), False)


def warp_event_map_to_image(
    values: NDArray[np.floating | np.uint8],
    rig: Rig,
    *,
    interpolation: Interpolation = "linear",
    outside: float = 0.0,
) -> NDArray[np.floating | np.uint8]:
    """A map on the event grid, (H, W) or (H, W, C), sampled at every image pixel.

    Values are sampled, not spread: a brightness or a log intensity keeps its value. Within the outermost half
    event pixel the border's value holds. The dtype is kept (float32, float64, uint8).

    Args:
        values: on the event sensor's grid.
        rig: geometry.
        interpolation: how between event pixels.
        outside: value where the event sensor sees nothing.

    Raises:
        ValueError: the map is not of the event sensor's size.
    """
    _check_grid(values, (rig.events.height, rig.events.width), "event")
    if rig.identity:
        return values.copy()
    if rig.bent:
        out = _remap(values, event_grid(rig), _FLAGS[interpolation])
    else:
        out = _warp(values, rig.image_from_event, _size(rig.image), _FLAGS[interpolation])
    seen = inside_events(rig)
    if not seen.all():
        out[~seen] = outside
    return out


def image_to_event_grid(
    image: NDArray[np.floating | np.uint8], rig: Rig, *, outside: float = 0.0
) -> NDArray[np.floating | np.uint8]:
    """An image, (H, W) or (H, W, C), on the event grid; the mean over each event pixel where it is coarser.

    Where an event pixel covers several image pixels (`rig.scale` > 1), the picture is sampled on a grid that
    many times finer than the events' and averaged over blocks, so nothing is aliased. The dtype is kept.

    Args:
        image: of the frame camera's size.
        rig: geometry.
        outside: value where the frame camera sees nothing.
    """
    _check_grid(image, (rig.image.height, rig.image.width), "image")
    if rig.identity:
        return image.copy()
    n = max(1, math.ceil(rig.scale - 1e-6))
    w, h = rig.events.width, rig.events.height
    # Fine grid: n × n samples inside of every event pixel, itself with centres at integers.
    if rig.bent:
        out = _remap(image, _fine_grid(RigMap.of(rig), w, h, n), cv2.INTER_LINEAR)
    else:
        fine_from_image = scaled_homography(n) @ inverse(rig.geometry.image_from_event)
        out = _warp(image, fine_from_image, (w * n, h * n), cv2.INTER_LINEAR)
    if n > 1:
        shape = (h, w, *image.shape[2:])
        mean: Any = cv2.resize(out, (w, h), interpolation=cv2.INTER_AREA)
        out = mean.reshape(shape)
    seen = inside_image(rig)
    if not seen.all():
        out[~seen] = outside
    return out


def _check_grid(a: NDArray[np.floating | np.uint8], size: tuple[int, int], name: str) -> None:
    if a.ndim not in (2, 3) or a.shape[:2] != size:
        raise ValueError(f"expected a map on the {name} grid {size[1]}×{size[0]}, got shape {a.shape}")


def _warp(
    a: NDArray[np.floating | np.uint8], m: F64, size: tuple[int, int], flags: int
) -> NDArray[np.floating | np.uint8]:
    if a.ndim == 3 and a.shape[2] > 4:  # OpenCV takes four channels at a time
        return np.stack([_warp(a[..., c], m, size, flags) for c in range(a.shape[2])], axis=2)
    warped: Any = cv2.warpPerspective(a, m, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    out: NDArray[np.floating | np.uint8] = warped.reshape((size[1], size[0], *a.shape[2:]))
    return out


def _remap(a: NDArray[np.floating | np.uint8], table: F32, flags: int) -> NDArray[np.floating | np.uint8]:
    """As `_warp`, by a table of places (x, y) in `a`."""
    if a.ndim == 3 and a.shape[2] > 4:
        return np.stack([_remap(a[..., c], table, flags) for c in range(a.shape[2])], axis=2)
    moved: Any = cv2.remap(a, table, None, flags, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[call-overload]
    out: NDArray[np.floating | np.uint8] = moved.reshape((*table.shape[:2], *a.shape[2:]))
    return out


def _size(camera: CameraEntry) -> tuple[int, int]:
    return camera.width, camera.height


@lru_cache(maxsize=8)
def _inside(m: RigMap, size: tuple[int, int], of: tuple[int, int], to_event: bool) -> NDArray[np.bool_]:
    """Pixels of a grid of `size` that the map takes into the other camera's, of size `of`."""
    g = _event_grid(m, *size) if to_event else _image_grid(m, *size)
    x, y = g[..., 0], g[..., 1]
    inside: NDArray[np.bool_] = (x >= -REACH) & (x <= of[0] - 1 + REACH)
    inside &= (y >= -REACH) & (y <= of[1] - 1 + REACH)
    inside.flags.writeable = False
    return inside


@lru_cache(maxsize=8)
def _covered_share(m: RigMap, size: tuple[int, int], of: tuple[int, int]) -> float:
    return float(np.mean(_inside(m, size, of, True)))


@lru_cache(maxsize=8)
def _image_grid(m: RigMap, width: int, height: int) -> F32:
    return kept(m.to_image(lattice(width, height)).reshape(height, width, 2))


@lru_cache(maxsize=8)
def _event_grid(m: RigMap, width: int, height: int) -> F32:
    return kept(m.to_event(lattice(width, height)).reshape(height, width, 2))


@lru_cache(maxsize=4)
def _fine_grid(m: RigMap, width: int, height: int, finer: int) -> F32:
    """Image pixels under a grid `finer` times as fine as the events'."""
    return kept(m.to_image(lattice(width, height, finer)).reshape(height * finer, width * finer, 2))
