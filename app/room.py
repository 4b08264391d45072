"""How large the rings of a run are: by its cameras' pixels, as far as these are known before they are open."""

from __future__ import annotations

from app.sources import Source
from capture.camera import CameraRole
from capture.registry import open_driver

_HEADER = 4096  # of an item
_SMALL = 64 << 20
"""A ring of small frames is as large as if they had three bytes a pixel: it costs little, and holds more."""


def frame_ring_bytes(source: Source, frames: int) -> int:
    """Of a ring for so many frames; of a recording, and where nobody knows, with three bytes a pixel."""
    most = frames * _bytes_of(source, 3)
    return max(frames * _bytes_of(source, _pixel_bytes(source)), min(most, _SMALL))


def picture_bytes(source: Source) -> int:
    """Of one restored picture in a ring."""
    return _bytes_of(source, 3)


def _bytes_of(source: Source, pixel_bytes: int) -> int:
    return source.rig.image.width * source.rig.image.height * pixel_bytes + _HEADER


def _pixel_bytes(source: Source) -> int:
    plan = next((c for c in source.cameras if CameraRole.FRAMES in c.roles), None)
    if plan is None or not source.live:
        return 3
    try:
        driver, config = open_driver(plan.camera, plan.settings)
        return driver.frame_camera(config).info.pixel_bytes
    except Exception:  # a third party's: whatever it fails over is told by its worker, with its name
        return 3
