"""One restoration as a network gets it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sync.exposure import AlignedExposure
from sync.rig import Rig


@dataclass(frozen=True, slots=True, eq=False)
class Work:
    """One restoration as `NeuralRestorer._infer` gets it.

    Attributes:
        window: the exposures; `window[index]` is the one to restore. Their events lie on `rig.events`' pixels.
        index: see `window`.
        at: the instants wanted, fractions 0…1 of the exposure.
        pictures: one for each exposure, (H, W, 3) RGB or (H, W) gray uint8, of `rig.image`'s size.
        rig: geometry between `pictures` and events: the rig's own, or the identity on the event grid.
    """

    window: Sequence[AlignedExposure]
    index: int
    at: tuple[float, ...]
    pictures: Sequence[NDArray[np.uint8]]
    rig: Rig

    @property
    def exposure(self) -> AlignedExposure:
        """The exposure to restore."""
        return self.window[self.index]

    @property
    def times_us(self) -> tuple[int, ...]:
        """The instants on the event clock."""
        return tuple(self.exposure.exposure.time_at(f) for f in self.at)
