"""A made-up exposure to warm up with: everything is compiled and allocated before the first real one."""

from __future__ import annotations

import numpy as np

from capture.packets import Events, Frame, FrameClock, PixelLayout
from sync.exposure import AlignedExposure, Exposure, ExposureSource
from sync.rig import Rig

SIDE = 64  # of a picture on which the CPU warms up, in pixels
LENGTH_US = 10_000


def rehearsal(rig: Rig, size: tuple[int, int] | None, *, gray: bool, least: int = 256) -> AlignedExposure:
    """One exposure with noise for events, the same on every call.

    Args:
        rig: whose sizes and geometry it has.
        size: of the frame, (width, height); None: a corner of the rig, `SIDE` pixels wide and high.
        gray: the frame's layout.
        least: events that it has at least; more on a large sensor.
    """
    width, height = size or (min(SIDE, rig.image.width), min(SIDE, rig.image.height))
    image_entry = rig.image.model_copy(update={"width": width, "height": height})
    event_entry = rig.events
    if size is None:
        fewer = {"width": min(SIDE, event_entry.width), "height": min(SIDE, event_entry.height)}
        event_entry = event_entry.model_copy(update=fewer)
    small = rig.model_copy(update={"image": image_entry, "events": event_entry})
    w, h = event_entry.width, event_entry.height
    rng = np.random.default_rng(0)
    n = max(least, w * h // 4)
    events = Events(
        np.sort(rng.integers(0, LENGTH_US, n)), rng.integers(0, w, n).astype(np.uint16),
        rng.integers(0, h, n).astype(np.uint16), rng.random(n) < 0.5, w, h,
    )  # fmt: skip
    image = np.full((height, width) if gray else (height, width, 3), 128, np.uint8)
    layout = PixelLayout.GRAY if gray else PixelLayout.RGB
    frame = Frame(image, layout, 0, None, None, FrameClock.EVENT)
    exposure = Exposure(0, LENGTH_US, ExposureSource.CHUNK, 0.0)
    return AlignedExposure(frame, exposure, events, 0, LENGTH_US, small, 0)
