"""Whether frames follow light as the rig file says: samples fed both ways, and which the camera fits.

A rig file that is wrong about the tone curve costs glint a decibel, and no step on its weights gives it back
as the right word does. How much of a value's logarithm light stands for is learnt from pairs of frames
(`camera.Camera.power`: about 1 for values proportional to light, about 1 / 2.2 for sRGB), without the network
and whatever it was told. Where that clearly says the other curve, and the network agrees no worse with its
neighbours when it is told so, it is told so from then on: its card carries the curve.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn

from capture.packets import Events
from inference.restorers.glint import SRGB_POWER, GlintRestorer
from sync.exposure import AlignedExposure
from sync.rig import Rig
from training.adapt.camera import Camera
from training.adapt.pairs import Collector, Kind, restorer_for
from training.adapt.tune import judged

POWERS: Mapping[str, float] = {"linear": 1.0, "srgb": SRGB_POWER}
CLEAR = 1.25
"""The power has to lie on one side of the middle between both curves by this factor."""


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """What a network is fed, as it is told the tone curve now, and as if it were told the other one.

    Attributes:
        own: as it is told.
        other: the same exposures the other way; None for networks that are not told.
        tone: of the other way.
    """

    own: Collector
    other: Collector | None = None
    tone: str = ""

    def add(self, before: AlignedExposure, after: AlignedExposure, events: Events, ordinal: int) -> None:
        """See `Collector.add`."""
        self.own.add(before, after, events, ordinal)
        if self.other is not None:
            self.other.add(before, after, events, ordinal)


def samples_for(network: str, rig: Rig, options: Mapping[str, Any], kind: Kind, side: int = 96) -> Samples:
    """Both ways for one rig.

    Raises:
        UsageError: as `pairs.restorer_for`.
    """
    own = restorer_for(network, rig, options)
    if not isinstance(own, GlintRestorer):
        return Samples(Collector(own, kind, side))
    tone = "srgb" if own.rig.image.tone == "linear" else "linear"
    other = restorer_for(network, rig, {**options, "camera_tone": tone})
    return Samples(Collector(own, kind, side), Collector(other, kind, side), tone)


def told_by(camera: Camera) -> str:
    """The tone curve that a camera's power speaks for; "": it lies between both."""
    middle = math.sqrt(POWERS["linear"] * POWERS["srgb"])
    if camera.power > middle * CLEAR:
        return "linear"
    return "srgb" if camera.power < middle / CLEAR else ""


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """How the network is fed from now on.

    Attributes:
        samples: fed so.
        tone: the curve that it is told anew; "": as before.
        before: disagreement of the held-out samples as it was fed before.
    """

    samples: Collector
    tone: str
    before: float


def chosen(network: nn.Module, samples: Samples, camera: Camera) -> Choice:
    """Whether the network is to be told the other tone curve."""
    own, other = samples.own, samples.other
    before = float(np.mean(judged(network, own.kind, own.held, camera)))
    as_before = Choice(own, "", before)
    if other is None or told_by(camera) != samples.tone:
        return as_before
    now = float(np.mean(judged(network, other.kind, other.held, camera)))
    return Choice(other, samples.tone, before) if now < before else as_before
