"""A small simulated rig whose streams arrive late, as live ones do, and the truth about its clock."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from capture.packets import EventPacket, Frame
from capture.simulated.presets import configure
from capture.simulated.rig import SimulatedRig
from sync.rig import Rig

SMALL: dict[str, Any] = {
    "image_width": 192, "image_height": 128, "event_width": 96, "event_height": 64, "scale": 2.05,
    "roll_deg": 1.5, "shift_x": 3.0, "shift_y": -2.0, "loop_s": 1.2, "exposure_us": 25_000, "speed": 130.0,
    "clock_offset_ms": -31.0, "clock_drift_ppm": 60.0, "trigger_jitter_us": 5.0, "cache": False,
}  # fmt: skip


@dataclass(frozen=True)
class Arrived:
    """Items with arrival times, and who made them."""

    items: list[EventPacket | Frame]
    rig: Rig
    simulated: SimulatedRig

    def errors_us(self, clock: Any) -> np.ndarray:
        """Of the start of every exposure by a clock."""
        return np.array(
            [
                clock.event_us(f.device_start_ns) - self.simulated.exposure_truth(f.sequence)[0]
                for f in self.items
                if isinstance(f, Frame)
            ]
        )


@cache
def _made(settings: tuple[tuple[str, Any], ...]) -> SimulatedRig:
    rig = SimulatedRig(configure("", {**SMALL, **dict(settings), "cache": True}))
    rig.prepare()
    return rig


def arrived(
    seconds: float = 6.0, *, latency_us: tuple[float, float] = (14_000.0, 18_000.0), host: bool = True,
    frame_loss: float = 0.02, seed: int = 0, **settings: Any,
) -> Arrived:  # fmt: skip
    made = _made(tuple(sorted(settings.items())))
    facts = made.facts()
    rig = Rig.from_facts("simulated", facts)
    clock = rig.clock.model_copy(update={"host_latency_ms": 20.0, "host_latency_spread_ms": 20.0})
    rng = np.random.default_rng(seed)
    found: list[tuple[float, int, EventPacket | Frame]] = []
    for n, item in enumerate(made.items(seconds)):
        if isinstance(item, EventPacket):
            at = item.complete_until_us + rng.uniform(300, 900)
        elif rng.random() < frame_loss:
            continue
        else:
            at = made.exposure_truth(item.sequence)[1] + rng.uniform(*latency_us)
        found.append((at, n, item))
    if host:
        found.sort(key=lambda v: v[:2])
    items = [replace(i, host_ns=10**12 + int(at * 1000) if host else 0) for at, _, i in found]
    return Arrived(items, rig.model_copy(update={"clock": clock}), made)
