"""What moves: pieces of photos and drawn print as linear light, and the outlines of objects."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from training.synthesis.config import SynthesisConfig
from training.synthesis.draws import chance, even

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]
LoadPhoto = Callable[[int], U8]

_TEXTURED = 28.0  # spread of a piece in grey levels from which on it shows something

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789&%?!#"
_FONTS = (
    cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_TRIPLEX, cv2.FONT_HERSHEY_COMPLEX,
    cv2.FONT_HERSHEY_PLAIN,
)  # fmt: skip
_DECODE = np.where(
    np.arange(256) / 255 <= 0.04045,
    np.arange(256) / 255 / 12.92,
    ((np.arange(256) / 255 + 0.055) / 1.055) ** 2.4,
).astype(np.float32)


def piece(rng: np.random.Generator, config: SynthesisConfig, load: LoadPhoto, photos: int, side: int) -> F32:
    """A square piece of a photo, turned and mirrored by chance, (side, side, 3) linear light 0…1.

    Args:
        load: gives photo `i` as (H, W, 3) uint8 sRGB.
        photos: how many there are.
        side: of the piece, image pixels.
    """
    image = load(int(rng.integers(photos)))
    height, width = image.shape[:2]
    zoom = even(rng, config.zoom)
    # No larger than the photo: an enlarged photo has no edges to restore.
    want = min(max(side / zoom, 16), height, width)
    cut = int(want)
    flat = chance(rng, config.flat_share)
    for _ in range(6):
        y, x = int(rng.integers(height - cut + 1)), int(rng.integers(width - cut + 1))
        part = image[y : y + cut, x : x + cut]
        # Sky and walls teach little; a coarse look at the piece is enough.
        if flat or float(part[:: max(1, cut // 48), :: max(1, cut // 48)].std()) > _TEXTURED:
            break
    how = cv2.INTER_AREA if cut > side else cv2.INTER_CUBIC
    part = np.asarray(cv2.resize(np.ascontiguousarray(part), (side, side), interpolation=how), np.uint8)
    part = np.rot90(part, int(rng.integers(4)))
    if chance(rng, 0.5):
        part = part[:, ::-1]
    light = _DECODE[part]
    return np.ascontiguousarray(light ** np.float32(even(rng, config.contrast)))


def drawn(rng: np.random.Generator, side: int) -> F32:
    """Print, stripes, checks or patches of plain colour, (side, side, 3) linear light 0…1."""
    kind = int(rng.integers(4))
    paper, ink = rng.uniform(0.35, 1.0), rng.uniform(0.0, 0.35)
    if chance(rng, 0.4):
        paper, ink = ink, paper
    tint = np.clip(np.stack([paper, ink])[:, None] + rng.normal(0, 0.12, (2, 3)), 0.01, 1.0)
    fine = 3  # drawn larger and averaged: clean edges
    big = side * fine
    mask = np.zeros((big, big), np.uint8)
    if kind == 0:
        y = 0
        while y < big:
            size = rng.uniform(0.5, 2.6) * fine / 2
            line = int(22 * size + rng.uniform(4, 30))
            text = "".join(rng.choice(list(_LETTERS), int(rng.integers(4, 30))))
            font = int(_FONTS[int(rng.integers(len(_FONTS)))])
            x = int(rng.integers(-big // 4, big // 2))
            cv2.putText(mask, text, (x, y + line), font, size, 255, max(1, round(size * rng.uniform(1, 3))),
                        cv2.LINE_AA)  # fmt: skip
            y += line + int(rng.uniform(4, 20))
    elif kind == 1:
        angle, period = rng.uniform(0, np.pi), rng.uniform(3, 24) * fine
        v, u = np.mgrid[0:big, 0:big].astype(np.float32)
        wave = np.sin((u * np.cos(angle) + v * np.sin(angle)) * (2 * np.pi / period))
        mask = np.where(wave > rng.uniform(-0.6, 0.6), 255, 0).astype(np.uint8)
    elif kind == 2:
        period = max(2, int(rng.uniform(3, 20) * fine))
        v, u = np.mgrid[0:big, 0:big] // period
        mask = np.where((u + v) % 2 == 0, 255, 0).astype(np.uint8)
    else:
        for _ in range(int(rng.integers(3, 14))):
            points = (rng.uniform(0, big, 2) + rng.normal(0, big / 8, (int(rng.integers(3, 7)), 2))).astype(
                np.int32
            )
            cv2.fillPoly(mask, [points], int(rng.integers(60, 256)), cv2.LINE_AA)
    share = cv2.resize(mask, (side, side), interpolation=cv2.INTER_AREA).astype(np.float32)[..., None] / 255
    return np.ascontiguousarray(tint[0] * (1 - share) + tint[1] * share, dtype=np.float32)


def texture(rng: np.random.Generator, config: SynthesisConfig, load: LoadPhoto, photos: int, side: int) -> F32:
    """A piece of a photo or something drawn."""
    if chance(rng, config.drawn_share):
        return drawn(rng, side)
    return piece(rng, config, load, photos, side)


def outline(rng: np.random.Generator, side: int, reach: float) -> F32:
    """An object's opacity, (side, side) 0…1 with an edge of about a pixel, somewhere near the middle.

    Args:
        side: of the layer, image pixels.
        reach: size of the visible part; objects are a fifth to two thirds of it.
    """
    fine = 2
    big = side * fine
    mask = np.zeros((big, big), np.uint8)
    middle = big / 2 + rng.uniform(-0.35, 0.35, 2) * reach * fine
    radius = rng.uniform(0.1, 0.35) * reach * fine
    kind = int(rng.integers(4))
    if kind == 0:
        axes = (max(2, int(radius)), max(2, int(radius * rng.uniform(0.3, 1.0))))
        at = (int(middle[0]), int(middle[1]))
        cv2.ellipse(mask, at, axes, float(rng.uniform(0, 180)), 0, 360, 255, -1, cv2.LINE_AA)
    elif kind == 1:
        n = int(rng.integers(3, 9))
        angle = np.sort(rng.uniform(0, 2 * np.pi, n))
        r = radius * rng.uniform(0.5, 1.2, n)
        points = middle + np.stack([np.cos(angle), np.sin(angle)], axis=1) * r[:, None]
        cv2.fillPoly(mask, [points.astype(np.int32)], 255, cv2.LINE_AA)
    elif kind == 2:  # thin things: poles, wires, fingers
        for _ in range(int(rng.integers(1, 6))):
            a, b = rng.uniform(0, big, 2), rng.uniform(0, big, 2)
            thick = max(1, int(rng.uniform(1, 8) * fine))
            cv2.line(mask, (int(a[0]), int(a[1])), (int(b[0]), int(b[1])), 255, thick, cv2.LINE_AA)
    else:  # a blob
        coarse = rng.standard_normal((9, 9)).astype(np.float32)
        field = cv2.resize(coarse, (big, big), interpolation=cv2.INTER_CUBIC)
        v, u = np.mgrid[0:big, 0:big].astype(np.float32)
        far = np.hypot(u - middle[0], v - middle[1]) / (1.3 * radius)
        mask = np.where(field * 0.5 + 1 - far > 0, 255, 0).astype(np.uint8)
    return cv2.resize(mask, (side, side), interpolation=cv2.INTER_AREA).astype(np.float32) / np.float32(255)


def smooth_field(rng: np.random.Generator, side: int, cells: int) -> F32:
    """A smooth random map, (side, side) float32, values about −1…1."""
    coarse = rng.standard_normal((cells + 2, cells + 2)).astype(np.float32)
    field = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)
    return np.asarray(np.clip(field * 0.6, -1.2, 1.2), np.float32)
