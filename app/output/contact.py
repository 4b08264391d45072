"""A contact sheet: pairs blurred | sharp spread evenly over a run, on one page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from app.output.labels import draw_text, side_by_side

T = TypeVar("T")
U8 = NDArray[np.uint8]
_GAP = 8
_BACKGROUND = (27, 29, 32)


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """One entry: both pictures (H, W[, 3]) uint8 and a line of text. `sharp` None: refused."""

    blurred: U8
    sharp: U8 | None
    label: str


class EvenSample(Generic[T]):
    """Keeps items evenly spread over a stream of unknown length, between `size` and 2 `size` - 1 of them.

    When full, every second one is let go and the stride doubles.
    """

    def __init__(self, size: int) -> None:
        if size < 1:
            raise ValueError("a sample needs at least one item")
        self._size = size
        self._kept: list[T] = []
        self._stride = 1
        self._seen = 0

    def wants(self) -> bool:
        """True when the next item would be kept (so that the caller copies only those)."""
        return self._seen % self._stride == 0

    def add(self, item: T) -> None:
        """Show one item to the sample."""
        if self.wants():
            self._kept.append(item)
            if len(self._kept) == 2 * self._size:
                del self._kept[1::2]
                self._stride *= 2
        self._seen += 1

    def skip(self) -> None:
        """Count one item that `wants` declined."""
        self._seen += 1

    def items(self) -> list[T]:
        """Up to `size` of them, evenly picked, in order."""
        n = len(self._kept)
        if n <= self._size:
            return list(self._kept)
        picks = np.linspace(0, n - 1, self._size).round().astype(int)
        return [self._kept[i] for i in picks]


def contact_sheet(pairs: Sequence[Pair], *, title: str = "", columns: int = 2, cell_width: int = 800) -> U8:
    """(H, W, 3) RGB: every pair with its label above, `columns` pairs a row, at most `cell_width` wide each.

    Pairs of different sizes are scaled to one width; heights may differ.

    Raises:
        ValueError: no pairs.
    """
    import cv2

    if not pairs:
        raise ValueError("a contact sheet needs at least one pair")
    cells: list[U8] = []
    for pair in pairs:
        picture = side_by_side(pair.blurred, pair.sharp)
        h, w = picture.shape[:2]
        if w > cell_width:
            size = (cell_width, max(1, round(h * cell_width / w)))
            picture = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
        cell = np.empty((picture.shape[0] + 24, picture.shape[1], 3), np.uint8)
        cell[:] = _BACKGROUND
        cell[24:] = picture
        draw_text(cell, pair.label, x=2, y=2, height_px=13)
        cells.append(cell)
    columns = min(columns, len(cells))
    width = max(c.shape[1] for c in cells)
    rows = [cells[i : i + columns] for i in range(0, len(cells), columns)]
    heights = [max(c.shape[0] for c in row) for row in rows]
    head = 32 if title else _GAP
    page = np.empty((head + sum(heights) + _GAP * len(rows), columns * (width + _GAP) + _GAP, 3), np.uint8)
    page[:] = _BACKGROUND
    if title:
        draw_text(page, title, x=_GAP, y=8, height_px=15)
    top = head
    for row, height in zip(rows, heights, strict=True):
        for i, cell in enumerate(row):
            left = _GAP + i * (width + _GAP)
            page[top : top + cell.shape[0], left : left + cell.shape[1]] = cell
        top += height + _GAP
    return page
