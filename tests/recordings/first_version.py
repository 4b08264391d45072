"""What `data/recording-1` holds: a recording whose chunks are of version 1, from before events were packed.

It was written by that version's own recorder, from these items.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from capture.packets import EventPacket, Events, Frame, FrameClock, Inertial, PixelLayout, TriggerEdges
from capture.registry import RigFacts
from sync.rig import Rig
from tests.recordings.own_sample import Item

FOLDER = Path(__file__).parent / "data" / "recording-1"
WIDTH, HEIGHT = 24, 16


def rig() -> Rig:
    """Of both cameras."""
    return Rig.from_facts("first", RigFacts((WIDTH, HEIGHT), (WIDTH, HEIGHT)))


def items() -> list[Item]:
    """Two packets, a frame, a packet with a pause of two hours in it (kept with whole times), one of edges."""

    def events(t: list[int]) -> Events:
        n = np.arange(len(t))
        return Events(
            np.array(t, np.int64), (n * 5 % WIDTH).astype(np.uint16), (n * 7 % HEIGHT).astype(np.uint16),
            n % 3 == 0, WIDTH, HEIGHT,
        )  # fmt: skip

    def edges(*t: int) -> TriggerEdges:
        return TriggerEdges(np.array(t, np.int64), np.arange(len(t)) % 2 == 0)

    imu = Inertial.of(np.array([1_000_500], np.int64), np.arange(7, dtype=np.float32)[None])
    image = (np.arange(WIDTH * HEIGHT) % 251).astype(np.uint8).reshape(HEIGHT, WIDTH)
    hours = 7_200_000_000
    return [
        EventPacket(events([1_000_000 + 3 * k for k in range(200)]), edges(1_000_100), 1_001_000, 5, imu=imu),
        EventPacket(events([1_001_000, 1_001_000, 1_070_000]), edges(1_005_100), 1_071_000, 6, dropped=2),
        Frame(image, PixelLayout.GRAY, 0, 1_000_100_000, 1_005_100_000, FrameClock.EVENT, 7),
        EventPacket(events([1_071_000, hours]), edges(), hours + 10, 8, gap=True),
        EventPacket(events([]), edges(hours + 20, hours + 30), hours + 40, 9),
    ]
