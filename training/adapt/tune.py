"""Fits a network to samples of one rig, and stops where held-out exposures say so.

glint is told the learnt camera (`shifted`); of the others the last convolution is learnt anew, step by step.

What is kept is the state that agrees best on the held-out samples; and it is kept only where that agrees
clearly better than the network as it came: by `GAIN` in the mean, and by twice the standard error of the
samples' differences. Otherwise the network stays as it was.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from capture.validation import Strict
from inference.networks.glint import Glint
from inference.representations.edi_stack import KNOWN, MULTIPLES
from training.adapt.camera import Camera
from training.adapt.consistency import agreement
from training.adapt.pairs import Kind, Sample
from training.adapt.ratios import between
from training.errors import TrainingError

GAIN = 0.1
"""Least gain of agreement, as a share. Below it agreement does not tell better pictures from worse ones: on
simulated rigs 2.6 % came with -0.6 dB against the truth (glint), 5.1 % with -1.4 and 8.3 % with 0.0 (EFNet)."""
SHIFTS = (0.5, 1.0, 1.5)
"""Shares of the way from the contrast that was fed to the one that was learnt; see `shifted`."""
_LEAST, _MOST = 0.3, 2.5  # contrasts that the stack's ratios can stand for, as multiples of the one told
_PATIENCE = 4


class Settings(Strict):
    """How it is learnt.

    Attributes:
        steps: at most.
        rate: Adam's learning rate at the start; it falls to 0 along a cosine.
        batch: samples a step.
        every: steps between two looks at the held-out samples.
        seed: of the order of samples.
    """

    steps: int = Field(default=200, ge=0, le=100_000)
    rate: float = Field(default=1e-3, gt=0, le=1)
    batch: int = Field(default=4, ge=1, le=256)
    every: int = Field(default=20, ge=1)
    seed: int = Field(default=0, ge=0)


@dataclass(frozen=True, slots=True, eq=False)
class Tuned:
    """What came out.

    Attributes:
        entries: the network's, adapted or as it came.
        adapted: they changed.
        before, after: disagreement of the held-out samples, as the network came and as it is now.
        steps: of the state that is kept.
    """

    entries: dict[str, Tensor]
    adapted: bool
    before: float
    after: float
    steps: int


def tune(
    network: nn.Module,
    kind: Kind,
    train: Sequence[Sample],
    held: Sequence[Sample],
    camera: Camera,
    settings: Settings,
    told: Callable[[int, float], None] = lambda _step, _value: None,
) -> Tuned:
    """Adapt a copy of a network.

    Args:
        network: with its weights.
        kind: how it is called.
        train, held: samples to learn from, and to judge by.
        camera: learnt from `train`.
        settings: see there.
        told: is given step and disagreement at every look.

    Raises:
        TrainingError: the loss is not finite.
    """
    came = network.eval()
    before = judged(came, kind, held, camera)
    told(0, float(before.mean()))
    start, best_judged = came, before
    if isinstance(came, Glint):
        shares = [shifted(came, train, camera, share) for share in SHIFTS]
        start = min([came, *shares], key=lambda n: float(judged(n, kind, train, camera).mean()))
        best_judged = judged(start, kind, held, camera)
        told(0, float(best_judged.mean()))
    start = copy.deepcopy(start)
    best, best_step = copy.deepcopy(start), 0
    learnt = [p for name, p in start.named_parameters() if name.startswith(kind.layers)]
    start.requires_grad_(False)
    for p in learnt:
        p.requires_grad_(True)
    optimiser = torch.optim.Adam(learnt, lr=settings.rate) if learnt else None
    rng, since = np.random.default_rng(settings.seed), 0
    for step in range(1, settings.steps + 1):
        if optimiser is None:
            break
        rate = settings.rate * (1 + math.cos(math.pi * step / settings.steps)) / 2
        for group in optimiser.param_groups:
            group["lr"] = rate
        picked = rng.choice(len(train), min(settings.batch, len(train)), replace=False)
        loss = agreement(start, kind, [train[k] for k in picked], camera).total
        if not bool(loss.isfinite()):
            raise TrainingError(f"the loss of step {step} is not finite; give a lower --set rate=")
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        if step % settings.every and step != settings.steps:
            continue
        now = judged(start, kind, held, camera)
        told(step, float(now.mean()))
        if now.mean() < best_judged.mean():
            best, best_judged, best_step, since = copy.deepcopy(start), now, step, 0
            continue
        since += 1
        if since >= _PATIENCE:
            break
    if clearly_better(before, best_judged):
        return Tuned(_entries(best), True, float(before.mean()), float(best_judged.mean()), best_step)
    return Tuned(_entries(came), False, float(before.mean()), float(before.mean()), 0)


def clearly_better(before: NDArray[np.float64], after: NDArray[np.float64]) -> bool:
    """Whether samples agree better by more than chance and by more than next to nothing."""
    gain = before - after
    error = float(gain.std(ddof=1)) / math.sqrt(len(gain)) if len(gain) > 1 else math.inf
    return bool(gain.mean() > max(GAIN * before.mean(), 2 * error))


def judged(network: nn.Module, kind: Kind, samples: Sequence[Sample], camera: Camera) -> NDArray[np.float64]:
    """Disagreement of each sample."""
    with torch.no_grad():
        return np.array([float(agreement(network, kind, [s], camera).neighbours) for s in samples])


def shifted(network: Glint, samples: Sequence[Sample], camera: Camera, share: float) -> Glint:
    """glint that follows the learnt camera where it was told another contrast or tone.

    The network begins with EDI's picture and weighs the log ratios by which that is changed; a constant in the
    weights is a bias of its last layer. So the correction lies in the weights, and whoever uses them feeds what
    they always did.
    """
    told = np.array([x.told for s in samples for x in (s.before, s.after) if x.told is not None])
    contrast, power = told.mean(0)
    factor = min(max(camera.contrast / contrast, _LEAST), _MOST)
    wanted = camera.power / power * between(MULTIPLES, factor)
    wanted[KNOWN] -= 1
    change = share * torch.from_numpy(wanted).float()
    out: Any = copy.deepcopy(network)
    area = network.cell**2
    with torch.no_grad():
        bias = out.head.bias.view(network.outputs, area)
        bias[: len(change)] += change[:, None].to(bias.device)
    made: Glint = out
    return made


def _entries(network: nn.Module) -> dict[str, Tensor]:
    return {name: t.detach().clone() for name, t in network.state_dict().items()}
