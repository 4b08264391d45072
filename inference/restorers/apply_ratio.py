"""Blurred picture times ratio map, in linear light, in one pass: sample, limit, multiply, round.

Where the ratio says little it is limited:

* **clipped** codes (towards 255): the true light is unknown but higher. A ratio above 1 fades to 1 from
  `CLIP_FROM` to `CLIP_FULL`. A ratio below 1 is that of a light `CLIPPED_LIGHT` times the code's, so small
  dips stay white, and where a lamp or a window has moved on the picture is dark. By the brightest channel
  and for all channels alike, so that no coloured fringes are drawn where channels clip one by one.
* **black** codes: quantisation and black level are as large as the value, so brightening multiplies
  noise. A ratio above 1 fades to 1 from `BLACK_FROM` down to `BLACK_FULL`; darkening stays.

A fade is linear in light (1 + w·(ratio − 1)): a blend of the restored and the blurred picture.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from capture.compiled import njit
from inference.tone import BINS, Tone, encode_tables, to_linear
from sync.border import REACH

CLIP_FROM, CLIP_FULL = 244, 254
CLIPPED_LIGHT = 1.15
"""Best of 1…2 on clipped exposures of the synthetic suite: 0.5 to 6 dB over following no ratio."""
SATURATED = 250
BLACK_FROM, BLACK_FULL = 4, 0


@cache
def brightening() -> NDArray[np.float32]:
    """(256,) float32, 0…1 by the brightest channel's code: how far a ratio above 1 is followed."""
    code = np.arange(256, dtype=np.float64)
    w = _below_clipping(code) * np.clip((code - BLACK_FULL) / (BLACK_FROM - BLACK_FULL), 0, 1)
    table = w.astype(np.float32)
    table.flags.writeable = False
    return table


@cache
def overflow() -> NDArray[np.float32]:
    """(256,) float32, 1…`CLIPPED_LIGHT` by the brightest channel's code: its light over the code's own."""
    code = np.arange(256, dtype=np.float64)
    table = (1 + (CLIPPED_LIGHT - 1) * (1 - _below_clipping(code))).astype(np.float32)
    table.flags.writeable = False
    return table


