"""A synthetic video: frames in a row of one moving scene, one stream of events, the sharp middles.

The same scenes and sensors as `sample`, stretched over several frame periods: a layer's path goes on over all
of them, the event sensor is never begun anew. Everything is drawn from (seed, index); the same seed and index
give the same bytes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from capture.packets import Events
from training.synthesis.config import SynthesisConfig
from training.synthesis.draws import chance, even, generator, log_even
from training.synthesis.event_sensor import EventSensor
from training.synthesis.frame_sensor import draw_frame, expose, to_8bit, tone
from training.synthesis.layers import LoadPhoto
from training.synthesis.sample import draw_sensor, event_view, picture_of_planes
from training.synthesis.scene import Scene

# Far from the seeds of single samples: no video repeats one.
_APART = 0xC11B_0000_0000


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """A video.

    Attributes:
        frames, truth: (F, H, W, 3) RGB uint8, blurred, and sharp at the middle of each exposure.
        exposures: (start, end) of each frame, µs on the events' clock.
        more: (F, K, H, W, 3) sharp at the instants of `times_us`.
        times_us: (F, K) instants of `more`.
        events: from the first exposure's start to behind the last, on the event sensor's pixels.
        scale: image pixels along an event pixel.
    """

    frames: NDArray[np.uint8]
    truth: NDArray[np.uint8]
    exposures: tuple[tuple[int, int], ...]
    more: NDArray[np.uint8]
    times_us: NDArray[np.int64]
    events: Events
    scale: int


@dataclass(frozen=True, slots=True)
class ClipPlan:
    """What a video is like beside its scene.

    Attributes:
        frames: how many.
        duty: exposure over period.
        scale: image pixels along an event pixel.
        instants: sharp pictures of each exposure beside its middle, evenly from start to end; 0: none.
    """

    frames: int = 12
    duty: float = 0.9
    scale: int = 1
    instants: int = 0


def make_clip(
    config: SynthesisConfig, plan: ClipPlan, load: LoadPhoto, photos: int, seed: int, index: int
) -> Clip:
    """Draw video `index`; a picture of `config.size` squared, always in colour.

    Ranges of motion in `config` are those of one exposure, but turn, growth and tilt are of the whole video.
    """
    rng = generator(_APART + seed, index)
    noise = torch.Generator().manual_seed(int(rng.integers(2**62)))
    exposure_us = max(1000, round(1000 * log_even(rng, config.exposure_ms)))
    period_us = round(exposure_us / plan.duty)
    total = plan.frames * period_us
    # One path for all: as long as its parts together. A frame's own part of it is longer here, shorter there.
    times = float(plan.frames)
    stretched = config.model_copy(update={
        "blur_px": tuple(v * times for v in config.blur_px),
        "object_px": tuple(v * times for v in config.object_px),
        "subframes": tuple(v * plan.frames for v in config.subframes),
    })  # fmt: skip
    scene = Scene(rng, stretched, load, photos, True, total / 1000 * config.speed_px_ms)
    steps = -(-scene.steps(stretched) // plan.frames)
    sensor, camera = draw_sensor(rng, config), draw_frame(rng, config)
    side = config.size // plan.scale
    shift = rng.uniform(-1, 1, 2) * even(rng, (0.0, config.shift_px)) * float(chance(rng, config.shift_share))

    pixels = EventSensor(sensor, (side, side), noise, torch.device("cpu"))
    start_us = 1_000_000
    frames, truth, more, stamps, exposures = [], [], [], [], []
    begun = False
    gap_steps = max(1, round(steps * (1 / plan.duty - 1)))
    for k in range(plan.frames):
        opens = k * period_us
        at = np.concatenate([
            np.linspace(opens, opens + exposure_us, steps + 1),
            np.linspace(opens + exposure_us, opens + period_us, gap_steps + 1)[1:],
        ])  # fmt: skip
        instants = np.linspace(opens, opens + exposure_us, plan.instants) if plan.instants else np.empty(0)
        asked = np.concatenate([at, [opens + exposure_us / 2], instants])
        light = scene.draw(asked / total, torch.device("cpu"))
        inside = light[: steps + 1]
        mean = (inside.sum(0) - 0.5 * (inside[0] + inside[-1])) / steps
        frames.append(expose(mean, camera, noise))
        sharp = to_8bit(tone(light[len(at) :], camera.gamma))
        truth.append(sharp[0])
        more.append(sharp[1:])
        stamps.append(np.rint(instants).astype(np.int64) + start_us)
        exposures.append((start_us + opens, start_us + opens + exposure_us))
        seen = event_view(light[: len(at)], side, shift, True)
        if not begun:
            pixels.begin(seen[0])
            begun = True
        for j in range(len(at) - 1):
            pixels.step(float(at[j]), float(at[j + 1]), seen[j + 1])
    raw = pixels.events()
    y, x = np.divmod(raw.pixel.numpy(), side)
    events = Events(
        raw.t.numpy() + start_us, x.astype(np.uint16), y.astype(np.uint16),
        np.ascontiguousarray(raw.p.numpy()), side, side,
    )  # fmt: skip
    return Clip(
        picture_of_planes(torch.stack(frames)), picture_of_planes(torch.stack(truth)), tuple(exposures),
        picture_of_planes(torch.stack(more)), np.stack(stamps), events, plan.scale,
    )  # fmt: skip
