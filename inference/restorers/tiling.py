"""Networks on pictures that are too large for the memory: tile by tile, without visible seams.

Neighbouring tiles overlap. Where a tile ends inside the picture, its outermost pixels have seen least around
them: a quarter of the overlap is thrown away on each side, and over the half between, one tile fades into the
other. All tiles have one size, so that a device compiles and plans its kernels once.

What tiling changes. A network of convolutions alone (GEM) gives the same picture, as far as its pixels do not
look further than a quarter of the overlap. A network with an operator over the whole picture does not: channel
attention (EFNet, LDN) is then taken tile by tile, so a tile of plain wall is treated otherwise than the wall of
the whole picture; attention over all pixels (SC-Net, STRA) sees its tile alone; optical flow (CDVD-TSP) finds
no motion that leaves the tile. Fading hides the steps, but brightness and sharpness may drift from tile to
tile. Therefore whole pictures are the default everywhere, and a tile is for those who have no memory for them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from capture.errors import UsageError
from inference.memory import give_memory_back, out_of_memory
from inference.restorers.padding import round_up

SMALLEST_TILE = 64
FIRST_TILE = 1024
"""Where memory is short, tiles of this side are tried first, then of half of it, and so on."""


@dataclass(frozen=True, slots=True)
class Tile:
    """A square of the picture: rows `top` … `top + height`, columns `left` … `left + width`."""

    top: int
    left: int
    height: int
    width: int

    def cut(self, x: Tensor, scale: int = 1) -> Tensor:
        """This part of `x` (..., H / scale, W / scale), as a view."""
        top, left, height, width = (v // scale for v in (self.top, self.left, self.height, self.width))
        return x[..., top : top + height, left : left + width]


def tile_option(value: Any, network: str, multiple: int, overlap: int) -> int | None:
    """The option "tile" as a number of pixels that a network can take, or None for whole pictures.

    Args:
        value: None, or the side of a tile.
        network: for the message.
        multiple: of which the network's sides are.
        overlap: of the tiles.

    Returns:
        the side, rounded up to a multiple.

    Raises:
        UsageError: not a whole number, or too small to be worth it.
    """
    if value is None:
        return None
    least = max(SMALLEST_TILE, 2 * overlap)
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise UsageError(f"{network}: tile {value!r}: give a side of at least {least} pixels, or None")
    return round_up(value, multiple)


def starts(size: int, tile: int, overlap: int, multiple: int) -> list[int]:
    """Where tiles of one side begin: multiples of `multiple`, neighbours overlapping by at least `overlap`.

    Args:
        size: of the picture, a multiple of `multiple`.
        tile: the side, a multiple too; larger than `overlap + multiple` unless it covers the picture.
    """
    if tile >= size:
        return [0]
    step = (tile - overlap) // multiple * multiple
    if step < 1:
        raise ValueError(f"tiles of {tile} pixels cannot overlap by {overlap} in steps of {multiple}")
    count = -(-(size - tile) // step) + 1
    # Spread evenly: the last tile ends with the picture, none overlaps much more than the others.
    units = (size - tile) // multiple
    return [units * k // (count - 1) * multiple for k in range(count)]


def tiles(height: int, width: int, tile: int, overlap: int, multiple: int) -> Iterator[Tile]:
    """Tiles that cover a picture, row by row; one that is larger than the picture is cut to it."""
    h, w = min(tile, height), min(tile, width)
    for top in starts(height, h, overlap, multiple):
        for left in starts(width, w, overlap, multiple):
            yield Tile(top, left, h, w)


def _ramp(start: int, length: int, size: int, overlap: int, like: Tensor) -> Tensor:
    """(length,) weights along one side: 1 inside and at the picture's border, falling to 0 at inner ends."""
    at = torch.arange(length, dtype=torch.float32, device=like.device) + 0.5
    cut, fade = overlap / 4, max(overlap / 2, 1.0)
    weights = torch.ones_like(at)
    if start > 0:
        weights = weights.minimum((at - cut) / fade)
    if start + length < size:
        weights = weights.minimum((length - at - cut) / fade)
    return weights.clamp_(0, 1)


