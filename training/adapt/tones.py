"""Whether frames follow light as the rig file says: which tone curve the camera fits, and samples fed so.

A rig file that is wrong about the tone curve costs glint a decibel, and no step on its weights gives it back
as the right word does. How much of a value's logarithm light stands for is learnt from pairs of frames
(`camera.Camera.power`: about 1 for values proportional to light, about 1 / 2.2 for sRGB), without the network
and whatever it was told. Where that clearly says the other curve, the recordings are gone through once more;
and if the network agrees no worse with its neighbours when it is told so, it is told so from then on: its card
carries the curve.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn

from inference.cards import Card
from inference.restorers.glint import SRGB_POWER, GlintRestorer
from inference.restorers.neural import NeuralRestorer
from sync.rig import Rig
from training.adapt.camera import Camera
from training.adapt.pairs import Collector, Kind, restorer_for
from training.adapt.tune import judged

POWERS: Mapping[str, float] = {"linear": 1.0, "srgb": SRGB_POWER}
CLEAR = 1.25
"""The power has to lie on one side of the middle between both curves by this factor."""


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """What a network is fed.

    Attributes:
        own: as it is told the tone curve now.
        collect_other: makes the same as if it were told the other one, which takes as long once more; None for
            networks that are not told.
        tone: of the other way.
    """

    own: Collector
    collect_other: Callable[[], Collector] | None = None
    tone: str = ""


def samples_for(
    network: str,
    rig: Rig,
    options: Mapping[str, Any],
    kind: Kind,
    collect: Callable[[Collector], None],
    side: int = 96,
    card: Card | None = None,
    device: str = "cpu",
) -> Samples:
    """Samples of one rig.

    Args:
        network, options: whose, see `pairs.restorer_for`.
        rig: as its file says.
        kind: how the network is called.
        collect: gives a collector every pair there is (`Collector.begin`, `add`), in the same order each time.
        side: of a sample.
        card, device: see `pairs.restorer_for`.

    Raises:
        UsageError: as `pairs.restorer_for`.
    """

    def collected(restorer: NeuralRestorer) -> Collector:
        collector = Collector(restorer, kind, side)
        collect(collector)
        return collector

    restorer = restorer_for(network, rig, options, card, device)
    own = collected(restorer)
    if not isinstance(restorer, GlintRestorer):
        return Samples(own)
    tone = "srgb" if restorer.rig.image.tone == "linear" else "linear"
    told = {**options, "camera_tone": tone}
    return Samples(own, lambda: collected(restorer_for(network, rig, told, card, device)), tone)


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
    own = samples.own
    before = float(np.mean(judged(network, own.kind, own.held, camera)))
    as_before = Choice(own, "", before)
    if samples.collect_other is None or told_by(camera) != samples.tone:
        return as_before
    other = samples.collect_other()
    now = float(np.mean(judged(network, other.kind, other.held, camera)))
    return Choice(other, samples.tone, before) if now < before else as_before
