"""A small moving scene with events and truth, for tests: exact threshold crossings of a known light."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from capture.packets import Events, Frame, FrameClock, PixelLayout
from inference.tone import Tone, encode
from sync.exposure import AlignedExposure, Exposure, ExposureSource
from sync.rig import EventEntry, Geometry, ImageEntry, Rig

Light = Callable[[float], NDArray[np.float64]]  # fraction 0…1 of the exposure → light (H, W) in 0…1


def texture(width: int, height: int, seed: int = 0) -> NDArray[np.float64]:
    """Light 0.03…0.9 with sharp shapes and fine grain, larger than it is shown, for moving about."""
    rng = np.random.default_rng(seed)
    canvas = np.full((height, width), 0.35)
    for _ in range(60):
        value = float(rng.uniform(0.03, 0.9))
        centre = (int(rng.integers(0, width)), int(rng.integers(0, height)))
        size = (int(rng.integers(4, width // 6 + 5)), int(rng.integers(4, height // 6 + 5)))
        cv2.ellipse(canvas, centre, size, float(rng.uniform(0, 180)), 0, 360, value, -1, cv2.LINE_AA)
    grain = cv2.GaussianBlur(rng.normal(size=(height, width)), (0, 0), 1.2)
    return np.clip(cv2.GaussianBlur(canvas, (0, 0), 0.7) * np.exp(0.25 * grain), 0.02, 0.95)


def panning(width: int, height: int, pixels: float = 14.0, seed: int = 0) -> Light:
    """A camera that moves over a texture by `pixels` in one exposure, along a slightly bent path."""
    margin = int(pixels) + 4
    world = texture(width + 2 * margin, height + 2 * margin, seed)

    def light(f: float) -> NDArray[np.float64]:
        m = np.array([[1, 0, margin + pixels * (f - 0.5)], [0, 1, margin + 0.35 * pixels * (f - 0.5) ** 2]])
        return np.asarray(
            cv2.warpAffine(world, m, (width, height), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
        )

    return light


def events_of(
    light: Light, start_us: int, end_us: int, on: float, off: float,
    steps: int = 200, noise_hz: float = 0.0, spread: float = 0.0, seed: int = 0,
) -> Events:  # fmt: skip
    """Events by threshold crossing of the log light, linear between `steps` samples; random initial phase."""
    rng = np.random.default_rng(seed)
    first = np.log(light(0.0))
    h, w = first.shape
    on_map = on * np.clip(1 + spread * rng.normal(size=(h, w)), 0.5, 1.5)
    off_map = off * np.clip(1 + spread * rng.normal(size=(h, w)), 0.5, 1.5)
    # The level at the last event lies anywhere within one threshold of the first value.
    level = first - rng.uniform(-1, 1, (h, w)) * np.minimum(on_map, off_map) * 0.5
    ts, xs, ys, ps = [], [], [], []
    previous = first
    for i in range(steps):
        now = np.log(light((i + 1) / steps))
        while True:
            up, down = now >= level + on_map, now <= level - off_map
            hit = up | down
            if not hit.any():
                break
            y, x = np.nonzero(hit)
            level[hit] += np.where(up, on_map, -off_map)[hit]
            change = (now - previous)[hit]
            share = np.where(np.abs(change) > 1e-12, (level - previous)[hit] / change, 1.0)
            ts.append(start_us + (i + np.clip(share, 0, 1)) / steps * (end_us - start_us))
            xs.append(x)
            ys.append(y)
            ps.append(up[hit])
        previous = now
    n = rng.poisson(noise_hz * w * h * (end_us - start_us) * 1e-6)
    ts.append(rng.uniform(start_us, end_us, n))
    xs.append(rng.integers(0, w, n))
    ys.append(rng.integers(0, h, n))
    ps.append(rng.random(n) < 0.5)
    t = np.clip(np.concatenate(ts).astype(np.int64), start_us, end_us - 1)
    order = np.argsort(t, kind="stable")
    return Events.checked(
        t[order], np.concatenate(xs)[order], np.concatenate(ys)[order], np.concatenate(ps)[order], w, h
    )


def blurred_of(light: Light, steps: int = 200) -> NDArray[np.float64]:
    """Mean light over the exposure."""
    return np.asarray(np.mean([light((i + 0.5) / steps) for i in range(steps)], axis=0))


def rig_for(
    events: tuple[int, int], image: tuple[int, int] | None = None, tone: Tone = "linear",
    image_from_event: NDArray[np.float64] | None = None, thresholds: tuple[float, float] | None = None,
) -> Rig:  # fmt: skip
    """A rig of these sizes (width, height)."""
    image = image or events
    m = np.eye(3) if image_from_event is None else image_from_event
    rows = tuple((float(r[0]), float(r[1]), float(r[2])) for r in m)
    return Rig(
        events=EventEntry(
            camera="test", width=events[0], height=events[1],
            threshold_on=thresholds[0] if thresholds else None,
            threshold_off=thresholds[1] if thresholds else None,
        ),
        image=ImageEntry(camera="test", width=image[0], height=image[1], tone=tone),
        geometry=Geometry(
            image_from_event=(rows[0], rows[1], rows[2]), mirrored=bool(np.linalg.det(m[:2, :2]) < 0)
        ),
    )  # fmt: skip


def exposure_of(
    image: NDArray[np.uint8], events: Events, rig: Rig, start_us: int, end_us: int, ordinal: int = 0,
    layout: PixelLayout | None = None, complete: bool = True, epoch: int = 0,
) -> AlignedExposure:  # fmt: skip
    """One aligned exposure around this picture and these events."""
    layout = layout or (PixelLayout.RGB if image.ndim == 3 else PixelLayout.GRAY)
    frame = Frame(image, layout, ordinal, start_us * 1000, end_us * 1000, FrameClock.EVENT, epoch=epoch)
    exposure = Exposure(start_us, end_us, ExposureSource.CHUNK, 1.0)
    return AlignedExposure(frame, exposure, events, start_us, end_us, rig, ordinal, complete)


@dataclass
class Scene:
    """One exposure of a moving scene and its truth."""

    exposure: AlignedExposure
    light: Light
    tone: Tone

    def truth(self, f: float) -> NDArray[np.uint8]:
        """The sharp picture at a fraction of the exposure."""
        return encode(self.light(f), self.tone)


def scene(
    width: int = 96, height: int = 72, on: float = 0.2, off: float = 0.2, tone: Tone = "linear",
    pixels: float = 14.0, seed: int = 0, noise_hz: float = 0.0, spread: float = 0.0, ordinal: int = 0,
    known: bool = False, start_us: int = 1_000_000, length_us: int = 40_000,
) -> Scene:  # fmt: skip
    """A panning scene on one pixel grid."""
    light = panning(width, height, pixels, seed)
    end = start_us + length_us
    events = events_of(light, start_us, end, on, off, noise_hz=noise_hz, spread=spread, seed=seed)
    rig = rig_for((width, height), tone=tone, thresholds=(on, off) if known else None)
    return Scene(exposure_of(encode(blurred_of(light), tone), events, rig, start_us, end, ordinal), light, tone)
