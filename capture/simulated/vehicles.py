"""Vehicles seen from the side, drawn large and averaged down, with wheels and lamps as parts of their own."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from capture.simulated.textures import (
    U8,
    Colour,
    cut_out,
    disc_alpha,
    linear_from_srgb,
    photo,
    shrink,
    write,
    write_centred,
)

F32 = NDArray[np.float32]

LARGE, SHRINK = 3, 2
"""Drawn pixels per unit of the drawings below, and drawn pixels per pixel of the finished layer."""

UNIT = LARGE / SHRINK
"""Pixels of the finished layer per unit."""

GLASS: Colour = (62, 78, 92)
TYRE: Colour = (26, 26, 28)


@dataclass(frozen=True, slots=True, eq=False)
class Vehicle:
    """A vehicle and where its parts sit, in units from the bottom middle of its body.

    Attributes:
        body: (h, w, 4) premultiplied layer without wheels.
        wheel: (d, d, 4) layer of one wheel.
        radius: of a wheel.
        wheels: x of the axles.
        axle: y of the axles.
        front: (x, y) of the headlamp.
        rear: (x, y) of the tail lamp.
    """

    body: F32
    wheel: F32
    radius: float
    wheels: tuple[float, ...]
    axle: float
    front: tuple[float, float]
    rear: tuple[float, float]


def _wheel(radius: int, hub: Colour) -> F32:
    n = (2 * radius + 6) * LARGE
    sheet = np.zeros((n, n, 3), np.uint8)
    c, r = n // 2, radius * LARGE
    cv2.circle(sheet, (c, c), r, TYRE, -1, cv2.LINE_AA)
    cv2.circle(sheet, (c, c), int(0.62 * r), hub, -1, cv2.LINE_AA)
    for k in range(5):
        a = 2 * np.pi * k / 5
        p = (int(c + 0.42 * r * np.cos(a)), int(c + 0.42 * r * np.sin(a)))
        cv2.circle(sheet, p, int(0.13 * r), (58, 58, 62), -1, cv2.LINE_AA)
    cv2.circle(sheet, (c, c), int(0.12 * r), (90, 90, 94), -1, cv2.LINE_AA)
    return shrink(cut_out(linear_from_srgb(sheet), disc_alpha(n, r)), SHRINK)


def _shade(height: int) -> F32:
    """Sky light from above, road's dark from below: (height, 1, 1)."""
    v = np.linspace(0, 1, height, dtype=np.float32)
    return np.asarray(1.06 - 0.42 * v**1.5, np.float32)[:, None, None]


class _Drawing:
    """A body in the making: paint and coverage, right is forward until `face` turns it."""

    def __init__(self, width: int, height: int) -> None:
        self.w, self.h = width, height
        self.paint = np.zeros((height * LARGE, width * LARGE, 3), np.uint8)
        self.cover = np.zeros((height * LARGE, width * LARGE), np.uint8)

    def shape(self, points: list[tuple[float, float]], colour: Colour, *, solid: bool = False) -> None:
        """A polygon; `solid` makes it part of the outline."""
        p = np.array([(x * LARGE, y * LARGE) for x, y in points]).round().astype(np.int32)
        cv2.fillPoly(self.paint, [p], colour, cv2.LINE_AA)
        if solid:
            cv2.fillPoly(self.cover, [p], 255, cv2.LINE_AA)

    def box(self, x: float, y: float, w: float, h: float, colour: Colour, *, solid: bool = False) -> None:
        """A rectangle."""
        self.shape([(x, y), (x + w, y), (x + w, y + h), (x, y + h)], colour, solid=solid)

    def arch(self, x: float, y: float, radius: float) -> None:
        """A wheel arch: dark, part of the body."""
        centre = (round(x * LARGE), round(y * LARGE))
        cv2.circle(self.paint, centre, round(radius * LARGE), (18, 18, 20), -1, cv2.LINE_AA)

    def face(self, forward: int) -> None:
        """Turn it to the left (-1) or leave it (+1); lettering comes after."""
        if forward < 0:
            self.paint = np.ascontiguousarray(self.paint[:, ::-1])
            self.cover = np.ascontiguousarray(self.cover[:, ::-1])

    def sheet(self, x: float, y: float, w: float, h: float) -> U8:
        """A part of the paint, to print on."""
        return self.paint[int(y * LARGE) : int((y + h) * LARGE), int(x * LARGE) : int((x + w) * LARGE)]

    def layer(self) -> F32:
        """The finished body."""
        paint = linear_from_srgb(self.paint) * _shade(self.h * LARGE)
        alpha = np.asarray(self.cover, np.float32) / np.float32(255)
        return shrink(cut_out(np.asarray(paint, np.float32), alpha), SHRINK)


