"""A contact sheet of a pool: to look at what a network is trained on."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from capture.errors import UsageError
from training.synthesis.pool import Pool

_ACROSS, _DOWN = 4, 8


def write_preview(folder: Path, path: Path) -> None:
    """Draw 32 samples, spread over the pool, each blurred | double integral | truth, into a PNG.

    Raises:
        UsageError: no pool. OSError: the picture cannot be written.
    """
    pool = Pool(folder)
    places = np.linspace(0, len(pool) - 1, _ACROSS * _DOWN).round().astype(int)
    tiles = [_tile(pool, int(place)) for place in places]
    rows = [np.hstack(tiles[k : k + _ACROSS]) for k in range(0, len(tiles), _ACROSS)]
    done, data = cv2.imencode(".png", np.vstack(rows)[..., ::-1])
    if not done:
        raise UsageError(f"cannot draw {path}")
    path.write_bytes(data.tobytes())


def _tile(pool: Pool, place: int) -> NDArray[np.uint8]:
    one = pool.read(place, 0)
    frame, edi, truth = (_colour(one[name]) for name in ("frame", "edi", "truth"))
    tile = np.hstack([frame, edi, truth])
    return np.pad(tile, ((2, 2), (2, 2), (0, 0)))


def _colour(planes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(C, H, W) → (H, W, 3)."""
    picture = np.moveaxis(planes, 0, -1)
    return np.repeat(picture, 3, axis=2) if picture.shape[2] == 1 else picture
