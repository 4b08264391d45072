"""S-SDM's losses (K. Chen et al., NeurIPS 2024), which need no sharp picture.

    BSN:    MSE(TFP9, clip01(BSN(TFP9)))                      the blind spot prevents the identity
    EDSR:   MSE(clip01(EDSR(TFP97)), gray blurry picture)     the long average shows the same blur
    LDN:    λ_tea · mean over i of D(teacher_i, P_i) + λ_re · MSE(B, mean over i of P_i)
            [+ λ_tea · mean over i of (1 − SSIM(teacher_i, P_i))]          P_i = clip01(LDN(B, window i))

with i over the instants 20, 44, 68, 92, 116 (`inference.representations.spikes.LATENTS`), λ_tea = 1, λ_re =
100. D is LPIPS with VGG; it is handed over as a function, since its weights are not part of this project.

Clipping passes no gradient where a prediction is outside 0…1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from inference.representations.coding import Mode
from training.losses.shapes import same
from training.metrics.structure import similarity

TEACHER, REBLUR = 1.0, 100.0

Distance: TypeAlias = Callable[[Tensor, Tensor], Tensor]


def imitation(network: Tensor, target: Tensor) -> Tensor:
    """Mean squared error of the clipped prediction: BSN against its own input, EDSR against the gray picture.

    Args:
        network: (N, 1, H, W), not clipped.
        target: BSN: the short average that went in. EDSR: gray of the blurry picture, 0.11 B + 0.59 G + 0.3 R.

    Raises:
        ValueError: different shapes.
    """
    same(network, target)
    return (network.clamp(0, 1) - target).square().mean()


def reblur(blurry: Tensor, predictions: Sequence[Tensor]) -> Tensor:
    """MSE between the blurry picture and the mean of the clipped predictions, without λ_re.

    Args:
        blurry: (N, 3, H, W) in 0…1.
        predictions: LDN's outputs at instants that are spread evenly over the exposure, not clipped.

    Raises:
        ValueError: no prediction, or different shapes.
    """
    clipped = _clipped(predictions)
    same(clipped[0], blurry)
    return (torch.stack(clipped).mean(dim=0) - blurry).square().mean()


def teaching(
    teachers: Sequence[Tensor], predictions: Sequence[Tensor], distance: Distance, mode: Mode = Mode.CORRECTED
) -> Tensor:
    """Mean over the instants of the perceptual distance to the teacher's pictures, without λ_tea.

    Args:
        teachers: (N, 3, H, W) BGR in 0…1, one an instant; no gradient flows to them.
        predictions: LDN's outputs at the same instants, not clipped.
        distance: gives one number, or one a sample, for two (N, 3, H, W). LPIPS expects RGB in −1…1.
        mode: PUBLISHED: it is handed BGR in 0…1 all the same; that is what λ_re = 100 was balanced with.
            CORRECTED (default for new training): it is handed what it expects, RGB in −1…1. Distances come
            out larger, so the re-blur term weighs less beside them; choose λ_re anew.

    Raises:
        ValueError: no prediction, different numbers or shapes.
    """
    parts = []
    for teacher, own in _pairs(teachers, predictions):
        a, b = (teacher, own) if mode is Mode.PUBLISHED else (2 * x.flip(1) - 1 for x in (teacher, own))
        parts.append(distance(a, b).mean())
    return torch.stack(parts).mean()


def dissimilarity(teachers: Sequence[Tensor], predictions: Sequence[Tensor]) -> Tensor:
    """Mean over the instants of 1 − SSIM, Gaussian window 11×11, range 1; off in published training.

    Args:
        teachers, predictions: as at `teaching`, sides at least 11.

    Raises:
        ValueError: no prediction, different numbers or shapes, or pictures below 11×11.
    """
    values = [1 - similarity(teacher, own).mean() for teacher, own in _pairs(teachers, predictions)]
    return torch.stack(values).mean()


def loss(
    blurry: Tensor,
    teachers: Sequence[Tensor],
    predictions: Sequence[Tensor],
    distance: Distance,
    *,
    mode: Mode = Mode.CORRECTED,
    reblur_weight: float = REBLUR,
    structure: bool = False,
) -> Tensor:
    """LDN's loss of one step, over all instants of a batch.

    Args:
        blurry, teachers, predictions, distance, mode: see `reblur` and `teaching`.
        reblur_weight: λ_re.
        structure: add `dissimilarity`.

    Raises:
        ValueError: as they do.
    """
    total = TEACHER * teaching(teachers, predictions, distance, mode) + reblur_weight * reblur(
        blurry, predictions
    )
    return total + TEACHER * dissimilarity(teachers, predictions) if structure else total


def _clipped(predictions: Sequence[Tensor]) -> list[Tensor]:
    if not predictions:
        raise ValueError("S-SDM's loss of no instant")
    return [p.clamp(0, 1) for p in predictions]


def _pairs(teachers: Sequence[Tensor], predictions: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
    if len(teachers) != len(predictions):
        raise ValueError(
            f"S-SDM's loss: {len(teachers)} pictures of the teacher for {len(predictions)} predictions"
        )
    pairs = [(t.detach(), p) for t, p in zip(teachers, _clipped(predictions), strict=True)]
    for teacher, own in pairs:
        same(own, teacher)
    return pairs