def car(colour: Colour, forward: int, *, sign: str = "") -> Vehicle:
    """A car, 236 × 84; with a sign it is a taxi."""
    w, h, r = 236, 84, 21
    d = _Drawing(w, h)
    dark: Colour = (int(0.6 * colour[0]), int(0.6 * colour[1]), int(0.6 * colour[2]))
    d.shape(
        [(4, 46), (14, 37), (58, 33), (88, 10), (150, 9), (184, 33), (224, 41), (232, 52), (231, 70), (4, 70)],
        colour, solid=True,
    )  # fmt: skip
    d.shape([(68, 34), (92, 15), (117, 14), (117, 34)], GLASS)
    d.shape([(122, 34), (122, 14), (147, 14), (174, 34)], GLASS)
    d.shape([(76, 32), (94, 17), (100, 17), (84, 32)], (122, 142, 156))
    d.box(118, 36, 2, 32, dark)
    d.box(6, 60, 224, 4, dark)
    d.box(98, 42, 12, 3, dark)
    d.box(156, 42, 12, 3, dark)
    d.shape([(222, 44), (231, 50), (231, 56), (220, 52)], (248, 244, 220))
    d.box(4, 48, 8, 9, (190, 30, 26))
    for x in (54, 188):
        d.arch(x, 70, r + 4)
    d.face(forward)
    if sign:
        d.box(106, 2, 32, 9, (246, 240, 214), solid=True)
        write_centred(d.sheet(106, 2, 32, 9), sign, 23, 17, (30, 30, 34), 2)
    s = forward
    return Vehicle(
        d.layer(), _wheel(r, (176, 178, 182)), r, (s * (54 - w / 2), s * (188 - w / 2)), 70 - h,
        (s * (229 - w / 2), 50 - h), (s * (6 - w / 2), 52 - h),
    )  # fmt: skip


def bus(colour: Colour, forward: int, line: str, advert: str) -> Vehicle:
    """A city bus, 474 × 182, with its line number and an advertisement."""
    w, h, r = 474, 182, 26
    d = _Drawing(w, h)
    d.shape(
        [(4, 14), (12, 6), (452, 6), (466, 20), (470, 92), (470, 158), (4, 158)], colour, solid=True
    )  # fmt: skip
    d.box(4, 140, 466, 4, (40, 42, 46))
    d.box(4, 96, 466, 3, (244, 240, 230))
    for k in range(6):
        d.box(20 + 64 * k, 26, 56, 56, GLASS)
        d.shape([(24 + 64 * k, 80), (44 + 64 * k, 28), (56 + 64 * k, 28), (36 + 64 * k, 80)], (104, 124, 138))
    d.box(408, 26, 26, 128, (48, 60, 70))
    d.box(420, 26, 2, 128, colour)
    d.shape([(442, 26), (460, 26), (467, 92), (442, 92)], GLASS)
    d.box(458, 122, 12, 12, (250, 246, 224))
    d.box(4, 118, 7, 20, (186, 28, 24))
    for x in (96, 376):
        d.arch(x, 156, r + 5)
    d.face(forward)
    x0 = 140 if forward > 0 else w - 140 - 200
    picture = cv2.resize(photo(advert), (62 * LARGE, 38 * LARGE), interpolation=cv2.INTER_AREA)
    panel = d.sheet(x0, 100, 200, 38)
    panel[:] = (244, 240, 230)
    panel[:, : 62 * LARGE] = picture
    rest = panel[:, 64 * LARGE :]
    write_centred(rest, "SEES THROUGH", 48, 33, (34, 36, 44), 2)
    write_centred(rest, "MOTION BLUR", 96, 33, (196, 62, 44), 2)
    x1 = 330 if forward > 0 else w - 330 - 60
    d.box(x1, 9, 60, 15, (20, 22, 24))
    write(d.sheet(x1, 9, 60, 15), line, 10, 36, 27, (255, 190, 60), 3)
    s = forward
    return Vehicle(
        d.layer(), _wheel(r, (150, 152, 158)), r, (s * (96 - w / 2), s * (376 - w / 2)), 156 - h,
        (s * (464 - w / 2), 128 - h), (s * (7 - w / 2), 128 - h),
    )  # fmt: skip


