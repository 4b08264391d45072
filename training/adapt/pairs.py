"""Neighbouring exposures of a recording as samples: what the network is fed for both, and the events between.

Two exposures in a row show one scene through different light and different events. Restored at two instants,
the pictures may differ by what the events between those instants say, and by nothing else:

    V₂(t₂) = V₁(t₁) · exp(g_on · n_on − g_off · n_off)

with the events counted from t₁ to t₂. Each picture V is the frame times the ratio of its own double integral,
as far as that is right. All of it lies on the grid on which the network runs, in the frame's stored values.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from capture.errors import UsageError
from capture.packets import Events
from inference import models
from inference.cards import Card
from inference.device import choose_device
from inference.representations.double_integral import Contrast
from inference.representations.double_integral_numba import DoubleIntegral
from inference.restorers.contrast_learner import LEARN_FROM
from inference.restorers.glint import GlintRestorer
from inference.restorers.neural import NeuralRestorer
from inference.restorers.overhearing import Fed
from inference.restorers.placement import represent
from inference.restorers.refine import refine_tensor, refined
from sync.exposure import AlignedExposure
from sync.rig import Rig
from training.adapt.ratios import CONTRASTS

PERIOD, HELD_OUT = 5, 3
"""Of five exposures in a row, three make two pairs to learn from and the other two one to judge by."""
CROPS = 4
MOST_TRAIN, MOST_HELD = 160, 80
"""Samples to learn from and to judge by: one of glint has some 2 MB. Recordings share them alike."""
_LIMIT = 6.0  # largest log ratio; exp(6) = 400 is more than 8 bits can show


@dataclass(frozen=True, slots=True)
class Kind:
    """How a network is called, and what of it is learnt anew.

    Attributes:
        image: which of its arguments is the picture.
        instants: pairs of instants, of the earlier and the later exposure, used in turn.
        picture: the restored picture out of what it gives.
        layers: prefixes of the entries that are learnt, step by step. None for glint: what the camera tells
            goes into a bias (`tune.shifted`); steps on its last layer made neighbours agree better and its
            pictures worse (−0.2 dB against the truth of a simulated rig). Of the others the last convolution
            alone: what is learnt against is the neighbour's double integral, and layers that can imitate it
            do, whose pictures were better (EFNet with its last block: −3.5 dB, agreeing better by a fifth).
        multiple: of which the sides of a crop are, in image pixels, times the cell of the events.
    """

    image: int
    instants: tuple[tuple[float, float], ...]
    picture: Callable[[Any], Tensor]
    layers: tuple[str, ...]
    multiple: int


_GLINT = Kind(0, ((1.0, 0.0), (0.5, 0.5)), lambda y: y, (), 8)
KINDS: Mapping[str, Kind] = {
    "glint": _GLINT,
    "glint-large": _GLINT,
    "efnet": Kind(0, ((0.5, 0.5),), lambda y: y[-1], ("last.",), 4),
    "gem": Kind(1, ((1.0, 0.0), (0.5, 0.5)), lambda y: y[0], ("dec.conv.",), 16),
}  # fmt: skip


def kind_of(network: str) -> Kind:
    """How a network is adapted.

    Raises:
        UsageError: it cannot be.
    """
    if network not in KINDS:
        raise UsageError(f"network {network!r} cannot be adapted to a rig; those that can: {', '.join(KINDS)}")
    return KINDS[network]


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """One of the two exposures, cut.

    Attributes:
        inputs: the network's arguments, batches of one.
        frame: (3, S, S) the blurred picture, 0…1 as stored, in the network's channel order.
        ratios: (4, S, S) log ratios of the double integral at `ratios.CONTRASTS`.
        told: contrast and power of the tone curve that were behind the inputs, where the network is told.
    """

    inputs: tuple[Tensor, ...]
    frame: Tensor
    ratios: Tensor
    told: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """A part of a pair of exposures.

    Attributes:
        before, after: the two.
        counts: (2, S, S) events between their instants, ON and OFF.
    """

    before: Side
    after: Side
    counts: Tensor


@dataclass
class Collector:
    """Makes samples of exposures in order; one recording after the other, each begun with `begin`.

    Attributes:
        train, held: samples to learn from, and to judge by. No exposure is in both.
        skipped: pairs without use, by reason.
    """

    restorer: NeuralRestorer
    kind: Kind
    side: int = 96
    seed: int = 0
    train: list[Sample] = field(default_factory=list)
    held: list[Sample] = field(default_factory=list)
    skipped: dict[str, int] = field(default_factory=dict)
    _integral: DoubleIntegral = field(default_factory=DoubleIntegral)
    _limits: tuple[int, int] = (MOST_TRAIN, MOST_HELD)

    @property
    def count(self) -> int:
        """Samples so far."""
        return len(self.train) + len(self.held)

    def begin(self, left: int) -> None:
        """A recording begins: it may give an equal share of the samples that are still wanted.

        Args:
            left: recordings that are still to come, this one included.
        """
        train, held = len(self.train), len(self.held)
        self._limits = train - (train - MOST_TRAIN) // left, held - (held - MOST_HELD) // left  # rounded up

    def skip(self, reason: str) -> None:
        """Count an exposure or pair that is of no use."""
        self.skipped[reason] = self.skipped.get(reason, 0) + 1

    def add(self, before: AlignedExposure, after: AlignedExposure, events: Events, ordinal: int) -> None:
        """Take a pair in.

        Args:
            before, after: exposures in a row, of one rig.
            events: all from the start of the one to the end of the other.
            ordinal: of `before` in its recording; decides what the pair is for.
        """
        if ordinal < LEARN_FROM:
            # Live, too, the contrast is searched on the first exposures and then held.
            self.restorer.fed([before], 0.5)
            return
        place = ordinal % PERIOD
        if place not in (0, 1, HELD_OUT):
            return
        own, limit = (self.held, self._limits[1]) if place == HELD_OUT else (self.train, self._limits[0])
        if len(own) >= limit:
            return
        at = self.kind.instants[(ordinal // PERIOD + place) % len(self.kind.instants)]
        fed = [self.restorer.fed([e], f) for e, f in zip((before, after), at, strict=True)]
        rig = fed[0].work.rig
        times = [e.exposure.time_at(f) for e, f in zip((before, after), at, strict=True)]
        counts = represent(events.between(*times), rig, 1, _counts)
        sides = [
            (f, self._ratios(e, rig, t))
            for f, e, t in zip(fed, (before, after), times, strict=True)
        ]  # fmt: skip
        chosen = self._places(sides[0][1], counts, fed[0], ordinal, limit - len(own))
        samples = [
            Sample(self._cut(*sides[0], top, left), self._cut(*sides[1], top, left),
                   _part(counts, top, left, self._size(fed[0])))
            for top, left in chosen
        ]  # fmt: skip
        own.extend(samples)

    def _size(self, fed: Fed) -> int:
        """Side of a crop: as wanted, as far as the picture goes."""
        image = fed.inputs[self.kind.image]
        narrowest = min(x.shape[-1] for x in fed.inputs if x.ndim == 4)
        multiple = self.kind.multiple * (image.shape[-1] // narrowest)
        least = int(min(fed.work.pictures[fed.work.index].shape[:2]))
        size = min(self.side, least) // multiple * multiple
        if size == 0:
            raise UsageError(f"pictures of {least} pixels are too small to adapt {self.restorer.name} on")
        return size

    def _places(
        self, ratios: Tensor, counts: Tensor, fed: Fed, ordinal: int, room: int
    ) -> list[tuple[int, int]]:
        """Corners of crops: of those that lie side by side, the ones in which most happens, and chance."""
        size = self._size(fed)
        height, width = counts.shape[-2:]
        happens = ratios[1].abs() + counts.sum(0)
        corners = [
            (top, left)
            for top in range(0, height - size + 1, size)
            for left in range(0, width - size + 1, size)
        ]  # fmt: skip
        rng = np.random.default_rng([self.seed, ordinal])
        weight = np.array([float(_part(happens[None], *c, size).mean()) for c in corners])
        usable = np.flatnonzero(weight > 0)
        if not len(usable):
            self.skip("nothing moved")
            return []
        share = weight[usable] / weight[usable].sum()
        taken = rng.choice(usable, min(CROPS, room, len(usable)), replace=False, p=share)
        return [corners[k] for k in sorted(taken)]

    def _cut(self, fed: Fed, ratios: Tensor, top: int, left: int) -> Side:
        size, image = self._size(fed), fed.inputs[self.kind.image]
        inputs = []
        for x in fed.inputs:
            if x.ndim != 4:
                inputs.append(x)
                continue
            cell = image.shape[-1] // x.shape[-1]
            inputs.append(_part(x, top // cell, left // cell, size // cell))
        told = None
        if isinstance(self.restorer, GlintRestorer):
            contrast, power = self.restorer.told
            told = math.sqrt(contrast.on * contrast.off), power
        return Side(tuple(inputs), _part(image[0], top, left, size), _part(ratios, top, left, size), told)

    def _ratios(self, e: AlignedExposure, rig: Rig, time_us: int) -> Tensor:
        """(4, H, W) log ratios on the network's grid."""
        span = (e.exposure.start_us, e.exposure.end_us)

        def make(events: Events) -> Tensor:
            alike = [
                self._integral.ratios(events, *span, [time_us], Contrast(c, c))[0].copy() for c in CONTRASTS
            ]  # fmt: skip
            maps = torch.from_numpy(np.log(np.stack(alike)).clip(-_LIMIT, _LIMIT))[None]
            return refine_tensor(maps) if refined(rig) else maps

        return represent(e.exposure_events(), rig, 1, make)[0]


