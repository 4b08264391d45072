"""One synthetic exposure with its truth: everything drawn from (seed, index).

The same seed and index give the same bytes, in any order and in any number of workers, on one kind of device.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from capture.packets import Events
from training.synthesis.config import SynthesisConfig
from training.synthesis.draws import chance, even, generator, log_even
from training.synthesis.event_sensor import EventSensor, RawEvents, SensorDraw, lose
from training.synthesis.frame_sensor import draw_frame, expose, to_8bit, tone
from training.synthesis.layers import LoadPhoto
from training.synthesis.scene import LUMINANCE, Scene

PRE_ROLL = 4
"""Steps before the exposure: the pixels' filters then lag as they do in mid-stream."""


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """A synthetic exposure.

    Attributes:
        frame: (H, W, 3) RGB or (H, W) gray uint8, blurred.
        events: of the exposure, on the event sensor's pixels, t in µs from the exposure's start. Event pixel
            (x, y) sees the image about ((x + ½)·W/w − ½, (y + ½)·H/h − ½).
        exposure_us: length of the exposure.
        instants: (L,) fractions of the exposure.
        truth: (L, …) as `frame`, sharp, without noise.
        threshold: (ON, OFF) contrast thresholds.
        gamma: tone curve, see `FrameDraw`.
    """

    frame: NDArray[np.uint8]
    events: Events
    exposure_us: int
    instants: NDArray[np.float64]
    truth: NDArray[np.uint8]
    threshold: tuple[float, float]
    gamma: float

    @property
    def times_us(self) -> list[int]:
        """The instants in µs from the exposure's start."""
        return [round(float(f) * self.exposure_us) for f in self.instants]


@dataclass(frozen=True, slots=True)
class Lead:
    """The exposures before a sample.

    Attributes:
        exposures: how many.
        duty: range of exposure over frame period.
        coarser: how many times fewer instants are drawn of them.
    """

    exposures: int = 0
    duty: tuple[float, float] = (0.6, 0.95)
    coarser: float = 2.0


ALONE = Lead()


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """Exposures in a row of one scene by one pair of cameras.

    Attributes:
        frames: of each exposure, blurred; the last is the sample's.
        begins_us: of each, from the last one's start; all are as long as the last.
        events: from the first one's start to the last one's end, those of the gaps included.
        last: the sample.
    """

    frames: tuple[NDArray[np.uint8], ...]
    begins_us: tuple[int, ...]
    events: Events
    last: Sample


def draw_sensor(rng: np.random.Generator, config: SynthesisConfig) -> SensorDraw:
    """An event sensor at random."""
    middle, asymmetry = log_even(rng, config.threshold), log_even(rng, config.asymmetry)
    return SensorDraw(
        on=middle / asymmetry**0.5, off=middle * asymmetry**0.5, sigma=even(rng, config.threshold_sigma),
        refractory_us=log_even(rng, config.refractory_us), leak_hz=even(rng, config.leak_hz),
        shot_hz=even(rng, config.shot_hz) * float(chance(rng, 0.7)),
        dark_hz=even(rng, config.dark_hz) * float(chance(rng, 0.7)),
        hot_share=even(rng, config.hot_share) * float(chance(rng, 0.3)), hot_hz=log_even(rng, config.hot_hz),
        cutoff_hz=log_even(rng, config.cutoff_hz),
        cutoff_dark_hz=log_even(rng, config.cutoff_dark_hz), dark_light=log_even(rng, config.dark_light),
        mid_stream=chance(rng, 0.75),
    )  # fmt: skip


def draw_instants(rng: np.random.Generator, config: SynthesisConfig) -> NDArray[np.float64]:
    """(L,) ascending fractions of the exposure."""
    u = rng.random(config.instants)
    middle = rng.random(config.instants) < config.middle_share
    return np.sort(np.where(middle, 0.5, u))


def make(
    config: SynthesisConfig, load: LoadPhoto, photos: int, seed: int, index: int, device: str = "cpu"
) -> Sample:
    """Draw and expose sample `index`."""
    return make_row(config, ALONE, load, photos, seed, index, device).last