def van(colour: Colour, forward: int, name: str, picture: str) -> Vehicle:
    """A delivery van, 300 × 138, with its firm's name."""
    w, h, r = 300, 138, 23
    d = _Drawing(w, h)
    d.shape(
        [(4, 10), (10, 4), (206, 4), (240, 18), (268, 66), (294, 76), (296, 118), (4, 118)], colour, solid=True
    )  # fmt: skip
    d.shape([(214, 24), (236, 28), (258, 66), (214, 66)], GLASS)
    d.box(4, 104, 292, 4, (60, 62, 66))
    d.box(206, 10, 2, 104, (150, 150, 150))
    d.shape([(284, 78), (295, 80), (295, 92), (282, 88)], (250, 246, 224))
    d.box(4, 66, 6, 22, (186, 28, 24))
    for x in (60, 240):
        d.arch(x, 116, r + 4)
    d.face(forward)
    x0 = 22 if forward > 0 else w - 22 - 176
    sheet = d.sheet(x0, 16, 176, 70)
    disc = cv2.resize(photo(picture)[:, 60:460], (62 * LARGE, 62 * LARGE), interpolation=cv2.INTER_AREA)
    mask = disc_alpha(62 * LARGE, 31 * LARGE)[..., None]
    spot = sheet[4 * LARGE : 66 * LARGE, : 62 * LARGE]
    spot[:] = (spot * (1 - mask) + disc * mask).astype(np.uint8)
    write_centred(sheet[:, 66 * LARGE :], name, 26 * LARGE, 20 * LARGE, (28, 84, 74), 2)
    write_centred(sheet[:, 66 * LARGE :], "fresh every day", 52 * LARGE, 11 * LARGE, (70, 62, 56))
    s = forward
    return Vehicle(
        d.layer(), _wheel(r, (160, 162, 166)), r, (s * (60 - w / 2), s * (240 - w / 2)), 116 - h,
        (s * (289 - w / 2), 85 - h), (s * (7 - w / 2), 77 - h),
    )  # fmt: skip


def glow(core: float, halo: float, colour: tuple[float, float, float], power: float) -> F32:
    """Light that a lamp throws into the lens: an additive layer (alpha 0) with a bright core and a halo.

    Args:
        core, halo: radii in pixels.
        colour: linear RGB of the light.
        power: linear light in the core, 1 = white paper in daylight.
    """
    n = 2 * round(2.4 * halo) + 1
    yy, xx = np.mgrid[0:n, 0:n].astype(np.float32) - np.float32((n - 1) / 2)
    r = np.hypot(xx, yy)
    light = power * np.clip(core + 0.5 - r, 0, 1) + 0.04 * power * np.exp(-0.5 * (r / (0.35 * halo)) ** 2)
    light += 0.006 * power * np.exp(-r / (0.6 * halo)) * np.clip(1.0 - r / (2.3 * halo), 0, 1)
    out = np.zeros((n, n, 4), np.float32)
    out[..., :3] = light[..., None] * np.array(colour, np.float32)
    return out
