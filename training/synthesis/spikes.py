"""Synthetic videos of a spike camera, made as the spike version of GoPro was (K. Chen et al., NeurIPS 2024).

One moving scene at even ticks. An exposure is 97 of them, 104 after the last; its spikes are of 137 ticks,
20 before it and 20 behind. As published, everything happens in gamma-coded 8-bit values: the blurred picture is
their mean, spikes integrate their gray at a quarter of the size. A spike pixel begins at a random phase, and
one in 140 entries gets a false spike.

Layout: `spike_data/VIDEO/NUMBER.dat`, `blur_data`, `sharp_data` alike, see `training.data.sets.spikes`.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from capture.parts import own_part
from inference.representations import spikes
from inference.representations.spikes_numba import IntegrateAndFire
from training.files import replace_bytes
from training.synthesis.config import SynthesisConfig
from training.synthesis.draws import generator, log_even
from training.synthesis.frame_sensor import draw_frame, to_8bit, tone
from training.synthesis.layers import LoadPhoto
from training.synthesis.sample import picture_of_planes
from training.synthesis.scene import Scene

FORMAT = "spikes"
PERIOD = 104  # ticks from one exposure's start to the next one's
_EXPOSED = spikes.LAST - spikes.FIRST + 1
_APART = 0x5B1C_0000_0000  # far from the seeds of samples and other videos
_AT_ONCE = 24  # ticks that are drawn together


@dataclass(frozen=True, slots=True, eq=False)
class SpikeShot:
    """One exposure of a spike camera and a colour camera that see the same.

    Attributes:
        blurred: (H, W, 3) RGB uint8.
        sharp: (5, H, W, 3) RGB uint8 at `spikes.LATENTS`; 2 is the middle.
        frames: (137, H/4, W/4) uint8 0 and 1.
        light: (137, H/4, W/4) float32 in 0…1, the gray that the spikes are of.
    """

    blurred: NDArray[np.uint8]
    sharp: NDArray[np.uint8]
    frames: NDArray[np.uint8]
    light: NDArray[np.float32]


def make_shots(
    config: SynthesisConfig, shots: int, load: LoadPhoto, photos: int, seed: int, index: int
) -> Iterator[SpikeShot]:
    """Draw video `index`, exposure by exposure; pictures of `config.size` squared, a multiple of 4.

    Ranges of motion in `config` are those of one exposure, but turn, growth and tilt are of the whole video.
    """
    rng = generator(_APART + seed, index)
    exposure_ms = log_even(rng, config.exposure_ms)
    ticks = (shots - 1) * PERIOD + spikes.FRAMES
    times = ticks / (_EXPOSED - 1)
    stretched = config.model_copy(update={
        "blur_px": tuple(v * times for v in config.blur_px),
        "object_px": tuple(v * times for v in config.object_px),
    })  # fmt: skip
    scene = Scene(rng, stretched, load, photos, True, times * exposure_ms * config.speed_px_ms)
    gamma = draw_frame(rng, config).gamma
    for k in range(shots):
        yield _shot(scene, (k * PERIOD + np.arange(spikes.FRAMES)) / ticks, gamma, rng)


def _shot(scene: Scene, at: NDArray[np.float64], gamma: float, rng: np.random.Generator) -> SpikeShot:
    total: NDArray[np.int64] | None = None
    light, sharp = [], []
    for first in range(0, len(at), _AT_ONCE):
        seen = scene.draw(at[first : first + _AT_ONCE], torch.device("cpu"))
        for tick, picture in enumerate(picture_of_planes(to_8bit(tone(seen, gamma))), first):
            bgr = picture[:, :, ::-1]
            light.append(spikes.gray(spikes.quarter(bgr.astype(np.float32) / np.float32(255))))
            if tick in spikes.LATENTS:
                sharp.append(picture)
            if spikes.FIRST <= tick <= spikes.LAST:
                total = picture.astype(np.int64) if total is None else total + picture
    assert total is not None
    gray = np.stack(light)
    fired = IntegrateAndFire(rng.random(gray.shape[1:], np.float32))(gray).frames
    noisy = spikes.with_noise(fired, spikes.draw_gaps(fired.size, rng))
    return SpikeShot(np.rint(total / _EXPOSED).astype(np.uint8), np.stack(sharp), noisy, gray)


def write_shots(folder: Path, name: str, shots: Iterator[SpikeShot]) -> None:
    """A video in the published layout and numbering; its spikes appear last, each part as a whole."""
    parts = ("sharp_data", "blur_data", "spike_data")
    staged = {part: own_part(folder / part / name) for part in parts}
    try:
        for path in staged.values():
            path.mkdir(parents=True, exist_ok=True)
        for k, shot in enumerate(shots, 1):
            # The first exposure of a published video has no spikes before it, and is left out.
            number = f"{13 * k + 6:06d}"
            _png(staged["sharp_data"] / f"{number}.png", shot.sharp[len(spikes.LATENTS) // 2])
            _png(staged["blur_data"] / f"{number}.png", shot.blurred)
            replace_bytes(staged["spike_data"] / f"{number}.dat", spikes.to_dat(shot.frames))
        for part in parts:
            shutil.rmtree(folder / part / name, ignore_errors=True)
            os.replace(staged[part], folder / part / name)
    finally:
        for path in staged.values():
            shutil.rmtree(path, ignore_errors=True)


def written(folder: Path, name: str) -> Path:
    """What appears last of a video: where it is, the video is whole."""
    return folder / "spike_data" / name


def _png(path: Path, picture: NDArray[np.uint8]) -> None:
    done, data = cv2.imencode(".png", picture[:, :, ::-1])
    assert done
    replace_bytes(path, data.tobytes())
