"""Losses compare tensors of one shape only; broadcasting would compute something else in silence."""

from __future__ import annotations

from torch import Tensor


def same(prediction: Tensor, target: Tensor) -> None:
    """Refuse two tensors that are not both (N, C, H, W) of one size.

    Raises:
        ValueError: they are not.
    """
    if prediction.shape != target.shape or prediction.ndim != 4:
        found = f"{tuple(prediction.shape)} and {tuple(target.shape)}"
        raise ValueError(f"loss between {found}: expected two (N, C, H, W) of one size")
