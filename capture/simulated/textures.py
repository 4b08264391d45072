"""Textures drawn from formulas, and the few photos that ship with the package; all as linear light.

Pictures are drawn as 8-bit sRGB, as a painter mixes colours, and turned into linear light (reflectance 0…1)
before anything moves: light adds up in linear values only.
"""

from __future__ import annotations

from importlib import resources

import cv2
import numpy as np
from numpy.typing import NDArray

from capture.errors import CameraError

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]
Colour = tuple[int, int, int]

LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)
"""Rec. 709 weights: how bright a gray sensor sees linear RGB."""


def linear_from_srgb(image: NDArray[np.uint8] | F32) -> F32:
    """IEC 61966-2-1 decoding: uint8 0…255 (or float 0…1) → float32 0…1 linear light."""
    v: F32 = np.asarray(image, np.float32)
    if image.dtype == np.uint8:
        v = v / np.float32(255)
    out = np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)
    return out.astype(np.float32)


def srgb_from_linear(light: F32) -> F32:
    """IEC 61966-2-1 encoding: linear light 0…1 → 0…1, clipped."""
    v = np.clip(light, 0.0, 1.0)
    out = np.where(v <= 0.0031308, v * 12.92, 1.055 * np.power(v, 1 / 2.4) - 0.055)
    return out.astype(np.float32)


def photo(name: str, width: int | None = None) -> U8:
    """One of the photos in `photos/`, (H, W, 3) sRGB, scaled to `width` columns.

    Raises:
        CameraError: the file is missing from the installation.
    """
    path = resources.files("capture.simulated") / "photos" / f"{name}.jpg"
    try:
        raw = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as e:
        raise CameraError(f"simulated scene: photo {name}.jpg is missing; reinstall halfmirror ({e})") from e
    bgr = cv2.imdecode(raw, cv2.IMREAD_COLOR)
    if bgr is None:
        raise CameraError(f"simulated scene: photo {name}.jpg is damaged; reinstall halfmirror")
    image = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
    if width is not None and width != image.shape[1]:
        height = round(image.shape[0] * width / image.shape[1])
        how = cv2.INTER_AREA if width < image.shape[1] else cv2.INTER_CUBIC
        image = cv2.resize(image, (width, height), interpolation=how)
    return np.asarray(image, np.uint8)


