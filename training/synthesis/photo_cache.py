"""Decoded photos, kept while they are needed."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST = 256


class PhotoCache:
    """Some of the photos, decoded when they are first asked for and then kept.

    Picklable; what was decoded does not travel.

    Args:
        photos: from `training.photos.open_photos`.
        which: their indices.
        most: how many are kept.
    """

    def __init__(self, photos: Any, which: Sequence[int], most: int = MOST) -> None:
        self._photos, self._which, self._most = photos, list(which), most
        self._kept: dict[int, NDArray[np.uint8]] = {}

    def __len__(self) -> int:
        return len(self._which)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kept": {}}

    def fingerprint(self) -> str:
        """Changes when the photos do."""
        return hashlib.sha256(f"{self._photos.fingerprint} {self._which}".encode()).hexdigest()[:16]

    def load(self, index: int) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB."""
        if index not in self._kept:
            if len(self._kept) >= self._most:
                self._kept.pop(next(iter(self._kept)))
            self._kept[index] = self._photos.load(self._which[index])
        return self._kept[index]
