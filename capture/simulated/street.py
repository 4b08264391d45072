"""The outdoor scene: a street with shops, traffic that crosses both ways; by day or by night."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from capture.simulated.motion import Attached, CameraMotion, Crossing, Held, Motion, Still
from capture.simulated.scene import Layer, Scene
from capture.simulated.textures import (
    Colour,
    bricks,
    flattened,
    grain,
    linear_from_srgb,
    photo,
    write_centred,
)
from capture.simulated.vehicles import UNIT, Vehicle, bus, car, glow, van

F32 = NDArray[np.float32]

WIDTH, HEIGHT = 1600, 1080
"""Size of the background in fine pixels."""

CX, CY = WIDTH // 2, HEIGHT // 2
KERB = CY + 128
"""Where the pavement ends and the road begins."""
FAR_LANE, NEAR_LANE = CY + 214, CY + 338
"""Where the wheels touch the road."""

WARM = np.array([1.0, 0.72, 0.42], np.float32)
COLD = np.array([0.55, 0.72, 1.0], np.float32)

HOUSES: tuple[tuple[int, Colour, Colour], ...] = (
    (330, (158, 84, 66), (196, 182, 166)), (290, (206, 184, 142), (226, 214, 190)),
    (370, (122, 132, 140), (170, 176, 178)), (300, (176, 112, 84), (212, 196, 176)),
    (330, (214, 206, 192), (232, 226, 216)),
)  # fmt: skip
SHOPS = ("CAFE", "OPTICS", "BOOKS", "BAKERY", "RECORDS")
AWNINGS: tuple[Colour, ...] = ((180, 44, 40), (34, 92, 76), (36, 66, 112), (206, 148, 48), (96, 56, 92))


def _linear(colour: Colour) -> F32:
    return np.asarray(linear_from_srgb(np.array([[colour]], np.uint8))[0, 0], np.float32)


def _window(wall: F32, lit: F32, x: int, y: int, w: int, h: int, rng: np.random.Generator) -> None:
    """A window with frame, panes, sill; some have a lamp behind them at night."""
    wall[y - 6 : y + h + 6, x - 6 : x + w + 6] = _linear((226, 220, 208)) * 0.9
    sky = np.linspace(0.30, 0.10, h, dtype=np.float32)[:, None, None]
    pane = sky * np.array([0.75, 0.9, 1.1], np.float32)
    streak = np.exp(0.18 * grain(rng, h, w, 24, 2))[..., None]
    wall[y : y + h, x : x + w] = pane * streak
    curtain = int(rng.integers(0, w // 3))
    if curtain > 4:
        wall[y : y + h, x : x + curtain] = _linear((188, 178, 162)) * 0.7
    for line in (
        wall[y : y + h, x + w // 2 - 2 : x + w // 2 + 2],
        wall[y + h // 3 : y + h // 3 + 3, x : x + w],
    ):
        line[:] = _linear((226, 220, 208)) * 0.85
    wall[y + h + 6 : y + h + 12, x - 10 : x + w + 10] *= 0.55
    if rng.random() < 0.45:
        strength = float(rng.uniform(0.12, 0.55))
        glowing = lit[y : y + h, x : x + w]
        glowing += strength * WARM * np.exp(0.25 * grain(rng, h, w, 30, 2))[..., None]
        glowing[:, w // 2 - 2 : w // 2 + 2] = 0
        glowing[h // 3 : h // 3 + 3] = 0


def _shop(wall: F32, lit: F32, x: int, w: int, k: int) -> None:
    """A shop front: sign, striped awning, show window with a picture."""
    top, bottom = CY - 118, CY + 84
    wall[top:bottom, x + 8 : x + w - 8] = _linear((58, 52, 48))
    name = np.zeros((44, w - 16, 3), np.uint8)
    name[:] = AWNINGS[k % len(AWNINGS)]
    write_centred(name, SHOPS[k % len(SHOPS)], 34, 24, (246, 240, 224), 2)
    wall[top : top + 44, x + 8 : x + w - 8] = linear_from_srgb(name)
    lit[top : top + 44, x + 8 : x + w - 8] += 0.22 * linear_from_srgb(name)
    glass = slice(x + 24, x + w - 24)
    show = wall[top + 84 : bottom - 14, glass]
    picture = photo(("coffee", "hubble", "chelsea", "astronaut", "rocket")[k % 5])
    fit = cv2.resize(picture, (show.shape[1], show.shape[0]), interpolation=cv2.INTER_AREA)
    show[:] = 0.55 * linear_from_srgb(np.asarray(fit, np.uint8)) + 0.06
    lit[top + 84 : bottom - 14, glass] += 0.5 * linear_from_srgb(np.asarray(fit, np.uint8)) * WARM
    stripes = ((np.arange(w - 4) // 18) % 2).astype(bool)
    cloth = np.where(stripes[:, None], _linear(AWNINGS[k % len(AWNINGS)]), _linear((240, 234, 220)))
    fall = np.linspace(1.0, 0.72, 40, dtype=np.float32)[:, None, None]
    wall[top + 44 : top + 84, x + 2 : x + w - 2] = cloth[None] * fall
    wall[top + 84 : top + 96, x + 16 : x + w - 16] *= 0.45


def _road(out: F32, rng: np.random.Generator) -> None:
    """Pavement of slabs, kerb, asphalt with its marks."""
    slabs = out[CY + 84 : KERB]
    slabs[:] = _linear((168, 162, 152)) * np.exp(0.05 * grain(rng, KERB - CY - 84, WIDTH, 10, 3))[..., None]
    for x in range(-20, WIDTH, 74):
        slabs[:, max(0, x) : x + 2] *= 0.72
    slabs[20:22] *= 0.75
    out[KERB : KERB + 10] = _linear((196, 192, 184))
    asphalt = out[KERB + 10 :]
    h = asphalt.shape[0]
    asphalt[:] = _linear((92, 92, 96)) * np.exp(
        0.10 * grain(rng, h, WIDTH, 3, 2) + 0.10 * grain(rng, h, WIDTH, 160, 2)
    )[..., None]  # fmt: skip
    y = (FAR_LANE + NEAR_LANE) // 2 - KERB - 46
    for x in range(-30, WIDTH, 170):
        asphalt[y : y + 9, max(0, x) : x + 96] = _linear((226, 224, 214))
    # Worn tracks of the wheels.
    for lane in (FAR_LANE, NEAR_LANE):
        asphalt[lane - KERB - 24 : lane - KERB - 8] *= 0.86


@lru_cache(maxsize=1)
def street_front(seed: int) -> tuple[F32, F32]:
    """Reflectance of the street, and what of it gives light at night: two (HEIGHT, WIDTH, 3), read-only."""
    rng = np.random.default_rng([seed, 3])
    out = np.empty((HEIGHT, WIDTH, 3), np.float32)
    lit = np.zeros((HEIGHT, WIDTH, 3), np.float32)
    x = -40
    for k in range(len(HOUSES)):
        w, colour, mortar = HOUSES[k]
        x0, x1 = max(0, x), min(WIDTH, x + w)
        house = bricks(rng, CY + 84, w, brick=(46, 18), joint=3, colour=colour, mortar=mortar, spread=0.10)
        out[: CY + 84, x0:x1] = house[:, x0 - x : x1 - x]
        floors = (CY - 500, CY - 340)
        count = 3 if w > 310 else 2
        for fy in floors:
            for j in range(count):
                cx = x + (j + 1) * w // (count + 1)
                if 50 < cx < WIDTH - 50 and fy > 6:
                    _window(out, lit, cx - 32, fy, 64, 104, rng)
        out[CY - 176 : CY - 164, x0:x1] = _linear((214, 206, 192))
        out[CY - 164 : CY - 158, x0:x1] *= 0.5
        if x0 > 0:
            out[: CY + 84, x0 - 3 : x0 + 3] *= 0.45
        if x >= 0 and x + w <= WIDTH:
            _shop(out, lit, x, w, k)
        elif x < 0:
            _shop(out, lit, 0, w + x, k)
        x += w
    out[: CY + 84, min(x, WIDTH) :] = _linear((120, 118, 116))
    _road(out, rng)
    out.flags.writeable = False
    lit.flags.writeable = False
    return out, lit


def _lamp_pools(power: float) -> F32:
    """Light of street lamps on everything, (HEIGHT, WIDTH, 3), 1 = daylight."""
    yy, xx = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    light = np.full((HEIGHT, WIDTH), 0.10, np.float32)
    for px in (CX - 520, CX - 20, CX + 480):
        d = np.sqrt(((xx - px) / 230) ** 2 + ((yy - (CY + 250)) / 300) ** 2)
        light += np.exp(-(d**2)).astype(np.float32)
    out = power * (0.85 * light[..., None] * WARM + 0.10 * COLD)
    return np.asarray(out, np.float32)


def _lit(layer: F32, contrast: float, light: float) -> F32:
    """A layer in the light that it stands in."""
    # With the contrast that it has, not a bit of what the presets draw is touched.
    out = layer.copy() if contrast == 1.0 else flattened(layer, contrast)
    out[..., :3] *= light
    return out


def _parts(v: Vehicle, motion: Motion, contrast: float, light: float, night: bool) -> list[Layer]:
    """A vehicle as layers: body, wheels, and at night its lamps."""
    body, wheel = (_lit(part, contrast, light) for part in (v.body, v.wheel))
    h, w = body.shape[:2]
    shadow = np.zeros((48, w + 60, 4), np.float32)
    cv2.ellipse(shadow, (shadow.shape[1] // 2, 24), (w // 2 + 4, 9), 0, 0, 360, (0, 0, 0, 0.75), -1)
    shadow = np.asarray(cv2.GaussianBlur(shadow, (0, 0), 5), np.float32)
    ground = UNIT * (v.axle + v.radius)
    made = [
        Layer(shadow, ((shadow.shape[1] - 1) / 2, 24.0), Attached(motion, 0.0, ground)),
        Layer(body, ((w - 1) / 2, h - 1.0), motion),
    ]
    middle = (wheel.shape[0] - 1) / 2
    made += [
        Layer(wheel, (middle, middle), Attached(motion, UNIT * x, UNIT * v.axle, UNIT * v.radius))
        for x in v.wheels
    ]
    if night:
        head, tail = glow(7, 40, (1.0, 0.93, 0.78), 7.0), glow(5, 18, (1.0, 0.07, 0.04), 1.6)
        for lamp, (x, y) in ((head, v.front), (tail, v.rear)):
            m = (lamp.shape[0] - 1) / 2
            made.append(Layer(lamp, (m, m), Attached(motion, UNIT * x, UNIT * y)))
    return made


def street(
    seed: int, loop_s: float, view: tuple[float, float], *, speed: float, reach: float = 1.0,
    contrast: float = 1.0, veil: float = 0.0, daylight: float = 1.0, night: bool = False,
) -> Scene:  # fmt: skip
    """The whole scene.

    Args:
        seed: of houses and shake.
        loop_s: period of all motion, seconds.
        view: (width, height) in fine pixels.
        speed: of the rig itself, fine pixels per second; 0 = on a tripod.
        reach: factor on the speed of the traffic; 0 holds it still. Nothing takes longer than a loop to cross.
        contrast: power that all reflectances are raised to.
        veil: stray light as a share of white, on the background alone.
        daylight: light of the sky, 1 = full; at night the light of the street lamps.
        night: lamps, lit windows and headlights instead of daylight.
    """
    reflectance, lit = street_front(seed)
    if night:
        back = reflectance**contrast * _lamp_pools(daylight) + 0.35 * lit
        local = 0.45 * daylight
    else:
        yy = np.linspace(1.0, 0.86, HEIGHT, dtype=np.float32)[:, None, None]
        back = daylight * yy * reflectance**contrast
        local = daylight
    back = np.asarray(veil + (1.0 - veil) * back, np.float32)
    camera = CameraMotion.hand(
        np.random.default_rng([seed, 4]), loop_s, (float(CX), float(CY)), speed=speed, low_hz=0.7
    )
    margin = view[0] / 2 + 430
    fast = max(0.05, reach) if reach > 0 else 1.0

    def drive(forward: int, lane: int, enter: float, px_per_s: float, scale: float = 1.0) -> Motion:
        # Never longer than the loop, so that everyone is out of sight before it enters again.
        seconds = min(2 * margin / (px_per_s * fast), 0.98 * loop_s)
        a, b = CX - forward * margin, CX + forward * margin
        crossing = Crossing((a, lane), (b, lane), enter * loop_s, seconds, loop_s, scale=scale)
        return crossing if reach > 0 else Held(crossing(0.0))

    layers: list[Layer] = []
    traffic: tuple[tuple[Vehicle, Motion], ...] = (
        (car((188, 42, 38), -1), drive(-1, FAR_LANE, 0.02, 1250, 0.86)),
        (van((238, 234, 224), -1, "BAKERY", "coffee"), drive(-1, FAR_LANE, 0.52, 1050, 0.86)),
        (car((240, 186, 40), 1, sign="TAXI"), drive(1, NEAR_LANE, 0.24, 1450)),
        (bus((28, 98, 128), 1, "24", "chelsea"), drive(1, NEAR_LANE, 0.60, 980)),
    )
    for vehicle, motion in traffic:
        layers += _parts(vehicle, motion, contrast, local, night)
    post = np.zeros((900, 30, 4), np.float32)
    shade = np.cos(np.linspace(-1.3, 1.3, 14, dtype=np.float32))
    paint, round_off = _linear((52, 56, 58)) ** contrast * local, (0.4 + 0.9 * shade) ** contrast
    post[:, 8:22, :3] = paint[None, None] * round_off[None, :, None]
    post[:, 8:22, 3] = 1.0
    layers.append(Layer(post, (15.0, 899.0), Still(CX - 318.0, KERB + 330.0), 1.0))
    return Scene(back, tuple(layers), camera, view, loop_s)
