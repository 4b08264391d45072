"""Which of a camera's trigger channels a recording's edges are taken from."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


class TriggerChannel:
    """The first channel that occurs is taken; edges of others are counted.

    Args:
        number: of the channel, where it is known beforehand.
    """

    def __init__(self, number: int | None = None) -> None:
        self._number = number
        self._others: dict[str, int] = {}

    @property
    def known(self) -> bool:
        """It is decided which one."""
        return self._number is not None

    def ours(self, channels: NDArray[Any]) -> NDArray[np.bool_]:
        """(N,) whether each edge is taken; `channels`: (N,) theirs, in order of the file."""
        if self._number is None and len(channels):
            self._number = int(channels[0])
        mine = np.asarray(channels == self._number, np.bool_)
        for c, n in zip(*np.unique(channels[~mine], return_counts=True), strict=True):
            name = f"edges_of_channel_{c}"
            self._others[name] = self._others.get(name, 0) + int(n)
        return mine

    def passed_over(self) -> dict[str, int]:
        """Edges of other channels by name, since this was asked last."""
        counts, self._others = self._others, {}
        return counts
