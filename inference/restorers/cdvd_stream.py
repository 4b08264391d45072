"""CDVD-TSP over a stream: what a new frame does not change is not computed again.

The first stage restores a frame from itself and its two neighbours, wherever it stands in the window of five,
and the flow network's features of a frame depend on it alone. So a new frame costs one triple of the first
stage and one of the second, half of a whole window's work, and gives the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from itertools import pairwise
from typing import Protocol

from torch import Tensor

from inference.networks.cdvd_tsp import Known
from inference.restorers.tiling import run_tiled

# Tiles of these sides are not resized for the flow. They may begin where the strides of the restoration do.
TILE_MULTIPLE = 64
TILE_OVERLAP = 128
MULTIPLE = 4

WINDOW = 5

Triple = tuple[Hashable, Hashable, Hashable]


class Stages(Protocol):
    """What a stream calls of the network, `inference.networks.cdvd_tsp.CDVDTSP`."""

    def know(self, frame: Tensor) -> Known:
        """A frame with its flow features."""

    def restore(self, previous: Known, centre: Known, following: Known) -> Tensor:
        """The centre of three."""


class CdvdStream:
    """The network with the results of the newest window.

    Frames are known by keys: two frames of one key are the same frame. Whoever hands out keys sees to that; the
    frame object itself is a good one.

    Args:
        network: in evaluation mode, on its device.
        tile: side of tiles, None for whole pictures. In tiles the flow features are not kept.
    """

    def __init__(self, network: Stages, tile: int | None = None) -> None:
        self.network = network
        self.tile = tile
        self.restored = 0  # triples computed so far, of either stage
        self._frames: dict[Hashable, Known] = {}
        self._first: dict[Triple, Known] = {}

    def reset(self) -> None:
        """Forget all frames."""
        self._frames, self._first = {}, {}

    def run(
        self, window: Sequence[Hashable], frame_of: Callable[[Hashable], Tensor], *, keep: bool = True
    ) -> Tensor:
        """The middle of five frames, (N, 3, H, W), not clipped; the bits of the network's own forward pass.

        Args:
            window: keys of the five frames, in order of time; a key may stand there several times.
            frame_of: gives the frame of a key, (N, 3, H, W), RGB in 0…1, sides multiples of 4; asked once for
                each new key.
            keep: this window is the stream's newest. False: what is known is used, and nothing is changed.
        """
        if len(window) != WINDOW:
            raise ValueError(f"CDVD-TSP takes {WINDOW} frames, got {len(window)}")
        # Only what this window names is held on to. Built anew and put in place at the end, so that a window
        # that fails half-way leaves no half-filled store.
        frames: dict[Hashable, Known] = {}
        for key in window:
            if key not in frames:
                found = self._frames.get(key)
                frames[key] = self._know(frame_of(key)) if found is None else found
        first: dict[Triple, Known] = {}
        triples = [(a, b, c) for (a, b), (_, c) in pairwise(list(pairwise(window)))]
        for triple in triples:
            if triple not in first:
                found = self._first.get(triple)
                first[triple] = self._stage(*(frames[k] for k in triple)) if found is None else found
        out = self._triple(*(first[t] for t in triples))
        if keep:
            self._frames, self._first = frames, first
        return out

    def _know(self, frame: Tensor) -> Known:
        return Known(frame, []) if self._in_tiles(frame) else self.network.know(frame)

    def _stage(self, previous: Known, centre: Known, following: Known) -> Known:
        return self._know(self._triple(previous, centre, following))

    def _in_tiles(self, frame: Tensor) -> bool:
        return self.tile is not None and self.tile < max(frame.shape[-2:])

    def _triple(self, previous: Known, centre: Known, following: Known) -> Tensor:
        self.restored += 1
        if not self._in_tiles(centre.frame):
            return self.network.restore(previous, centre, following)

        def one(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
            know = self.network.know
            return self.network.restore(know(a), know(b), know(c))

        return run_tiled(
            one, [k.frame for k in (previous, centre, following)],
            tile=self.tile, overlap=TILE_OVERLAP, multiple=MULTIPLE,
        )  # fmt: skip
