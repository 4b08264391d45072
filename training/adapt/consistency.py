"""How well restored neighbours agree: the loss of adapting, and its judge on exposures not learnt from.

Each restored picture is held against its neighbour's frame, carried over to its own instant by the neighbour's
double integral r and the events b between the instants; where all is right,

    V₁ = B₂ · exp(r₂ − b)        and        V₂ = B₁ · exp(r₁ + b)

which says that a restored picture, moved through the next exposure by its events and blurred again, has to be
the next frame. The right sides are noisy, but their noise comes from another frame and other events than the
network was shown, so it cannot learn it (J. Lehtinen et al., Noise2Noise, ICML 2018); differences count by
their size, since the noise of a ratio has a middle rather than a mean. A share of the picture's own re-blur
consistency, V = B · exp(r), is added for learning alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from training.adapt.camera import BRIGHT, DARK, Camera
from training.adapt.pairs import Kind, Sample, Side

REBLUR = 0.25
LIMIT = 0.25
_RATIO = 3.0  # largest log ratio, as in glint
_EPSILON = 2e-3


@dataclass(frozen=True, slots=True, eq=False)
class Agreement:
    """The two terms of some samples, as scalars: against the neighbour's frame, and against the own one."""

    neighbours: Tensor
    reblur: Tensor

    @property
    def total(self) -> Tensor:
        """What is minimised."""
        return self.neighbours + REBLUR * self.reblur


def agreement(network: nn.Module, kind: Kind, samples: Sequence[Sample], camera: Camera) -> Agreement:
    """Both terms of a batch of samples of one size."""
    befores, afters = [s.before for s in samples], [s.after for s in samples]
    first, second = restored(network, kind, befores), restored(network, kind, afters)
    counts = torch.stack([s.counts for s in samples]).to(first.device)
    bridge = camera.on * counts[:, :1] - camera.off * counts[:, 1:]
    weights = torch.from_numpy(camera.weights).to(first.device)[:, None, None]
    frame_1, frame_2 = (torch.stack([s.frame for s in x]).to(first.device) for x in (befores, afters))
    log_1, log_2 = (
        (torch.stack([s.ratios for s in x]).to(first.device) * weights).sum(1, keepdim=True)
        for x in (befores, afters)
    )
    neighbours = _apart(first, frame_2, log_2 - bridge) + _apart(second, frame_1, log_1 + bridge)
    reblur = _apart(first, frame_1, log_1) + _apart(second, frame_2, log_2)
    return Agreement(neighbours / 2, reblur / 2)


def restored(network: nn.Module, kind: Kind, sides: Sequence[Side]) -> Tensor:
    """(N, 3, S, S) pictures of samples' sides, in the network's channel order, not clipped."""
    device = next(network.parameters()).device
    arguments = [torch.cat(a).to(device) for a in zip(*(s.inputs for s in sides), strict=True)]
    found: Any = network(*arguments)
    return kind.picture(found)


def _apart(picture: Tensor, frame: Tensor, log: Tensor) -> Tensor:
    """Mean difference of pictures from frames carried over, where those tell anything."""
    target = frame * torch.exp(log.clamp(-_RATIO, _RATIO))
    value = frame.mean(1, keepdim=True)
    # Clipped and black light obeys no ratio; beyond white no picture can go.
    usable = (value > DARK) & (value < BRIGHT) & (target.amax(1, keepdim=True) < 1)
    difference = picture - target
    # As the absolute value, smooth at 0; beyond `LIMIT` nothing pulls any more.
    size = torch.sqrt(difference * difference + _EPSILON**2).clamp(max=LIMIT)
    return (size * usable).mean() / usable.float().mean().clamp(min=1e-3)
