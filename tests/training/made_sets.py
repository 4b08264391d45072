"""Small synthetic videos and data sets of them, in every layout that recipes read."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.synthesis.clip import Clip, ClipPlan, make_clip
from training.synthesis.config import SynthesisConfig
from training.synthesis.spikes import SpikeShot, make_shots, write_shots
from training.synthesis.writers import FORMATS

SIZE, FRAMES = 32, 6
CONFIG = SynthesisConfig(
    size=SIZE, blur_px=(6, 12), object_px=(6, 12), still_share=0, flat_share=0, subframes=(6, 10),
    exposure_ms=(8, 20), noise_8bit=(0.1, 0.5), threshold=(0.12, 0.25), layers=(0, 1), drawn_share=1.0,
)  # fmt: skip


def photo(index: int) -> NDArray[np.uint8]:
    """Blocks of colour with edges everywhere."""
    rng = np.random.default_rng(index)
    blocks = rng.integers(0, 256, (24, 24, 3), np.uint8)
    return np.ascontiguousarray(np.kron(blocks, np.ones((8, 8, 1), np.uint8)))


@cache
def clip(index: int = 0, scale: int = 1, instants: int = 0, frames: int = FRAMES) -> Clip:
    """A video of 32×32; the same each time."""
    return make_clip(CONFIG, ClipPlan(frames, 0.9, scale, instants), photo, 4, 7, index)


def write_set(folder: Path, format_: str, train: int = 2, test: int = 1, **plan: int) -> Path:
    """A set with both splits."""
    for split, first, count in (("train", 0, train), ("test", 50, test)):
        for k in range(count):
            FORMATS[format_](folder / split, f"{split}{k}", clip(first + k, **plan))
    return folder


def in_seconds(folder: Path) -> None:
    """Divide the times of a HighREV set, which does not say their unit."""
    for path in folder.rglob("event/*.npz"):
        with np.load(path) as file:
            arrays = dict(file)
        np.savez(path, **{**arrays, "timestamp": arrays["timestamp"] * 1e-6})


@cache
def shots(index: int = 0, count: int = 2) -> tuple[SpikeShot, ...]:
    """A video of a spike camera, 32×32; the same each time."""
    return tuple(make_shots(CONFIG, count, photo, 4, 7, index))


def write_spikes(folder: Path, train: int = 2, test: int = 1, count: int = 2) -> Path:
    """A set of them with both splits."""
    for split, first, videos in (("train", 0, train), ("test", 50, test)):
        for k in range(videos):
            write_shots(folder / split, f"{split}{k}", iter(shots(first + k, count)))
    return folder
