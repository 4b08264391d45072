"""A source for offline tests: one sensor, frames stamped on the event clock, known times."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from app.offline_input import Item, OfflineInput
from capture.packets import EventPacket, Events, Frame, FrameClock, PixelLayout, TriggerEdges
from capture.registry import RigFacts
from inference.restorers.base import LatentTimes, Needs, Restored
from sync.exposure import AlignedExposure
from sync.rig import Rig

W, H = 32, 24
START_US, PERIOD_US, EXPOSURE_US = 1_000_000, 40_000, 10_000


def rig() -> Rig:
    return Rig.from_facts("test", RigFacts((W, H), (W, H), one_sensor=True, exact=True))


def exposure_of(k: int) -> tuple[int, int]:
    """Start and end of the exposure of frame k."""
    start = START_US + 5_000 + k * PERIOD_US
    return start, start + EXPOSURE_US


def items(
    n: int, *, unexposed: Sequence[int] = (), rgb: bool = False, epoch: int = 0, events_until: int | None = None
) -> Iterator[Item]:  # fmt: skip
    """Packets of 5 ms and n frames, each after the events before its end. `unexposed` ones carry no stamps."""
    rng = np.random.default_rng(epoch)
    at = START_US
    for k in range(n):
        start, end = exposure_of(k)
        while at < end + 5_000:
            packet_end = at + 5_000
            count = 40 if events_until is None or k < events_until else 0
            t = np.sort(rng.integers(at, packet_end, count))
            events = Events(
                t, rng.integers(0, W, count).astype(np.uint16), rng.integers(0, H, count).astype(np.uint16),
                rng.random(count) < 0.5, W, H,
            )  # fmt: skip
            yield EventPacket(events, TriggerEdges.empty(), packet_end, epoch=epoch)
            at = packet_end
        shape = (H, W, 3) if rgb else (H, W)
        known = k not in unexposed
        yield Frame(
            np.full(shape, 10 + k, np.uint8), PixelLayout.RGB if rgb else PixelLayout.GRAY, 100 + k,
            start * 1000 if known else None, end * 1000 if known else None, FrameClock.EVENT, epoch=epoch,
        )  # fmt: skip


def source(it: Iterator[Item], n: int = 10) -> OfflineInput:
    return OfflineInput("test", rig(), it, n * PERIOD_US)


class Recorder:
    """A sink that keeps everything."""

    def __init__(self) -> None:
        self.pictures: list[np.ndarray] = []
        self.stamps: list[object] = []

    def add(self, image: np.ndarray, stamp: object) -> None:
        self.pictures.append(np.array(image))
        self.stamps.append(stamp)


class Plain:
    """A restorer that gives the frame back, `lag` exposures late if asked to."""

    name = "plain"

    def __init__(self, lag: int = 0, fixed: tuple[float, ...] = ()) -> None:
        latent = LatentTimes.FIXED if fixed else LatentTimes.ANY
        self.needs = Needs(frames_before=lag, frames_after=lag, latent=latent, fixed_latents=fixed)
        self.calls: list[str] = []

    def prepare(self, width: int, height: int) -> None:
        self.calls.append(f"prepare {width}×{height}")

    def restore(self, window: Sequence[AlignedExposure], latents: Sequence[float]) -> Restored:
        e = window[self.needs.frames_before]
        return Restored(
            e.ordinal, tuple(latents), tuple(e.exposure.time_at(v) for v in latents),
            np.stack([e.frame.image] * len(latents)), self.name,
            flags=(f"saturated {e.ordinal % 3} %",), figures={"contrast_on": 0.2},
        )  # fmt: skip

    def reset(self) -> None:
        self.calls.append("reset")

    def set(self, options: dict[str, object]) -> None:
        pass
