"""GEM's losses (X. Zhang et al., ICCV 2023), which need no sharp picture, only two frames in a row.

With b the frame, B the large blur (the mean of both frames), s the instant, and (L, R) the network's picture
and ratio for a target within a blur; all are mean absolute differences (or squared ones, by option):

    brightness   | L(B→b) − b |                             50    the large blur restores the frame
    structure    | R(B→s) / R(b→s) − R(B→b) |                1    ratios must chain
    temporal     | T(b→s) − L(B→s) |                        50    second stage: T is the frozen teacher's L
    spatial      | D(T(b→s)) − L(B→s, from D(B)) |          50    second stage: at a lower resolution

L and T are clipped to 0…1 before every use, without gradient outside; R is not. The divisor has no epsilon:
softplus keeps it positive. D reduces by bicubic interpolation (no antialiasing) and clips; events are not
reduced.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from training.losses.shapes import same

WEIGHTS = {"brightness": 50.0, "structure": 1.0, "temporal": 50.0, "spatial": 50.0}
STEP = 32  # reduced heights are multiples of it

Difference = Literal["l1", "l2"]


class Network(Protocol):
    """GEM's network, `inference.networks.build("gem")`."""

    def __call__(self, events: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        """Picture (not clipped) and ratio, (N, 3, H, W) each."""


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Training items, in the order in which the published data class returns them.

    Attributes:
        sharp_from_frame, sharp_from_large, frame_from_large: (N, C, h, w) EGER of b→s, B→s and B→b.
        frame, large: (N, 3, H, W) BGR in 0…1, b and B.
    """

    sharp_from_frame: Tensor
    sharp_from_large: Tensor
    frame_from_large: Tensor
    frame: Tensor
    large: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """The unweighted losses of one step; None where the first stage has none."""

    brightness: Tensor
    structure: Tensor
    temporal: Tensor | None = None
    spatial: Tensor | None = None

    def total(self, weights: Mapping[str, float] = WEIGHTS) -> Tensor:
        """The weighted sum, what a step minimises."""
        values = {name: getattr(self, name) for name in WEIGHTS}
        return torch.stack([weights[name] * v for name, v in values.items() if v is not None]).sum()


def first_stage(network: Network, batch: Batch, difference: Difference = "l1") -> Parts:
    """Brightness and structure consistency; one forward pass on the stacked batch."""
    return _consistency(_forward(network, batch), batch, difference)


def second_stage(
    network: Network, teacher: Network, batch: Batch, height: int, difference: Difference = "l1"
) -> Parts:
    """The first stage's losses, and what the teacher knows of the frame held against the large blur.

    Args:
        network: learns.
        teacher: the best network of the cycle before, frozen; no gradient is kept for it.
        batch: the items.
        height: rows that pictures are reduced to for the spatial loss, see `draw_height`.
        difference: "l1" as published in all configurations, or "l2".
    """
    student = _forward(network, batch)
    with torch.no_grad():
        truth = teacher(batch.sharp_from_frame, batch.frame)[0].clamp(0, 1)
    small, _ = network(batch.sharp_from_large, reduced(batch.large, height))
    first = _consistency(student, batch, difference)
    return Parts(
        first.brightness,
        first.structure,
        temporal=_mean(truth, student.sharp_from_large, difference),
        spatial=_mean(reduced(truth, height), small.clamp(0, 1), difference),
    )


def reduced(image: Tensor, height: int) -> Tensor:
    """D: bicubic reduction to `height` rows and as many columns as keep the shape, then clipped to 0…1.

    Args:
        image: (N, C, H, W) in 0…1.
        height: 1…H; H leaves the picture's values alone.

    Raises:
        ValueError: another height.
    """
    rows, columns = image.shape[-2:]
    if not 0 < height <= rows:
        raise ValueError(f"GEM's reduction to {height} of {rows} rows: expected 1 to {rows}")
    size = (height, max(1, columns * height // rows))
    return F.interpolate(image, size=size, mode="bicubic", align_corners=False).clamp(0, 1)


def draw_height(event_rows: int, image_rows: int, rng: np.random.Generator | np.random.RandomState) -> int:
    """The height for one step's spatial loss: uniform in event_rows…image_rows, down to a multiple of 32.

    At equal resolution that is the full height, where it is such a multiple. *Published*: event crops below 32
    rows can give 0, and the step fails. *Corrected*, here: not below 32 rows, or the picture's own where it has
    fewer.

    Args:
        event_rows, image_rows: of the crops.
        rng: the published code draws from NumPy's global one.

    Raises:
        ValueError: more event rows than image rows, or none.
    """
    if not 0 < event_rows <= image_rows:
        raise ValueError(
            f"GEM's crops of {event_rows} event rows and {image_rows} image rows: no height lies between"
        )
    drawn = (
        rng.integers(event_rows, image_rows, endpoint=True)
        if isinstance(rng, np.random.Generator)
        else rng.randint(event_rows, image_rows + 1)
    )
    return max(int(drawn) // STEP * STEP, min(STEP, image_rows))


@dataclass(frozen=True, slots=True, eq=False)
class _Student:
    frame_from_large: Tensor
    sharp_from_large: Tensor
    ratio_sharp_from_frame: Tensor
    ratio_frame_from_large: Tensor
    ratio_sharp_from_large: Tensor


def _forward(network: Network, batch: Batch) -> _Student:
    events = torch.cat([batch.sharp_from_frame, batch.frame_from_large, batch.sharp_from_large])
    latent, ratio = network(events, torch.cat([batch.frame, batch.large, batch.large]))
    (_, frame, sharp), ratios = latent.clamp(0, 1).chunk(3), ratio.chunk(3)
    return _Student(frame, sharp, ratios[0], ratios[1], ratios[2])


def _consistency(student: _Student, batch: Batch, difference: Difference) -> Parts:
    chained = student.ratio_sharp_from_large / student.ratio_sharp_from_frame
    return Parts(
        brightness=_mean(student.frame_from_large, batch.frame, difference),
        structure=_mean(chained, student.ratio_frame_from_large, difference),
    )


def _mean(a: Tensor, b: Tensor, difference: Difference) -> Tensor:
    same(a, b)
    return (a - b).abs().mean() if difference == "l1" else (a - b).square().mean()
