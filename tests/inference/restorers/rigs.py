"""Rigs, exposures and a stand-in network for the tests of restorers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from capture.packets import Events
from inference.restorers.base import Needs
from inference.restorers.neural import NeuralRestorer
from inference.restorers.padding import crop, pad_to_multiple
from inference.restorers.pictures import ColourOrder
from inference.restorers.work import Work
from sync.exposure import AlignedExposure
from sync.geometry import scaled_homography
from sync.rig import Rig
from tests.inference.moving_scene import exposure_of, rig_for

START, END = 1_000_000, 1_040_000
SMALL: dict[str, Any] = {"random_weights": True}


def splitter(events: tuple[int, int] = (32, 24), scale: int = 4, turn_deg: float = 0.0) -> Rig:
    """A mirrored rig, the image `scale` times as fine; turned about the middle of the image."""
    m = scaled_homography(scale, mirrored=True, event_width=events[0])
    w, h = events[0] * scale, events[1] * scale
    c, s = math.cos(math.radians(turn_deg)), math.sin(math.radians(turn_deg))
    x, y = (w - 1) / 2, (h - 1) / 2
    turn = np.array([[c, -s, x - c * x + s * y], [s, c, y - s * x - c * y], [0, 0, 1]])
    return rig_for(events, (w, h), tone="srgb", image_from_event=turn @ m)


def on_the_border(width: int, height: int, scale: float, *, mirrored: bool) -> Rig:
    """The outermost pixels of the image have their centres on the event sensor's border, or a hair beyond."""
    m = np.array([[scale, 0, scale / 2], [0, scale, scale / 2], [0, 0, 1]])
    if mirrored:
        m[0] = -scale, 0, scale * (width - 0.5)
    m[:2, 2] -= 5e-4 * scale
    size = round(scale * width) + 1, round(scale * height) + 1
    return rig_for((width, height), size, image_from_event=m)


def noise_events(width: int, height: int, n: int = 400, seed: int = 0) -> Events:
    rng = np.random.default_rng(seed)
    return Events(
        np.sort(rng.integers(START, END, n)), rng.integers(0, width, n).astype(np.uint16),
        rng.integers(0, height, n).astype(np.uint16), rng.random(n) < 0.5, width, height,
    )  # fmt: skip


def picture(width: int, height: int, *, gray: bool = False, seed: int = 0) -> NDArray[np.uint8]:
    """A smooth picture with some noise, no two channels alike."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    base = np.stack(
        [128 + 90 * np.sin(x / 7), 128 + 90 * np.cos(y / 5), 128 + 90 * np.sin((x + y) / 9)], axis=2
    )
    full = np.clip(base + rng.normal(0, 4, base.shape), 0, 255).astype(np.uint8)
    return np.ascontiguousarray(full[..., 0]) if gray else full


def noise_exposure(rig: Rig, *, gray: bool = False, n: int = 400, **more: Any) -> AlignedExposure:
    image = picture(rig.image.width, rig.image.height, gray=gray)
    events = noise_events(rig.events.width, rig.events.height, n)
    return exposure_of(image, events, rig, START, END, **more)


def one_grid(width: int, height: int) -> Rig:
    return rig_for((width, height), tone="srgb")


class Stub(NeuralRestorer):
    """Stands where a network would: gives `image + change`."""

    name = "stub"
    network = "s-sdm-ldn"
    multiple = 8
    grids = ("image", "event")
    needs = Needs(note="stub")
    change: Tensor | float = 0.0

    @property
    def representation(self) -> str:
        return "spikes"

    @property
    def order(self) -> ColourOrder:
        return "bgr"

    def _infer(self, work: Work) -> Tensor:
        height, width = work.pictures[work.index].shape[:2]
        image = pad_to_multiple(self.tensors([work.pictures[work.index]]), self.multiple, self.padding)
        assert image.shape[-1] % 8 == 0
        assert image.shape[-2] % 8 == 0
        one = crop(image, height, width) + self.change
        return torch.cat([one] * len(work.at))
