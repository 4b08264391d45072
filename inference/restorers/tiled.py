"""Restorers whose network may run on parts of the picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor

from inference.restorers.recorded import RecordedRestorer
from inference.restorers.tiling import Tiles


class TiledRestorer(RecordedRestorer):
    """A network as a restorer, on whole pictures or in tiles. See `inference.restorers.tiling`.

    Class attributes of a subclass:
        overlap: of neighbouring tiles, in pixels.

    Option beside the shared ones (a subclass names it in `own`):
        tile: "auto" (default): whole pictures, and tiles from the first one on for which the memory does not
            suffice; None: whole pictures; or the side of a tile in pixels, at least twice the overlap. Pictures
            in tiles say so.
    """

    overlap: ClassVar[int]

    _tiles: Tiles

    @property
    def tile_multiple(self) -> int:
        """Tiles begin and end at multiples of this."""
        return self.multiple

    def tiled(
        self, network: Callable[..., Tensor], inputs: Sequence[Tensor], scales: Sequence[int] | None = None
    ) -> Tensor:
        """`network(*inputs)` by the option "tile"; see `tiling.run_tiled`."""
        out: Tensor = self._tiles.run(network, inputs, scales)
        side = self._tiles.side
        if side is not None and side < max(inputs[0].shape[-2:]):
            short = "memory short: " if self.options.get("tile", "auto") == "auto" else ""
            self._note(f"{short}restored in tiles of {side} pixels")
        return out

    def _whole(self) -> bool:
        """See `RecordedRestorer`."""
        return self._tiles.side is None

    def _check_own(self, options: Mapping[str, Any]) -> None:
        super()._check_own(options)
        Tiles(self.name, options.get("tile", "auto"), self.tile_multiple, self.overlap)

    def _changed(self) -> None:
        super()._changed()
        self._tiles = Tiles(self.name, self.options.get("tile", "auto"), self.tile_multiple, self.overlap)
