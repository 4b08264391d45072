"""Small recordings of our own format, made by the recorder's own parts from the simulated rig."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from capture.packets import EventPacket, Frame
from capture.simulated.presets import SimulatedConfig
from capture.simulated.rig import SimulatedRig
from recordings.formats.own_about import About, RecordedCamera
from recordings.formats.own_chunks import draft
from recordings.recorder.take import Limits, Take
from sync.rig import Rig

Item = EventPacket | Frame


def about_of(rig: Rig) -> About:
    events = RecordedCamera(name="sim", model="simulated event camera", width=rig.events.width)
    return About(
        started="2026-01-01T00:00:00+00:00", program="halfmirror 0", rig=rig, events=events,
        frames=RecordedCamera(name="sim"),
    )  # fmt: skip


def rig_of_config(config: SimulatedConfig) -> Rig:
    return Rig.from_facts("sim", SimulatedRig(config).facts())


def items_of(config: SimulatedConfig, seconds: float) -> list[Item]:
    return list(SimulatedRig(config).items(seconds))


def write_own(folder: Path, rig: Rig, items: Iterable[Item], limits: Limits | None = None) -> Take:
    """A finished recording of these items."""
    take = Take(folder, about_of(rig), limits or Limits(reserve=0))
    for item in items:
        take.add(item, draft(item, take.watermark_us), 0)
        take.tick()
    take.finish()
    return take


def same(a: Item, b: Item) -> bool:
    """Equal to the last bit and mark."""
    if isinstance(a, Frame) and isinstance(b, Frame):
        plain = [
            (
                f.layout,
                f.sequence,
                f.device_start_ns,
                f.device_end_ns,
                f.clock,
                f.host_ns,
                f.kind,
                f.epoch,
                f.gap,
            )
            for f in (a, b)
        ]
        return plain[0] == plain[1] and a.image.shape == b.image.shape and bool((a.image == b.image).all())
    if not (isinstance(a, EventPacket) and isinstance(b, EventPacket)):
        return False
    marks = [
        (p.complete_until_us, p.host_ns, p.dropped, p.gap, p.rejected, p.epoch, p.events.width, p.events.height)
        for p in (a, b)
    ]
    pairs = [(getattr(a.events, n), getattr(b.events, n)) for n in "txyp"]
    pairs += [(a.triggers.t, b.triggers.t), (a.triggers.rising, b.triggers.rising)]
    if (a.imu is None) != (b.imu is None):
        return False
    if a.imu is not None and b.imu is not None:
        pairs += [(a.imu.t, b.imu.t), (a.imu.values, b.imu.values)]
    return marks[0] == marks[1] and all(u.dtype == v.dtype and np.array_equal(u, v) for u, v in pairs)
