"""What all measures need first: two pictures on one grid, as float64 planes, refused in one line if they are
not.

Layout goes by the type, as everywhere in the program: numpy arrays are pictures, (H, W) or (H, W, C); torch
tensors are what networks take and give, (H, W), (C, H, W) or (N, C, H, W). The two of a pair may differ in
that.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Picture: TypeAlias = NDArray[Any] | Tensor


def planes(picture: Picture) -> Tensor:
    """(N, C, H, W) float64 of a picture of any accepted layout and type; values as they are.

    Raises:
        ValueError: another number of axes, no pixel, or a value that is not finite.
    """
    if isinstance(picture, Tensor):
        x = picture.detach()
        if x.ndim not in (2, 3, 4):
            raise ValueError(f"tensor {tuple(x.shape)}: expected (H, W), (C, H, W) or (N, C, H, W)")
    else:
        array = np.asarray(picture)
        if array.ndim not in (2, 3):
            raise ValueError(f"picture {array.shape}: expected (H, W) or (H, W, C)")
        x = torch.from_numpy(np.array(np.moveaxis(array, 2, 0) if array.ndim == 3 else array))
    if x.numel() == 0:
        raise ValueError(f"picture {tuple(picture.shape)} has no pixel")
    if x.device.type == "mps":  # it has no float64
        x = x.cpu()
    x = x.double().reshape((1,) * (4 - x.ndim) + tuple(x.shape))
    if not bool(x.isfinite().all()):
        raise ValueError(f"picture {tuple(picture.shape)} holds values that are not finite; nothing to measure")
    return x


def pair(result: Picture, truth: Picture, *, border: int = 0) -> tuple[Tensor, Tensor]:
    """Both as `planes` on the device of the first.

    Args:
        result, truth: of one size.
        border: pixels to leave out along every side.

    Raises:
        ValueError: as `planes`; different sizes; no pixel inside the border.
    """
    a, b = planes(result), planes(truth)
    if a.shape != b.shape:
        raise ValueError(f"{_size(a)} cannot be measured against {_size(b)}")
    if border:
        if min(a.shape[-2:]) <= 2 * border:
            raise ValueError(f"{_size(a)}: no pixel is left without a border of {border}")
        a, b = (x[..., border:-border, border:-border] for x in (a, b))
    return a, b.to(a.device)


def floating_pair(result: Picture, truth: Picture, name: str) -> tuple[Tensor, Tensor]:
    """As `pair`, for an evaluation that is defined on floating point only.

    Raises:
        ValueError: as `pair`, or another type; `name` says whose evaluation it is.
    """
    for x in (result, truth):
        if "float" not in str(x.dtype):
            raise ValueError(f"{name} is measured on floating point in 0…1, not {x.dtype}; divide by 255")
    return pair(result, truth)


def peak_of(result: Picture, truth: Picture, peak: float | None) -> float:
    """The largest value that a picture can have: told, or 255 for uint8 and 1 for floating point.

    Raises:
        ValueError: not told, and the two differ in it or are of a type that does not tell; not positive.
    """
    if peak is not None:
        if not peak > 0:
            raise ValueError(f"peak {peak}: must be positive")
        return peak
    known = {_peak(x) for x in (result, truth)}
    if len(known) != 1:
        raise ValueError(
            f"pictures of {result.dtype} and {truth.dtype} have different ranges; convert one, or say peak"
        )
    return known.pop()


def _peak(picture: Picture) -> float:
    kind = str(picture.dtype).removeprefix("torch.")
    if kind == "uint8":
        return 255.0
    if "float" in kind:
        return 1.0
    raise ValueError(f"type {kind} does not tell its range; give uint8, floating point in 0…1, or say peak")


def _size(x: Tensor) -> str:
    n, c, h, w = x.shape
    return f"{n} picture{'s' if n > 1 else ''} of {w}×{h} with {c} channel{'s' if c > 1 else ''}"