def run_tiled(
    network: Callable[..., Tensor],
    inputs: Sequence[Tensor],
    *,
    tile: int | None,
    overlap: int,
    multiple: int,
    scales: Sequence[int] | None = None,
) -> Tensor:
    """`network(*inputs)`, computed tile by tile; one call on everything when the tile covers the picture.

    Args:
        network: takes tensors (..., h, w), gives one of the first input's last two axes.
        inputs: the first, (..., H, W), states the size; the others may be smaller by a whole factor.
        tile: side in pixels of the first input, a multiple of `multiple`; None for the whole picture.
        overlap: least overlap in pixels; about four times what a pixel of the network looks around.
        multiple: tiles begin and end at multiples of this, so that strides fall as they do in the whole.
        scales: by what factor each input is smaller than the first; 1 each when not given. `multiple` must be
            a multiple of each.

    Raises:
        ValueError: sides or scales that do not fit each other.
    """
    height, width = inputs[0].shape[-2:]
    factors = [1] * len(inputs) if scales is None else list(scales)
    if tile is None or (tile >= height and tile >= width):
        return network(*inputs)
    if height % multiple or width % multiple or tile % multiple:
        raise ValueError(f"{width}×{height} in tiles of {tile} pixels: all must be multiples of {multiple}")
    for x, s in zip(inputs, factors, strict=True):
        if multiple % s or x.shape[-2:] != (height // s, width // s):
            raise ValueError(f"an input of {tuple(x.shape[-2:])} is not {width}×{height} divided by {s}")
    total: Tensor | None = None
    weight = torch.zeros(height, width, device=inputs[0].device)
    for t in tiles(height, width, tile, overlap, multiple):
        part = network(*(t.cut(x, s).contiguous() for x, s in zip(inputs, factors, strict=True)))
        if total is None:
            total = torch.zeros(*part.shape[:-2], height, width, device=part.device)
        w = _ramp(t.top, t.height, height, overlap, part)[:, None] * _ramp(
            t.left, t.width, width, overlap, part
        )
        t.cut(total).add_(part.float() * w)
        t.cut(weight).add_(w)
    assert total is not None
    return total.div_(weight).to(inputs[0].dtype)


class Tiles:
    """How one restorer cuts its pictures: whole, in tiles of a size, or in tiles once memory was short.

    Args:
        network: for messages.
        option: "auto": whole pictures, and tiles from the first one on for which the memory does not suffice;
            None: whole pictures; or the side of a tile.
        multiple, overlap: see `run_tiled`.

    Attributes:
        side: of the tiles in use; None while pictures are whole.

    Raises:
        UsageError: an option that is none of these.
    """

    def __init__(self, network: str, option: Any, multiple: int, overlap: int) -> None:
        self._auto = option == "auto"
        self._multiple, self._overlap = multiple, overlap
        self._least = tile_option(max(SMALLEST_TILE, 2 * overlap), network, multiple, overlap) or 0
        self.side = None if self._auto else tile_option(option, network, multiple, overlap)

    def run(
        self, network: Callable[..., Tensor], inputs: Sequence[Tensor], scales: Sequence[int] | None = None
    ) -> Tensor:
        """`network(*inputs)`; see `run_tiled`.

        Raises:
            RuntimeError: the memory does not suffice for the smallest tiles, or, unless "auto", as asked.
        """
        while True:
            try:
                return run_tiled(
                    network, inputs, tile=self.side, overlap=self._overlap, multiple=self._multiple,
                    scales=scales,
                )  # fmt: skip
            except (RuntimeError, MemoryError) as error:
                if not (self._auto and out_of_memory(error) and self._smaller(max(inputs[0].shape[-2:]))):
                    raise
            # Outside the handler: the error's frames hold what did not fit.
            give_memory_back()

    def _smaller(self, longest: int) -> bool:
        """Take the next smaller tile; False when there is none."""
        limit, side = longest if self.side is None else self.side, FIRST_TILE
        while side >= limit:
            side //= 2
        side = max(round_up(side, self._multiple), self._least)
        if side >= limit:
            return False
        self.side = side
        return True
