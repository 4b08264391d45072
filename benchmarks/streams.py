"""Exposures of the simulated rig with the events around them, for benchmarks that run restorers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from capture.packets import EventPacket, Events, Frame
from capture.simulated import presets
from capture.simulated.rig import SimulatedRig
from inference.restorers.base import Needs
from sync.exposure import AlignedExposure, Exposure, ExposureSource
from sync.rig import Rig


@dataclass(frozen=True)
class Stream:
    """A preset's first seconds.

    Attributes:
        name: of the preset.
        simulated: knows the truth.
        rig: as its cameras state it.
        frames, events: all of them.
    """

    name: str
    simulated: SimulatedRig
    rig: Rig
    frames: tuple[Frame, ...]
    events: Events

    @classmethod
    def of(cls, preset: str, seconds: float, **settings: Any) -> Stream:
        """Run a preset, with settings of its own, for so long, noise and all."""
        simulated = SimulatedRig(presets.configure(preset, settings))
        rig = Rig.from_facts(preset, simulated.facts())
        items = list(simulated.items(seconds))
        frames = tuple(item for item in items if isinstance(item, Frame))
        packets = [item.events for item in items if isinstance(item, EventPacket)]
        return cls(preset, simulated, rig, frames, Events.concatenate(packets))

    def exposures(self, needs: Needs, count: int) -> list[AlignedExposure]:
        """The first exposures that have all the events around them that a restorer needs.

        Their start and end are the truth: what is measured here is the network alone.
        """
        out: list[AlignedExposure] = []
        for frame in self.frames:
            start, end = self.simulated.exposure_truth(frame.sequence)
            first, last = round(start) - needs.margin_before_us, round(end) + needs.margin_after_us
            if len(out) == count or not len(self.events) or last > self.events.t[-1]:
                break
            if first < self.events.t[0]:
                continue
            exposure = Exposure(round(start), round(end), ExposureSource.TRIGGER, 0.0)
            events = self.events.between(first, last)
            out.append(AlignedExposure(frame, exposure, events, first, last, self.rig, frame.sequence))
        return out
