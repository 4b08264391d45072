"""Short streams of exposures for the tests of restorers that carry something on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from capture.packets import Events
from sync.exposure import AlignedExposure, Exposure, ExposureSource
from sync.rig import Rig
from tests.inference.moving_scene import exposure_of, rig_for

PERIOD_US = 40_000
EXPOSURE_US = 20_000


def picture(n: int, width: int, height: int, gray: bool = False) -> NDArray[np.uint8]:
    shape = (height, width) if gray else (height, width, 3)
    return np.random.default_rng(n).integers(20, 230, shape).astype(np.uint8)


def some_events(rig: Rig, start_us: int, end_us: int, count: int, seed: int = 0) -> Events:
    rng = np.random.default_rng(seed)
    w, h = rig.events.width, rig.events.height
    return Events.checked(
        np.sort(rng.integers(start_us, end_us, count)), rng.integers(0, w, count), rng.integers(0, h, count),
        rng.random(count) < 0.5, w, h,
    )  # fmt: skip


def exposures(
    ordinals: Sequence[int], width: int = 40, height: int = 28, *, gray: bool = False, epoch: int = 0,
    rig: Rig | None = None, events: int = 400, margin_us: int = EXPOSURE_US,
) -> list[AlignedExposure]:  # fmt: skip
    """Exposures with these ordinals; what an exposure holds depends on its ordinal alone."""
    rig = rig or rig_for((width, height))
    out = []
    for n in ordinals:
        start, end = n * PERIOD_US, n * PERIOD_US + EXPOSURE_US
        window = (start - margin_us, end + margin_us)
        image = picture(n, rig.image.width, rig.image.height, gray)
        a = exposure_of(image, some_events(rig, *window, events, n), rig, start, end, n, epoch=epoch)
        exposure = Exposure(start, end, ExposureSource.CHUNK, 1.0)
        out.append(AlignedExposure(a.frame, exposure, a.events, *window, rig, n))
    return out


class OneThread:
    """Torch on one thread while a test runs."""

    def __enter__(self) -> None:
        self._before = torch.get_num_threads()
        torch.set_num_threads(1)

    def __exit__(self, *_: object) -> None:
        torch.set_num_threads(self._before)