def _below_clipping(code: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.clip((CLIP_FULL - code) / (CLIP_FULL - CLIP_FROM), 0, 1)


# Indices that are unsigned spare numba's test for negative ones, and whole rows in one function (rather than a
# function per pixel) spare passing nine arrays for each: together a factor of three.
@njit(nogil=True)
def _gray_row(
    image: NDArray[np.uint8], ratio: NDArray[np.float32], out: NDArray[np.uint8],
    light: NDArray[np.float32], up: NDArray[np.float32], over: NDArray[np.float32],
    coarse: NDArray[np.uint8], thresholds: NDArray[np.float32],
) -> None:  # fmt: skip
    one, bins = np.float32(1.0), np.float32(BINS)
    for i in range(len(image)):
        b, r = image[i], ratio[i]
        f = one + up[b] * (r - one) if r > one else min(over[b] * r, one)
        v = min(light[b] * f, one)
        k = coarse[np.uint32(np.int32(v * bins))]
        out[i] = k + (v >= thresholds[np.uint32(k) + np.uint32(1)])


@njit(nogil=True)
def _rgb_row(
    image: NDArray[np.uint8], ratio: NDArray[np.float32], out: NDArray[np.uint8],
    light: NDArray[np.float32], up: NDArray[np.float32], over: NDArray[np.float32],
    coarse: NDArray[np.uint8], thresholds: NDArray[np.float32],
) -> None:  # fmt: skip
    one, bins = np.float32(1.0), np.float32(BINS)
    for i in range(len(image)):
        c0, c1, c2, r = image[i, 0], image[i, 1], image[i, 2], ratio[i]
        top = max(c0, max(c1, c2))
        f = one + up[top] * (r - one) if r > one else min(over[top] * r, one)
        v0, v1, v2 = min(light[c0] * f, one), min(light[c1] * f, one), min(light[c2] * f, one)
        k0 = coarse[np.uint32(np.int32(v0 * bins))]
        k1 = coarse[np.uint32(np.int32(v1 * bins))]
        k2 = coarse[np.uint32(np.int32(v2 * bins))]
        out[i, 0] = k0 + (v0 >= thresholds[np.uint32(k0) + np.uint32(1)])
        out[i, 1] = k1 + (v1 >= thresholds[np.uint32(k1) + np.uint32(1)])
        out[i, 2] = k2 + (v2 >= thresholds[np.uint32(k2) + np.uint32(1)])


@njit(nogil=True, error_model="numpy")
def _sample_row(
    ratio: NDArray[np.float32], m: NDArray[np.float64], v: int, row: NDArray[np.float32]
) -> None:  # fmt: skip
    """The ratio at each pixel of image row `v`, bilinear; 1 outside the event sensor (beyond half a pixel).

    `m`: image pixel → pixel of the ratio map.
    """
    h, w = ratio.shape
    one, reach, zero = np.float32(1.0), np.float32(REACH), np.float32(0.0)
    right, bottom = np.float32(w - 1), np.float32(h - 1)
    dx, dy, dz = np.float32(m[0, 0]), np.float32(m[1, 0]), np.float32(m[2, 0])
    ax = np.float32(m[0, 1] * v + m[0, 2])
    ay = np.float32(m[1, 1] * v + m[1, 2])
    az = np.float32(m[2, 1] * v + m[2, 2])
    for u in range(len(row)):
        uf = np.float32(u)
        d = dz * uf + az
        z = one / d
        x, y = (dx * uf + ax) * z, (dy * uf + ay) * z
        # Behind the horizon (d ≤ 0) and NaN fail the test and leave the picture as it is.
        if not (d > zero and x >= -reach and y >= -reach and x <= right + reach and y <= bottom + reach):
            row[u] = one
            continue
        x, y = min(max(x, zero), right), min(max(y, zero), bottom)
        xi, yi = np.int32(x), np.int32(y)
        fx, fy = x - np.float32(xi), y - np.float32(yi)
        x0, y0 = np.uint32(xi), np.uint32(yi)
        x1, y1 = np.uint32(min(xi + 1, w - 1)), np.uint32(min(yi + 1, h - 1))
        a = ratio[y0, x0] + fx * (ratio[y0, x1] - ratio[y0, x0])
        b = ratio[y1, x0] + fx * (ratio[y1, x1] - ratio[y1, x0])
        row[u] = a + fy * (b - a)


@njit(nogil=True)
def _gray(
    image: NDArray[np.uint8], ratio: NDArray[np.float32], m: NDArray[np.float64], same: bool,
    out: NDArray[np.uint8], light: NDArray[np.float32], up: NDArray[np.float32], over: NDArray[np.float32],
    coarse: NDArray[np.uint8], thresholds: NDArray[np.float32],
) -> None:  # fmt: skip
    row = np.empty(image.shape[1], np.float32)
    for v in range(image.shape[0]):
        if same:
            row[:] = ratio[v]
        else:
            _sample_row(ratio, m, v, row)
        _gray_row(image[v], row, out[v], light, up, over, coarse, thresholds)


@njit(nogil=True)
def _rgb(
    image: NDArray[np.uint8], ratio: NDArray[np.float32], m: NDArray[np.float64], same: bool,
    out: NDArray[np.uint8], light: NDArray[np.float32], up: NDArray[np.float32], over: NDArray[np.float32],
    coarse: NDArray[np.uint8], thresholds: NDArray[np.float32],
) -> None:  # fmt: skip
    row = np.empty(image.shape[1], np.float32)
    for v in range(image.shape[0]):
        if same:
            row[:] = ratio[v]
        else:
            _sample_row(ratio, m, v, row)
        _rgb_row(image[v], row, out[v], light, up, over, coarse, thresholds)


@njit(nogil=True)
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
    same = event_from_image is None
    if same and ratio.shape != image.shape[:2]:
        raise ValueError(f"ratio map {ratio.shape} does not fit the picture {image.shape[:2]}")
    m = np.eye(3) if event_from_image is None else np.ascontiguousarray(event_from_image)
    tables = (to_linear(tone), brightening(), overflow(), *encode_tables(tone))
    (_gray if image.ndim == 2 else _rgb)(image, ratio, m, same, out, *tables)
    return out
