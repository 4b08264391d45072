"""Pixel values and light: linear or sRGB (IEC 61966-2-1), by exact tables.

A frame's code v (0…255) stands for the light `to_linear(tone)[v]` in 0…1. Back, light is rounded to the code
that is nearest **in the tone's own domain**, exactly, by two small tables instead of a power per pixel.
"""

from __future__ import annotations

from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from capture.compiled import njit

Tone = Literal["linear", "srgb"]

# Bins of the coarse table. The closest two rounding thresholds of sRGB lie 1/(255 · 12.92) = 3.0e-4 apart, so a
# bin of 1/4096 = 2.4e-4 holds one threshold at most, and one comparison settles it.
BINS = 4096


def _decode(v: NDArray[np.float64], tone: Tone) -> NDArray[np.float64]:
    """Tone value 0…1 → light 0…1 (IEC 61966-2-1 for sRGB)."""
    if tone == "linear":
        return v
    return np.where(v <= 0.04045, v / 12.92, ((np.maximum(v, 0.0) + 0.055) / 1.055) ** 2.4)


@cache
def to_linear(tone: Tone) -> NDArray[np.float32]:
    """(256,) float32: the light 0…1 that each code stands for."""
    table = _decode(np.arange(256, dtype=np.float64) / 255.0, tone).astype(np.float32)
    table.flags.writeable = False
    return table


@cache
def encode_tables(tone: Tone) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Tables for light → code.

    Returns:
        coarse: (BINS + 1,) uint8, the code at the lower edge of each bin of width 1/BINS.
        thresholds: (257,) float32, the smallest light that rounds to code k; the last is infinite.
        The code of light x in 0…1 is c + (x >= thresholds[c + 1]) with c = coarse[int(x · BINS)].
    """
    thresholds = np.empty(257, np.float64)
    thresholds[0] = -np.inf
    thresholds[1:256] = _decode((np.arange(1, 256, dtype=np.float64) - 0.5) / 255.0, tone)
    thresholds[256] = np.inf
    fine = thresholds.astype(np.float32)
    edges = (np.arange(BINS + 1, dtype=np.float64) / BINS).astype(np.float32)
    coarse = (np.searchsorted(fine, edges, side="right") - 1).astype(np.uint8)
    fine.flags.writeable = False
    coarse.flags.writeable = False
    return coarse, fine


@njit(nogil=True)
def _encode(
    light: NDArray[np.float32], coarse: NDArray[np.uint8], thresholds: NDArray[np.float32],
    out: NDArray[np.uint8],
) -> None:  # fmt: skip
    for i in range(len(light)):
        v = light[i]
        v = v if v > np.float32(0.0) else np.float32(0.0)  # NaN too ends at black
        v = v if v < np.float32(1.0) else np.float32(1.0)
        c = coarse[int(v * np.float32(BINS))]
        out[i] = c + (v >= thresholds[c + 1])


def encode(light: NDArray[np.floating], tone: Tone) -> NDArray[np.uint8]:
    """Light (any shape, 0…1, clipped) → uint8 codes, rounded to the nearest in the tone's domain."""
    flat = np.ascontiguousarray(light, dtype=np.float32).reshape(-1)
    out = np.empty(flat.shape, np.uint8)
    coarse, thresholds = encode_tables(tone)
    _encode(flat, coarse, thresholds, out)
    return out.reshape(np.shape(light))


def decode(codes: NDArray[np.uint8], tone: Tone) -> NDArray[np.float32]:
    """uint8 codes (any shape) → light 0…1, float32."""
    return np.asarray(to_linear(tone)[codes])
