"""A small made recording for tests: known events, frames and edges of a 64 × 48 sensor, 1 s long."""

from __future__ import annotations

import numpy as np

from capture.packets import Events, TriggerEdges
from tests.recordings.make_aedat4 import WrittenFrame

WIDTH, HEIGHT = 64, 48
START_US = 1_600_000_000_000_000
FRAMES, PERIOD_US, EXPOSURE_US = 10, 100_000, 60_000


def sample_events(n: int = 20_000, seed: int = 1, pause: tuple[int, int] | None = (450_000, 550_000)) -> Events:
    """Random events over one second, with a pause in which nothing happens."""
    rng = np.random.default_rng(seed)
    t = np.sort(rng.integers(0, 1_000_000, n))
    if pause:
        t = t[(t < pause[0]) | (t >= pause[1])]
    n = len(t)
    return Events(
        START_US + t, rng.integers(0, WIDTH, n).astype(np.uint16), rng.integers(0, HEIGHT, n).astype(np.uint16),
        rng.random(n) < 0.5, WIDTH, HEIGHT,
    )  # fmt: skip


def sample_frames(colour: bool = False, exposure_us: int | None = EXPOSURE_US) -> list[WrittenFrame]:
    """Ten frames, exposed from k · 100 ms + 20 ms on."""
    rng = np.random.default_rng(2)
    shape = (HEIGHT, WIDTH, 3) if colour else (HEIGHT, WIDTH)
    return [
        WrittenFrame(START_US + 20_000 + k * PERIOD_US, exposure_us, rng.integers(0, 256, shape, np.uint8))
        for k in range(FRAMES)
    ]


def sample_edges() -> TriggerEdges:
    """Rising at the start and falling at the end of every exposure."""
    t = [START_US + 20_000 + k * PERIOD_US + e for k in range(FRAMES) for e in (0, EXPOSURE_US)]
    return TriggerEdges(np.array(t, np.int64), np.tile([True, False], FRAMES))
