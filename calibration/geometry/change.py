"""What changed between two frames, twice: as the frames say and as the events say.

For two exposures, the double integral (`inference.representations.double_integral`) gives on every event pixel

    log B2 - log B1  =  log R1(end of 1) + (events between) - log R2(start of 2),

with B the blurred frames and R the ratio of the light at an instant to the exposure's mean. The left side
comes from the frames alone, the right side from the events alone, and both are exact whatever moves and
however blurred it is.
So the two pictures of change are the same picture, on two grids: what is wanted is the map that lays one on the
other. An edge map against a gradient is the common choice; it throws sign and size away and needs a sharp
frame.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.geometry.collect import TimedFrame
from capture.packets import Events
from inference.representations.double_integral import Contrast
from inference.representations.double_integral_numba import DoubleIntegral
from inference.tone import Tone, to_linear

F64 = NDArray[np.float64]
F32 = NDArray[np.float32]
Bool = NDArray[np.bool_]

LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)
_FLOOR = 0.004
"""Light that stands for black level and dark current in the logarithm."""
_CLIPPED, _BLACK = 250, 3
_LONGEST_US = 500_000
"""Frames further apart than this are not compared: errors of the events add up."""
MAX_PAIRS = 48


@dataclass(frozen=True, slots=True, eq=False)
class Light:
    """A frame as linear luminance, averaged over about an event pixel, on a grid `factor` times coarser.

    Attributes:
        light: (H, W) float32.
        good: (H, W) float32, share of pixels that are neither clipped nor black.
        factor: image pixels along a pixel of it.
    """

    light: F32
    good: F32
    factor: int


@dataclass(frozen=True, slots=True, eq=False)
class Change:
    """Two frames next to each other in time.

    Attributes:
        first, second: their light.
        seen: (h, w) float32, log B2 - log B1 as the events say, on the event grid.
        activity: events per pixel.
        when_us: between the two.
    """

    first: Light
    second: Light
    seen: F32
    activity: float
    when_us: int


def light_of(picture: NDArray[np.uint8], tone: Tone, scale: float) -> Light:
    """A frame's luminance as an event pixel of `scale` image pixels averages it."""
    code = picture if picture.ndim == 2 else picture.max(axis=2)
    low = picture if picture.ndim == 2 else picture.min(axis=2)
    good = ((code < _CLIPPED) & (low >= _BLACK)).astype(np.float32)
    linear = to_linear(tone)[picture]
    light = linear if linear.ndim == 2 else linear @ LUMINANCE
    factor = max(1, int(scale / 2 + 0.25))
    if scale > 1.5:
        # A box as wide as an event pixel, before every `factor`-th pixel is taken.
        rest = scale / factor
        h, w = light.shape[0] // factor * factor, light.shape[1] // factor * factor
        size = (w // factor, h // factor)
        light, good = (
            np.asarray(cv2.resize(a[:h, :w], size, interpolation=cv2.INTER_AREA), np.float32)
            for a in (light, good)
        )
        sigma = max(0.3, 0.29 * float(np.sqrt(max(rest * rest - 1, 0.1))))
        light, good = (np.asarray(cv2.GaussianBlur(a, (0, 0), sigma), np.float32) for a in (light, good))
    return Light(np.ascontiguousarray(light, np.float32), np.ascontiguousarray(good, np.float32), factor)


def changes(
    frames: Sequence[TimedFrame], events: Events, tone: Tone, scale: float, contrast: Contrast,
    most: int = MAX_PAIRS,
) -> list[Change]:  # fmt: skip
    """Pairs of neighbouring frames with what the events say of them, in order of time.

    Args:
        frames: in order of time, exposures on the event clock.
        events: of the whole time.
        tone: of the frames.
        scale: image pixels per event pixel, roughly.
        contrast: thresholds, roughly: a factor on all of them changes nothing.
        most: pairs; the liveliest of each stretch of time are taken.
    """
    if len(frames) < 2 or not len(events):
        return []
    pairs = [
        (a, b) for a, b in itertools.pairwise(frames)
        if a.end_us <= b.start_us and b.end_us - a.start_us <= _LONGEST_US
        and a.start_us >= events.t[0] and b.end_us <= events.t[-1]
    ]  # fmt: skip
    lively = [len(events.between(a.start_us, b.end_us)) for a, b in pairs]
    # The best of each stretch, so that time (and with it the places where things move) is covered evenly.
    chosen = [
        max(part.tolist(), key=lambda k: lively[k])
        for part in np.array_split(np.arange(len(pairs)), min(most, len(pairs)))
        if len(part)
    ] if pairs else []  # fmt: skip
    lights: dict[int, Light] = {}
    out = []
    for k in chosen:
        a, b = pairs[k]
        seen = seen_change(a, b, events, contrast)
        for f in (a, b):
            if id(f) not in lights:
                lights[id(f)] = light_of(f.picture, tone, scale)
        activity = lively[k] / (events.width * events.height)
        out.append(Change(lights[id(a)], lights[id(b)], seen, activity, (a.end_us + b.start_us) // 2))
    return out


def seen_change(a: TimedFrame, b: TimedFrame, events: Events, contrast: Contrast) -> F32:
    """(h, w) float32: log of frame b's light over frame a's, on the event grid, from the events alone."""
    integral = DoubleIntegral()
    first = integral.ratios(events.between(a.start_us, a.end_us), a.start_us, a.end_us, [a.end_us], contrast)[0]
    second = integral.ratios(
        events.between(b.start_us, b.end_us), b.start_us, b.end_us, [b.start_us], contrast
    )[0]
    between = events.between(a.end_us, b.start_us)
    step = np.where(between.p, contrast.on, -contrast.off)
    pixel = between.y.astype(np.int64) * events.width + between.x
    gap = np.bincount(pixel, step, events.width * events.height).reshape(events.height, events.width)
    return np.asarray(np.log(first) + gap - np.log(second), np.float32)


def told_change(
    change: Change, image_from_event: F64, size: tuple[int, int], at: F32 | None = None
) -> tuple[F32, F32]:
    """log B2 - log B1 as the frames say, on the event grid through a map, and how far to trust it.

    Args:
        change: the pair of frames.
        image_from_event: (3, 3).
        size: (width, height) of the event grid.
        at: (h, w, 2) float32 image pixels of every event pixel: used in place of the homography.

    Returns:
        (h, w) float32 change; (h, w) float32 weight 0…1, 0 outside the image.
    """
    f = change.first.factor
    shrink = np.array([[1 / f, 0, (1 / f - 1) / 2], [0, 1 / f, (1 / f - 1) / 2], [0, 0, 1]])
    m = shrink @ image_from_event
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    both: list[F32] = []
    weight = np.ones((size[1], size[0]), np.float32)
    none: Any = None
    where = None if at is None else (at + np.float32(0.5)) / np.float32(f) - np.float32(0.5)

    def warp(a: F32, border: int) -> F32:
        if where is None:
            return np.asarray(cv2.warpPerspective(a, m, size, flags=flags, borderMode=border), np.float32)
        return np.asarray(cv2.remap(a, where, none, cv2.INTER_LINEAR, borderMode=border), np.float32)

    for part in (change.first, change.second):
        light = warp(part.light, cv2.BORDER_REPLICATE) + np.float32(_FLOOR)
        both.append(np.asarray(cv2.log(light), np.float32))
        good = warp(part.good, cv2.BORDER_CONSTANT)
        weight *= (good > 0.7).astype(np.float32)
    return both[1] - both[0], weight
