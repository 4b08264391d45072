"""The indoor scene: a brick wall with prints, a shelf of books, a pinwheel, a ball that bounces through."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from capture.simulated.motion import CameraMotion, Crossing, Held, Motion, Swinging, Turning
from capture.simulated.scene import Layer, Scene
from capture.simulated.textures import (
    U8,
    Colour,
    bricks,
    cut_out,
    disc_alpha,
    flattened,
    grain,
    linear_from_srgb,
    paper,
    photo,
    shrink,
    siemens_star,
    wood,
    write_centred,
)

F32 = NDArray[np.float32]

WIDTH, HEIGHT = 1760, 1320
"""Size of the wall in fine pixels; a view lies in its middle with room all round for the shake."""

INK: Colour = (34, 36, 44)
RED: Colour = (196, 62, 44)
CLOTH: tuple[Colour, ...] = (
    (150, 42, 38), (38, 70, 104), (222, 202, 160), (44, 84, 66), (198, 132, 44), (92, 62, 96),
    (232, 228, 216), (30, 34, 42), (176, 92, 72), (88, 120, 140), (120, 128, 84), (60, 46, 42),
)  # fmt: skip


def _framed(image: U8, mat: int, frame: int, colour: Colour) -> U8:
    """A print with its mat and its wooden frame."""
    out = cv2.copyMakeBorder(image, mat, mat, mat, mat, cv2.BORDER_CONSTANT, value=(240, 237, 230))
    out = cv2.copyMakeBorder(out, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=(150, 146, 138))
    return np.asarray(
        cv2.copyMakeBorder(out, frame, frame, frame, frame, cv2.BORDER_CONSTANT, value=colour), np.uint8
    )


def _hang(wall: F32, sheet: U8, x: int, y: int, shadow: int = 9) -> None:
    """Hang a print on the wall with its top left corner at (x, y), its soft shadow falling down and right."""
    h, w = sheet.shape[:2]
    pad = 3 * shadow
    shade = np.zeros((h + 2 * pad, w + 2 * pad), np.float32)
    shade[pad : pad + h, pad : pad + w] = 1.0
    shade = np.asarray(cv2.GaussianBlur(shade, (0, 0), shadow), np.float32)
    y0, x0 = y - pad + shadow, x - pad + shadow // 2
    room = wall[max(0, y0) : y0 + h + 2 * pad, max(0, x0) : x0 + w + 2 * pad]
    cut = shade[max(0, -y0) :, max(0, -x0) :][: room.shape[0], : room.shape[1]]
    room *= (1.0 - 0.55 * cut)[..., None]
    wall[y : y + h, x : x + w] = 0.93 * linear_from_srgb(sheet)[: wall.shape[0] - y, : wall.shape[1] - x]


def _poster() -> U8:
    """A reading chart: lines that get smaller, the first thing that blur takes away."""
    sheet = paper(392, 262)
    cv2.rectangle(sheet, (0, 0), (261, 66), RED, -1)
    write_centred(sheet, "HALFMIRROR", 46, 30, (250, 244, 232), 2)
    lines = (
        (" E V E N T S ", 106, 25), ("S E E  W H A T", 144, 20), ("THE SHUTTER", 180, 18),
        ("CANNOT HOLD STILL", 212, 14), ("LIGHT ADDS UP, EDGES MOVE ON", 240, 11),
        ("what was smeared is still there", 264, 9),
    )  # fmt: skip
    for text, y, size in lines:
        write_centred(sheet, text, y, size, INK)
    for i in range(16):
        cv2.rectangle(sheet, (18 + i * 14, 282), (18 + i * 14 + max(1, 7 - i // 3), 318), INK, -1)
    star = siemens_star(58, 12)
    sheet[326:384, 22:80] = star
    for i, c in enumerate(CLOTH[:6]):
        cv2.rectangle(sheet, (92 + i * 26, 332), (92 + i * 26 + 21, 378), c, -1)
    return sheet


def _books(rng: np.random.Generator, wall: F32, x0: int, x1: int, bottom: int) -> None:
    """Books on a shelf, spines outwards."""
    titles = ("LIGHT", "OPTICS", "EVENTS", "MOTION", "PHOTONS", "TIME", "SHUTTER", "SILVER", "GLASS", "EDGES")
    x, k = x0, 0
    while x < x1 - 60:
        w, h = int(rng.integers(24, 50)), int(rng.integers(118, 172))
        spine = np.full((h, w, 3), CLOTH[int(rng.integers(len(CLOTH)))], np.uint8)
        pale: Colour = (236, 214, 150) if spine[0, 0].mean() < 150 else (60, 46, 42)
        for y in (10, 16, h - 22, h - 14):
            cv2.line(spine, (0, y), (w, y), pale, 2 if y in (10, h - 14) else 1)
        label = np.full((w, h - 44, 3), spine[h // 2, w // 2], np.uint8)
        write_centred(label, titles[k % len(titles)], w // 2 + min(7, w // 4), min(15, w * 0.42), pale)
        spine[22 : h - 22] = cv2.rotate(label, cv2.ROTATE_90_CLOCKWISE)
        book = linear_from_srgb(spine)
        # A spine is round: darker to both sides.
        u = np.linspace(-1, 1, w, dtype=np.float32)
        book *= (0.45 + 0.55 * np.sqrt(1 - 0.8 * u * u))[None, :, None]
        book *= np.exp(0.04 * grain(rng, h, w, 4, 2))[..., None]
        wall[bottom - h : bottom, x : x + w] = book
        x += w + (int(rng.integers(0, 3)) if rng.random() < 0.85 else int(rng.integers(14, 40)))
        k += 1


def _light(height: int, width: int) -> F32:
    """Lamp light from the upper left, falling off to the corners: (height, width, 1)."""
    yy, xx = np.mgrid[0:height, 0:width].astype(np.float32)
    d = ((xx - 0.42 * width) / (0.62 * width)) ** 2 + ((yy - 0.36 * height) / (0.72 * height)) ** 2
    return np.asarray(0.42 + 0.66 * np.exp(-0.9 * d), np.float32)[..., None]


@lru_cache(maxsize=1)
def wall(seed: int) -> F32:
    """The background, (HEIGHT, WIDTH, 3) linear light, read-only: views and truth of one rig share it."""
    rng = np.random.default_rng([seed, 1])
    out = bricks(rng, HEIGHT, WIDTH, colour=(186, 172, 156), mortar=(214, 207, 197), spread=0.09)
    cx, cy = WIDTH // 2, HEIGHT // 2
    dark: Colour = (52, 40, 34)
    oak: Colour = (142, 100, 62)
    _hang(out, _framed(photo("coffee", 292), 14, 9, dark), cx - 522, cy - 336)
    _hang(out, _framed(photo("chelsea", 246), 10, 7, oak), cx - 480, cy - 62)
    _hang(out, _poster(), cx - 150, cy - 356)
    _hang(out, _framed(photo("astronaut", 232), 12, 9, oak), cx + 158, cy - 338)
    _hang(out, _framed(photo("rocket", 230), 10, 7, dark), cx + 168, cy - 44)
    _hang(out, _framed(photo("camera", 168), 10, 7, (228, 224, 214)), cx + 452, cy - 300)
    _hang(out, siemens_star(150), cx + 462, cy - 62)
    _hang(out, _framed(photo("hubble", 170), 8, 6, dark), cx - 742, cy - 280)
    _hang(out, _framed(photo("coffee", 150)[:, :150], 8, 6, oak), cx - 720, cy - 30)
    _hang(out, _framed(photo("hubble", 150), 8, 6, dark), cx + 690, cy - 290)
    _hang(out, siemens_star(130, 10, RED), cx + 700, cy - 60)
    top = cy + 334
    _books(rng, out, 30, WIDTH - 30, top)
    board = wood(rng, 34, WIDTH)
    board[:4] *= 1.35
    board[-5:] *= 0.45
    out[top : top + 34] = board
    below = np.linspace(0, 1, 90, dtype=np.float32)[:, None, None]
    out[top + 34 : top + 124] *= 0.35 + 0.65 * below**0.5
    out *= _light(HEIGHT, WIDTH)
    out = np.ascontiguousarray(np.clip(out, 0.004, 1.0), np.float32)
    out.flags.writeable = False
    return out


def ball(radius: int) -> F32:
    """A beach ball, (2r+12)² premultiplied layer; its light comes from the upper left of the ball itself."""
    n = (2 * radius + 12) * 3
    yy, xx = np.mgrid[0:n, 0:n].astype(np.float32) - np.float32((n - 1) / 2)
    r = np.hypot(xx, yy) / (3 * radius)
    wedge = np.floor((np.arctan2(yy, xx) + 0.9 * np.minimum(r, 1) + np.pi) / (np.pi / 3)).astype(int) % 6
    white: Colour = (246, 244, 238)
    wedges = [(226, 64, 48), white, (28, 112, 172), (246, 190, 44), white, (36, 142, 92)]
    colours = linear_from_srgb(np.array([wedges], np.uint8))[0]
    paint = colours[wedge]
    paint[r < 0.16] = linear_from_srgb(np.array([[white]], np.uint8))[0, 0]
    shade = 0.35 + 0.65 * np.sqrt(np.clip(1.0 - np.minimum(r, 1) ** 2, 0, 1))
    return shrink(cut_out(paint * shade[..., None] * np.float32(0.95), disc_alpha(n, 3 * radius)), 3)


def pinwheel(radius: int) -> F32:
    """A paper pinwheel with eight blades."""
    n = (2 * radius + 8) * 3
    half = (n - 1) / 2
    sheet, cover = np.zeros((n, n, 3), np.uint8), np.zeros((n, n), np.uint8)
    for k in range(8):
        a, b = k * np.pi / 4, k * np.pi / 4 + 0.62
        tip = (half + 3 * radius * np.cos(a), half + 3 * radius * np.sin(a))
        back = (half + 2.2 * radius * np.cos(b), half + 2.2 * radius * np.sin(b))
        blade = np.array([(half, half), tip, back], np.float32).round().astype(np.int32)
        colour = ((236, 176, 40), (214, 60, 60), (240, 238, 230), (40, 120, 160))[k % 4]
        cv2.fillConvexPoly(sheet, blade, colour)
        cv2.fillConvexPoly(cover, blade, 255)
        fold = np.array([(half, half), back, ((tip[0] + half) / 2, (tip[1] + half) / 2)], np.float32)
        cv2.fillConvexPoly(sheet, fold.round().astype(np.int32), tuple(int(0.72 * c) for c in colour))
    centre = (int(half), int(half))
    cv2.circle(sheet, centre, 3 * 7, (60, 46, 42), -1)
    cv2.circle(cover, centre, 3 * 7, 255, -1)
    return shrink(cut_out(0.92 * linear_from_srgb(sheet), cover.astype(np.float32) / np.float32(255)), 3)


def lamp() -> F32:
    """A pendant lamp on its cord, to swing about the top of the cord."""
    h, w = 470, 190
    k = 2
    sheet, cover = np.zeros((h * k, w * k, 3), np.uint8), np.zeros((h * k, w * k), np.uint8)
    mid = w * k // 2
    cv2.line(sheet, (mid, 0), (mid, 340 * k), (30, 28, 26), 3 * k)
    cv2.line(cover, (mid, 0), (mid, 340 * k), 255, 3 * k)
    outline = [(mid - 20 * k, 340), (mid + 20 * k, 340), (mid + 84 * k, 430), (mid - 84 * k, 430)]
    shade = np.array([(x, y * k) for x, y in outline])
    cv2.fillConvexPoly(sheet, shade, (34, 78, 74))
    cv2.fillConvexPoly(cover, shade, 255)
    cv2.ellipse(sheet, (mid, 430 * k), (84 * k, 13 * k), 0, 0, 360, (255, 236, 190), -1)
    cv2.ellipse(cover, (mid, 430 * k), (84 * k, 13 * k), 0, 0, 360, 255, -1)
    paint = linear_from_srgb(sheet)
    u = np.linspace(-1, 1, w * k, dtype=np.float32)
    gloss = 0.6 + 1.6 * np.exp(-(((u + 0.25) / 0.16) ** 2))
    rows = slice(340 * k, 420 * k)
    paint[rows] *= gloss[None, :, None]
    return shrink(cut_out(paint, cover.astype(np.float32) / np.float32(255)), k)


def _middle(layer: F32) -> tuple[float, float]:
    return (layer.shape[1] - 1) / 2, (layer.shape[0] - 1) / 2


def studio(
    seed: int, loop_s: float, view: tuple[float, float], *, speed: float, reach: float = 1.0,
    contrast: float = 1.0, veil: float = 0.0, light: float = 1.0,
) -> Scene:  # fmt: skip
    """The whole scene.

    Args:
        seed: of wall and shake.
        loop_s: period of all motion, seconds.
        view: (width, height) in fine pixels.
        speed: of the hand that holds the rig, fine pixels per second.
        reach: factor on the motion of the things that move of themselves; 0 holds them still. The ball crosses
            in a loop's time, be it as small as it may.
        contrast: power that all reflectances are raised to; below 1 the scene is flatter and brighter.
        veil: stray light over everything, as a share of white; lifts the blacks as a hazy lens does.
        light: on everything, 1 = full; the veil stays.
    """
    back = wall(seed)
    cx, cy = WIDTH / 2, HEIGHT / 2
    camera = CameraMotion.hand(np.random.default_rng([seed, 2]), loop_s, (cx, cy), speed=speed, low_hz=1.0)
    disc, wheel, pendant = (flattened(x, contrast, light, veil) for x in (ball(62), pinwheel(84), lamp()))
    back = np.float32(veil) + np.float32(1.0 - veil) * (np.float32(light) * back ** np.float32(contrast))
    turns = max(1, round(0.55 * loop_s * reach)) if reach > 0 else 0
    swings = max(1, round(0.66 * loop_s))
    across: Motion = Crossing(
        (cx - 900, cy + 262), (cx + 900, cy + 262), 0.08 * loop_s, 0.8 * loop_s, loop_s,
        hops=2, hop_height=150 * min(1.0, reach), spin=6.0 * reach,
    )  # fmt: skip
    if reach == 0:
        across = Held(across(0.0))
    layers = (
        Layer(wheel, _middle(wheel), Turning(cx - 336, cy + 152, turns, loop_s), 1.15),
        Layer(
            pendant, (_middle(pendant)[0], 0.0),
            Swinging(cx + 372, cy - 520, 0.10 * reach, swings, loop_s), 1.2,
        ),
        Layer(disc, _middle(disc), across, 1.3),
    )  # fmt: skip
    return Scene(back, layers, camera, view, loop_s)