def grain(rng: np.random.Generator, height: int, width: int, coarse: int, octaves: int = 4) -> F32:
    """Value noise, (height, width) float32 with mean 0 and unit variance; `coarse` pixels per largest cell."""
    out = np.zeros((height, width), np.float32)
    strength = 1.0
    for o in range(octaves):
        cell = max(1, coarse >> o)
        small = rng.standard_normal((height // cell + 3, width // cell + 3)).astype(np.float32)
        big = cv2.resize(small, (small.shape[1] * cell, small.shape[0] * cell), interpolation=cv2.INTER_CUBIC)
        out += strength * big[cell // 2 : cell // 2 + height, cell // 2 : cell // 2 + width]
        strength *= 0.6
    out -= out.mean()
    return np.asarray(out / out.std(), np.float32)


def bricks(
    rng: np.random.Generator, height: int, width: int, *, brick: tuple[int, int] = (92, 36),
    colour: Colour = (176, 160, 140), spread: float = 0.10, mortar: Colour = (206, 198, 186), joint: int = 5,
) -> F32:  # fmt: skip
    """A brick wall, (height, width, 3) linear light; every brick differs in tone and surface."""
    bw, bh = brick
    base = linear_from_srgb(np.array([[colour]], np.uint8))[0, 0]
    wall = np.empty((height, width, 3), np.float32)
    wall[:] = linear_from_srgb(np.array([[mortar]], np.uint8))[0, 0]
    surface = grain(rng, height, width, 8, 3)
    stain = grain(rng, height, width, 220, 3)
    for row in range(height // bh + 1):
        shift = (bw // 2 if row % 2 else 0) + int(rng.integers(-4, 5))
        for x in range(-bw + shift, width + bw, bw):
            tone = float(np.exp(spread * rng.standard_normal()))
            tint = np.exp(0.035 * rng.standard_normal(3)).astype(np.float32)
            jx, jy = (int(v) for v in rng.integers(0, 3, 2))
            x0, x1 = max(0, x + jx), min(width, x + bw - joint + jx)
            y0, y1 = row * bh + jy, min(height, row * bh + bh - joint + jy)
            if x1 > x0 and y1 > y0:
                wall[y0:y1, x0:x1] = base * tint * np.float32(tone)
    # Rounded arrises: a light blur of the drawing before the surface is laid on.
    wall = np.asarray(cv2.GaussianBlur(wall, (0, 0), 0.9), np.float32)
    wall *= np.exp(0.06 * surface + 0.05 * stain)[..., None]
    return wall


def wood(rng: np.random.Generator, height: int, width: int, colour: Colour = (150, 104, 66)) -> F32:
    """A planed board with grain along x, (height, width, 3) linear light."""
    long = grain(rng, height, max(8, width // 24), 6, 3)
    streaks = cv2.resize(long, (width, height), interpolation=cv2.INTER_CUBIC)
    base = linear_from_srgb(np.array([[colour]], np.uint8))[0, 0]
    tone = np.exp(0.16 * streaks + 0.05 * grain(rng, height, width, 4, 2))
    return np.asarray(base * tone[..., None], np.float32)


def paper(height: int, width: int, colour: Colour = (243, 240, 232)) -> U8:
    """A sheet of paper, (height, width, 3) sRGB, to print on."""
    return np.full((height, width, 3), colour, np.uint8)


def write(sheet: U8, text: str, x: int, baseline: int, height: float, colour: Colour, bold: int = 1) -> int:
    """Print a line of text on a sheet; returns its width. `height` is that of the capitals in pixels."""
    scale = height / 21.0
    thick = max(1, round(bold * scale))
    cv2.putText(
        sheet, text, (x, baseline), cv2.FONT_HERSHEY_DUPLEX, scale, colour, thick, cv2.LINE_AA
    )  # fmt: skip
    return int(cv2.getTextSize(text, cv2.FONT_HERSHEY_DUPLEX, scale, thick)[0][0])


def write_centred(sheet: U8, text: str, baseline: int, height: float, colour: Colour, bold: int = 1) -> None:
    """Print a line in the middle of a sheet, made smaller where it would not fit."""
    scale, thick = height / 21.0, max(1, round(bold * height / 21.0))
    width = cv2.getTextSize(text, cv2.FONT_HERSHEY_DUPLEX, scale, thick)[0][0]
    room = sheet.shape[1] * 0.92
    if width > room:
        height *= room / width
        width = int(room)
    write(sheet, text, int(sheet.shape[1] - width) // 2, baseline, height, colour, bold)


def siemens_star(
    size: int, spokes: int = 18, dark: Colour = (28, 30, 36), light: Colour = (243, 240, 232)
) -> U8:
    """A resolution star on paper, (size, size, 3) sRGB, drawn at four times its size and averaged."""
    n = size * 4
    yy, xx = np.mgrid[0:n, 0:n].astype(np.float32) - np.float32((n - 1) / 2)
    r, a = np.hypot(xx, yy), np.arctan2(yy, xx)
    ink = (np.cos(a * spokes) > 0) & (r < 0.46 * n)
    rim = (r > 0.465 * n) & (r < 0.48 * n)
    im = np.where((ink | rim)[..., None], np.array(dark, np.uint8), np.array(light, np.uint8))
    return np.asarray(cv2.resize(im, (size, size), interpolation=cv2.INTER_AREA), np.uint8)


def disc_alpha(size: int, radius: float) -> F32:
    """Coverage of a disc about the middle of a square, (size, size) float32 0…1, edge one pixel soft."""
    yy, xx = np.mgrid[0:size, 0:size].astype(np.float32) - np.float32((size - 1) / 2)
    return np.asarray(np.clip(radius + 0.5 - np.hypot(xx, yy), 0.0, 1.0), np.float32)


def cut_out(colour: F32, alpha: F32) -> F32:
    """Premultiplied layer (h, w, 4) out of linear colour (h, w, 3) and coverage (h, w)."""
    return np.ascontiguousarray(np.dstack([colour * alpha[..., None], alpha]), np.float32)


def flattened(layer: F32, contrast: float, light: float = 1.0, veil: float = 0.0) -> F32:
    """A layer whose own colours are raised to a power, lit and veiled, its coverage kept."""
    alpha = layer[..., 3:]
    colour = layer[..., :3] / np.maximum(alpha, 1e-3)
    colour = np.float32(light) * np.power(np.clip(colour, 0.0, 1.0), contrast)
    return cut_out(np.asarray(veil + (1.0 - veil) * colour, np.float32), alpha[..., 0])


def shrink(picture: F32, factor: int) -> F32:
    """A picture drawn large, averaged down by a whole factor."""
    h, w = picture.shape[0] // factor, picture.shape[1] // factor
    small = cv2.resize(picture[: h * factor, : w * factor], (w, h), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.float32)
