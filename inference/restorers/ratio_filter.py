"""Cleans a ratio map: hot pixels filled from their neighbours, threshold noise smoothed, coarse maps refined.

A pixel's log ratio is known only to about one contrast threshold c: where within a step the light stood at the
exposure's start is not in the events, thresholds spread from pixel to pixel, and noise adds events. So the log
ratio is smoothed by a small bilateral filter whose range is tied to c: differences of a step are noise, larger
ones are edges and stay. Where pictures and events share one grid it gains 1.4 dB on the simulated DAVIS, with
noise and without. Where an event pixel covers several image pixels, every event pixel's detail counts and a
much weaker filter is all that does no harm.

There, too, the map is refined twofold by cubic interpolation of the log ratio, before the picture samples it
bilinearly: 0.3 dB on the simulated 4:1 rig against bilinear sampling of the coarse map.

A hot pixel fires whatever the light does. It is told by its count, many times its neighbours', and takes
their median.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from capture.compiled import njit
from capture.packets import Events
from inference.representations.double_integral import Contrast

DIAMETER = 5
# (range in thresholds, sigma in pixels) of the bilateral filter
ONE_GRID = (1.5, 0.7)
FINER_IMAGE = (0.75, 0.5)
FINER_FROM = 1.5  # image pixels per event pixel
REFINE = 2
LOG_LIMIT = 12.0  # no picture of 8 bits asks for more; wild values would coarsen the filter's table
HOT_LEAST = 20  # events in one exposure
HOT_TIMES = 5  # times the mean of the eight neighbours; below 8, so that two side by side are both found


@njit(nogil=True)
def _count(x: NDArray[np.uint16], y: NDArray[np.uint16], counts: NDArray[np.int32]) -> None:
    h, w = counts.shape
    for i in range(len(x)):
        if x[i] < w and y[i] < h:
            counts[y[i], x[i]] += 1


@njit(nogil=True)
def _find_hot(counts: NDArray[np.int32], least: int, times: int, hot: NDArray[np.bool_]) -> int:
    h, w = counts.shape
    found = 0
    for y in range(h):
        for x in range(w):
            c = counts[y, x]
            if c < least:
                continue
            total, n = 0, 0
            for v in range(max(0, y - 1), min(h, y + 2)):
                for u in range(max(0, x - 1), min(w, x + 2)):
                    if v == y and u == x:
                        continue
                    total += counts[v, u]
                    n += 1
            if c * n > times * max(total, n):
                hot[y, x] = True
                found += 1
    return found


def hot_pixels(events: Events) -> NDArray[np.bool_]:
    """(height, width) bool: pixels that fire many times more often than all around them."""
    counts = np.zeros((events.height, events.width), np.int32)
    hot = np.zeros(counts.shape, np.bool_)
    _count(events.x, events.y, counts)
    _find_hot(counts, HOT_LEAST, HOT_TIMES, hot)
    return hot


def fill(ratio: NDArray[np.float32], hot: NDArray[np.bool_]) -> None:
    """Give each hot pixel, in place, the median of its neighbours that are not hot (1 when there is none)."""
    h, w = ratio.shape
    for y, x in zip(*np.nonzero(hot), strict=True):
        box = np.s_[max(0, y - 1) : min(h, y + 2), max(0, x - 1) : min(w, x + 2)]
        good = ratio[box][~hot[box]]
        ratio[y, x] = np.median(good) if len(good) else 1.0


def refinement(scale: float) -> int:
    """How many times finer `clean` makes the map, for a rig of this scale (image pixels per event pixel)."""
    return REFINE if scale > FINER_FROM else 1


def clean(
    ratio: NDArray[np.float32],
    contrast: Contrast,
    scale: float,
    smooth: bool = True,
    straight: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """The ratio map as the picture samples it: smoothed, and refined where the image is finer than the events.

    Args:
        ratio: (h, w) float32, positive.
        contrast: the thresholds that the map was made with.
        scale: image pixels per event pixel.
        smooth: False leaves the noise in.
        straight: `sync.rig_map.straight_table` of the rig, n times finer; None: no lens bends.

    Returns:
        (h · n, w · n) float32 with n = `refinement(scale)`, fine pixel centres at n·x + (n - 1)/2. Exactly 1
        stays where all around is 1.
    """
    n = refinement(scale)
    if not smooth and n == 1 and straight is None:
        return ratio
    log = np.log(ratio)
    np.clip(log, -LOG_LIMIT, LOG_LIMIT, out=log)
    if smooth:
        steps, sigma = FINER_IMAGE if scale > FINER_FROM else ONE_GRID
        reach = steps * 0.5 * (contrast.on + contrast.off)
        log = np.asarray(cv2.bilateralFilter(log, DIAMETER, reach, sigma, borderType=cv2.BORDER_REPLICATE))
    log = finer(log, n, straight)
    return np.asarray(np.exp(log, out=log), dtype=np.float32)


def finer(
    values: NDArray[np.float32], n: int, straight: NDArray[np.float32] | None = None,
    out: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:  # fmt: skip
    """A map (h, w) of the event grid made n times finer, (h · n, w · n), cubically, edge to edge.

    Args:
        values: float32.
        n: 1 leaves it as it is, unless a lens bends.
        straight: `sync.rig_map.straight_table` of the rig, n times finer; None: no lens bends.
        out: where to write it.
    """
    if straight is not None:
        return resampled(values, straight, out)
    if n == 1:
        return values
    h, w = values.shape
    size, way = (w * n, h * n), cv2.INTER_CUBIC
    return np.asarray(cv2.resize(values, size, dst=out, interpolation=way), np.float32)


def resampled(
    values: NDArray[np.float32], table: NDArray[np.float32], out: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """A map (h, w) at the places (x, y) of a table (h', w', 2), cubically; its border goes on outside."""
    way, border = cv2.INTER_CUBIC, cv2.BORDER_REPLICATE
    made = cv2.remap(values, table, None, way, dst=out, borderMode=border)  # type: ignore[call-overload]
    return np.asarray(made, np.float32)