def make_row(
    config: SynthesisConfig, lead: Lead, load: LoadPhoto, photos: int, seed: int, index: int,
    device: str = "cpu",
) -> Row:  # fmt: skip
    """Draw and expose sample `index` with the exposures before it.

    The scene, the cameras and the last exposure's truth are those of the sample alone: its motion is followed
    back in time. Ranges of motion in `config` are those of the last exposure; the others have about as much.
    """
    where = torch.device(device)
    rng = generator(seed, index)
    noise = torch.Generator(where).manual_seed(int(rng.integers(2**62)))
    colour = chance(rng, config.colour_share)
    exposure_us = round(1000 * log_even(rng, config.exposure_ms))
    scene = Scene(rng, config, load, photos, colour, exposure_us / 1000 * config.speed_px_ms)
    steps = scene.steps(config)
    sensor, camera = draw_sensor(rng, config), draw_frame(rng, config)
    coarser = chance(rng, config.scale_share)
    scale = even(rng, config.scale) if coarser else 1.0
    side = max(8, round(config.size / scale))
    shift = rng.uniform(-1, 1, 2) * config.shift_px * float(coarser or chance(rng, config.shift_share))
    instants = draw_instants(rng, config)
    period = 1.0 / even(generator(seed, index, 1), lead.duty)

    pixels: EventSensor | None = None
    frames, before, truth = [], PRE_ROLL, torch.empty(0)
    for k in range(-lead.exposures, 1):
        opens = k * period * exposure_us
        fine = steps if k == 0 else max(4, round(steps / lead.coarser))
        gap = 0 if k == 0 else max(1, round(fine * (period - 1)))
        share, length = 1.0 / fine, period - 1.0
        # In exposures, from this one's start: the steps of the exposure, then those of the gap behind it.
        u = np.concatenate(
            [np.arange(-before, fine + 1) * share, 1 + np.arange(1, gap + 1) / max(gap, 1) * length]
        )
        t = opens + np.concatenate(
            [np.arange(-before, fine + 1) * (exposure_us * share), exposure_us * u[before + fine + 1 :]]
        )
        at = k * period + u
        light = scene.draw(np.concatenate([at, instants]) if k == 0 else at, where)
        inside = light[before : before + fine + 1]
        # Trapezoids: the first and the last instant are the borders of the exposure.
        mean = (inside.sum(0) - 0.5 * (inside[0] + inside[-1])) / fine
        frames.append(picture_of_planes(expose(mean, camera, noise)))
        if k == 0:
            truth = to_8bit(tone(light[len(u) :], camera.gamma))
        seen = event_view(light[: len(u)], side, shift, colour)
        if pixels is None:
            pixels = EventSensor(sensor, (side, side), noise, where)
            pixels.begin(seen[0])
        for j in range(len(u) - 1):
            pixels.step(float(t[j]), float(t[j + 1]), seen[j + 1])
        before = 0
    assert pixels is not None
    raw = pixels.events()
    if chance(rng, config.lost_share):
        raw = lose(raw, rng)
    begins = tuple(round(k * period * exposure_us) for k in range(-lead.exposures, 1))
    events = _events(raw, side, begins[0], exposure_us)
    last = Sample(
        frames[-1], events.between(0, exposure_us), exposure_us, instants, picture_of_planes(truth),
        (sensor.on, sensor.off), camera.gamma,
    )  # fmt: skip
    return Row(tuple(frames), begins, events, last)


def event_view(light: Tensor, side: int, shift: NDArray[np.float64], colour: bool) -> Tensor:
    """(T, side, side) luminance as the event sensor's pixels see it."""
    size = light.shape[-1]
    if colour:
        light = (light * light.new_tensor(LUMINANCE).view(1, 3, 1, 1)).sum(1, keepdim=True)
    if side != size:
        light = F.interpolate(light, (side, side), mode="bilinear", antialias=True, align_corners=False)
    if shift.any():
        theta = light.new_tensor([[1, 0, 2 * shift[0] / size], [0, 1, 2 * shift[1] / size]])
        grid = F.affine_grid(theta[None], [1, 1, side, side], align_corners=False)
        light = F.grid_sample(
            light, grid.expand(len(light), -1, -1, -1), mode="bilinear", padding_mode="border",
            align_corners=False,
        )  # fmt: skip
    return light[:, 0]


def _events(raw: RawEvents, side: int, start_us: int, end_us: int) -> Events:
    t, pixel = raw.t.cpu().numpy(), raw.pixel.cpu().numpy()
    first, last = np.searchsorted(t, [start_us, end_us])
    y, x = np.divmod(pixel[first:last], side)
    p = raw.p.cpu().numpy()[first:last]
    return Events(t[first:last], x.astype(np.uint16), y.astype(np.uint16), np.ascontiguousarray(p), side, side)


def picture_of_planes(planes: Tensor) -> NDArray[np.uint8]:
    """(…, C, H, W) → (…, H, W, 3) or (…, H, W)."""
    a = planes.cpu().numpy()
    return (
        np.ascontiguousarray(np.moveaxis(a, -3, -1))
        if a.shape[-3] == 3
        else np.ascontiguousarray(a[..., 0, :, :])
    )
