"""Crops and turns, the same ones for everything that lies on one pixel grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capture.errors import UsageError
from training.data.sets.facts import SequenceFacts

Planes = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Cut:
    """A part of a picture.

    Attributes:
        top, left, height, width: in pixels.
        turn: bit 0: mirrored left to right, bit 1: upside down, bit 2: rows and columns exchanged (last).
    """

    top: int
    left: int
    height: int
    width: int
    turn: int = 0

    def of(self, planes: Planes) -> Planes:
        """The part of (…, H, W), contiguous."""
        x = planes[..., self.top : self.top + self.height, self.left : self.left + self.width]
        return turned(x, self.turn)


def turned(planes: Planes, turn: int) -> Planes:
    """(…, H, W) mirrored and transposed; see `Cut.turn`."""
    x = planes[..., ::-1] if turn & 1 else planes
    x = x[..., ::-1, :] if turn & 2 else x
    return np.ascontiguousarray(np.swapaxes(x, -1, -2) if turn & 4 else x)


def random_cut(rng: np.random.Generator, size: tuple[int, int], side: int, turns: Sequence[int]) -> Cut:
    """A square at a place drawn evenly (row first, then column), in one of `turns`.

    Args:
        size: (width, height) of the picture, at least `side` each.
    """
    width, height = size
    top, left = int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1))
    return Cut(top, left, side, side, int(turns[int(rng.integers(len(turns)))]))


def middle_cut(size: tuple[int, int], side: int) -> Cut:
    """The square in the middle."""
    width, height = size
    return Cut((height - side) // 2, (width - side) // 2, side, side)


def whole_cut(size: tuple[int, int], multiple: int = 1) -> Cut:
    """The whole picture, its right and lower rest beyond a multiple left out."""
    width, height = size
    return Cut(0, 0, height // multiple * multiple, width // multiple * multiple)


def require_room(sequences: Sequence[SequenceFacts], side: int) -> None:
    """Refuse a crop that does not fit. Sequences of different sizes may stand in one set.

    Raises:
        UsageError: names the sequence.
    """
    for s in sequences:
        if min(s.size) < side:
            raise UsageError(
                f"a crop of {side} does not fit {s.name} ({s.size[0]}×{s.size[1]}): set data.options.crop lower"
            )


def planes(picture: NDArray[np.uint8], order: str) -> NDArray[np.uint8]:
    """(H, W, 3) RGB → (3, H, W) in the order "rgb" or "bgr", a view."""
    x = np.moveaxis(picture, 2, 0)
    return x[::-1] if order == "bgr" else x
