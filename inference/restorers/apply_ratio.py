"""Blurred picture times ratio map, in linear light, in one pass: sample, limit, multiply, round.

Where the ratio says little it is limited:

* **clipped** codes (towards 255): the true light is unknown but higher, so the ratio, above all one that
  darkens, draws halos and, where channels clip one by one, purple fringes. The ratio fades to 1 from
  `CLIP_FROM` to `CLIP_FULL`, by the brightest channel and for all channels alike.
* **black** codes: quantisation and black level are as large as the value, so brightening multiplies
  noise. A ratio above 1 fades to 1 from `BLACK_FROM` down to `BLACK_FULL`; darkening stays.

The fade is linear in light (1 + w·(ratio − 1)): a blend of the restored and the blurred picture.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numba import njit
from numpy.typing import NDArray

from inference.tone import BINS, Tone, encode_tables, to_linear

CLIP_FROM, CLIP_FULL = 244, 254
SATURATED = 250
BLACK_FROM, BLACK_FULL = 4, 0


@cache
def trust(kind: str) -> NDArray[np.float32]:
    """(256,) float32, 0…1 by the brightest channel's code: how far a ratio is followed.

    Args:
        kind: "brighten" for ratios above 1, "darken" for ratios below.
    """
    code = np.arange(256, dtype=np.float64)
    w = np.clip((CLIP_FULL - code) / (CLIP_FULL - CLIP_FROM), 0, 1)
    if kind == "brighten":
        w = w * np.clip((code - BLACK_FULL) / (BLACK_FROM - BLACK_FULL), 0, 1)
    table = w.astype(np.float32)
    table.flags.writeable = False
    return table


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _pixel(
    image: NDArray[np.uint8], i: int, ratio: np.float32, out: NDArray[np.uint8],
    light: NDArray[np.float32], up: NDArray[np.float32], down: NDArray[np.float32],
    coarse: NDArray[np.uint8], thresholds: NDArray[np.float32],
) -> None:  # fmt: skip
    """One pixel of (pixels, channels) pictures."""
    one = np.float32(1.0)
    channels = image.shape[1]
    if ratio == one:
        for c in range(channels):
            out[i, c] = image[i, c]
        return
    top = image[i, 0]
    for c in range(1, channels):
        top = max(top, image[i, c])
    w = up[top] if ratio > one else down[top]
    r = one + w * (ratio - one)
    for c in range(channels):
        v = min(light[image[i, c]] * r, one)
        k = coarse[int(v * np.float32(BINS))]
        out[i, c] = k + (v >= thresholds[k + 1])


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _same_grid(
    image: NDArray[np.uint8], ratio: NDArray[np.float32], out: NDArray[np.uint8],
    light: NDArray[np.float32], up: NDArray[np.float32], down: NDArray[np.float32],
    coarse: NDArray[np.uint8], thresholds: NDArray[np.float32],
) -> None:  # fmt: skip
    for i in range(image.shape[0]):
        _pixel(image, i, ratio[i], out, light, up, down, coarse, thresholds)


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _through_homography(
    image: NDArray[np.uint8], width: int, ratio: NDArray[np.float32], m: NDArray[np.float64],
    out: NDArray[np.uint8], light: NDArray[np.float32], up: NDArray[np.float32], down: NDArray[np.float32],
    coarse: NDArray[np.uint8], thresholds: NDArray[np.float32],
) -> None:  # fmt: skip
    """`m`: image pixel → event pixel. Outside the event sensor (beyond half a pixel) the picture stays."""
    eh, ew = ratio.shape
    one = np.float32(1.0)
    for v in range(image.shape[0] // width):
        ax, ay, az = m[0, 1] * v + m[0, 2], m[1, 1] * v + m[1, 2], m[2, 1] * v + m[2, 2]
        for u in range(width):
            # Behind the horizon (≤ 0) and NaN fail the test below and leave the picture as it is.
            d = np.float32(m[2, 0] * u + az)
            z = one / d
            x = np.float32(m[0, 0] * u + ax) * z
            y = np.float32(m[1, 0] * u + ay) * z
            r = one
            if d > 0 and x >= -0.5 and y >= -0.5 and x <= ew - 0.5 and y <= eh - 0.5:
                x = min(max(x, np.float32(0.0)), np.float32(ew - 1))
                y = min(max(y, np.float32(0.0)), np.float32(eh - 1))
                x0, y0 = int(x), int(y)
                x1, y1 = min(x0 + 1, ew - 1), min(y0 + 1, eh - 1)
                fx, fy = x - np.float32(x0), y - np.float32(y0)
                a = ratio[y0, x0] + fx * (ratio[y0, x1] - ratio[y0, x0])
                b = ratio[y1, x0] + fx * (ratio[y1, x1] - ratio[y1, x0])
                r = a + fy * (b - a)
            _pixel(image, v * width + u, r, out, light, up, down, coarse, thresholds)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _count_saturated(image: NDArray[np.uint8], limit: int) -> int:
    n = 0
    for i in range(image.shape[0]):
        top = image[i, 0]
        for c in range(1, image.shape[1]):
            top = max(top, image[i, c])
        n += top >= limit
    return n


def saturated_share(image: NDArray[np.uint8]) -> float:
    """Share 0…1 of pixels whose brightest channel is at `SATURATED` or above. (H, W) or (H, W, 3)."""
    flat = image.reshape(image.shape[0] * image.shape[1], -1)
    return float(_count_saturated(flat, SATURATED)) / flat.shape[0]


def apply_ratio(
    image: NDArray[np.uint8],
    ratio: NDArray[np.float32],
    tone: Tone,
    event_from_image: NDArray[np.float64] | None = None,
    out: NDArray[np.uint8] | None = None,
) -> NDArray[np.uint8]:
    """The picture at the ratio's instant.

    Args:
        image: blurred, (H, W) or (H, W, 3) uint8, C-contiguous.
        ratio: (h, w) float32 on the event sensor's pixels, finite, ≥ 0.
        tone: how codes relate to light.
        event_from_image: (3, 3), image pixel → event pixel, pixel centres at integers; the ratio is
            sampled bilinearly through it. None: both share one grid.
        out: where to write, same shape as `image`.

    Returns:
        uint8, same shape as `image`. Exactly `image` where the ratio is 1.
    """
    out = np.empty_like(image) if out is None else out
    h, w = image.shape[:2]
    source, target = image.reshape(h * w, -1), out.reshape(h * w, -1)
    tables = (to_linear(tone), trust("brighten"), trust("darken"), *encode_tables(tone))
    if event_from_image is None:
        if ratio.shape != (h, w):
            raise ValueError(f"ratio map {ratio.shape} does not fit the picture {(h, w)}")
        _same_grid(source, ratio.reshape(-1), target, *tables)
    else:
        _through_homography(source, w, ratio, np.ascontiguousarray(event_from_image), target, *tables)
    return out