def restorer_for(
    network: str, rig: Rig, options: Mapping[str, Any], card: Card | None = None, device: str = "cpu"
) -> NeuralRestorer:
    """A restorer that says what the network would be fed. It runs on the CPU and needs no weights.

    Args:
        network, rig, options: see `models.create`.
        card: of the weights that are to be fed; None: as published.
        device: where the network is to run; a restorer that chooses its grid by the device does for this one.

    Raises:
        UsageError: options that it has not, no such device.
    """
    made = models.create(network, rig, {**options, "random_weights": True}, "cpu")
    assert isinstance(made, NeuralRestorer)
    if card is not None:
        made.feed_for(card)
    chooses = "event" in made.grids and made.options.get("grid", "auto") == "auto"
    if chooses and choose_device(device).type != "cpu":
        made.set({"grid": "image"})  # as "auto" means there
    return made


def _counts(events: Events) -> Tensor:
    """(2, h, w) ON and OFF."""
    n = events.width * events.height
    flat = events.y.astype(np.int64) * events.width + events.x
    both = np.stack([np.bincount(flat[p], minlength=n) for p in (events.p, ~events.p)])
    return torch.from_numpy(both.reshape(2, events.height, events.width).astype(np.float32))


def _part(x: Tensor, top: int, left: int, size: int) -> Tensor:
    return x[..., top : top + size, left : left + size].clone()
