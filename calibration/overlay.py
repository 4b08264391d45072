"""The events of one exposure drawn on its sharp picture, under one rig and under another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.field import Exposed
from inference.restorers.edi import EdiRestorer
from sync.exposure import AlignedExposure, Exposure, ExposureSource
from sync.geometry import events_on_image
from sync.rig import Rig

ON, OFF = (245, 166, 35), (74, 144, 226)
WIDTH = 640
SHARE = 0.06  # of the exposure, around its middle: so that the events draw thin edges


@dataclass(frozen=True, slots=True)
class Overlay:
    """Two pictures as PNG files."""

    before: bytes
    after: bytes
    sequence: int


def overlay(e: Exposed, before: Rig, after: Rig) -> Overlay:
    """Restore the frame with the rig that was measured; draw the events around its middle by both rigs."""
    x = Exposure(e.start_us, max(e.end_us, e.start_us + 1), ExposureSource.TRIGGER, 1.0)
    a = AlignedExposure(e.frame, x, e.events, x.start_us, x.end_us, after, 0)
    sharp = EdiRestorer(after, {}, "cpu").restore([a], [0.5]).images[0]
    gray = sharp if sharp.ndim == 2 else cv2.cvtColor(sharp, cv2.COLOR_RGB2GRAY)
    half = max(1_000, round(SHARE * x.duration_us))
    middle = x.time_at(0.5)
    near = e.events.between(middle - half, middle + half)
    return Overlay(
        _drawn(np.asarray(gray, np.uint8), events_on_image(near, before), near.p),
        _drawn(np.asarray(gray, np.uint8), events_on_image(near, after), near.p), e.frame.sequence,
    )  # fmt: skip


def _drawn(gray: NDArray[np.uint8], at: NDArray[np.float32], on: NDArray[np.bool_]) -> bytes:
    h, w = gray.shape
    scale = min(1.0, WIDTH / w)
    size = (max(1, round(w * scale)), max(1, round(h * scale)))
    small: Any = cv2.resize(gray, size, interpolation=cv2.INTER_AREA)
    picture = np.repeat((small * 0.55).astype(np.uint8)[..., None], 3, axis=2)
    p = np.round((at + 0.5) * scale - 0.5)
    inside = (p >= 0).all(axis=1) & (p[:, 0] < size[0]) & (p[:, 1] < size[1])
    q = p[inside].astype(np.int64)
    # Two pixels wide, or a map of 288 columns is a scatter of dots on one of 640.
    for dx, dy in ((0, 0), (1, 0), (0, 1)):
        x, y = np.minimum(q[:, 0] + dx, size[0] - 1), np.minimum(q[:, 1] + dy, size[1] - 1)
        picture[y, x] = np.where(on[inside][:, None], np.array(ON, np.uint8), np.array(OFF, np.uint8))
    ok, data = cv2.imencode(".png", picture[..., ::-1])
    assert ok
    return bytes(data)
