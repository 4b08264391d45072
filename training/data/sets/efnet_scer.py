"""EFNet's HDF5 files with representations: `voxels` (SCER, not normalised), `masks`, `images`, `sharp_images`.

Channels of a frame come first; seven-channel files (an option of the authors' script that is on by default)
have an empty one in the middle, which is dropped: weights of the first release get one of zeros in its place
(`EfnetMaker`), where the stored one may hold a little of the script's noise.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recordings.sandbox_child import Refused
from training.data.sets import hdf5
from training.data.sets.facts import SCER, TRUTH, U8, VIDEO, SequenceFacts, Unread, reads, sized

BINS, MIDDLE = 6, 3


class ScerReader(Unread):
    """One file; see `SequenceReader`."""

    @reads
    def __init__(self, facts: SequenceFacts) -> None:
        self.facts = facts
        self._file = hdf5.opened(facts.files[0])
        self._masks = bool(hdf5.keys(self._file, "masks", "mask"))

    @reads
    def blurred(self, index: int) -> U8:
        """See `SequenceReader`."""
        return sized(hdf5.rgb(self._file, f"images/image{index:09d}", planes_first=True), self.facts)

    @reads
    def truth(self, index: int) -> U8:
        """See `SequenceReader`."""
        return sized(hdf5.rgb(self._file, f"sharp_images/image{index:09d}", planes_first=True), self.facts)

    @reads
    def stored(self, index: int) -> tuple[NDArray[np.float32], U8 | None]:
        """See `SequenceReader`."""
        grid = hdf5.values(self._file, f"voxels/voxel{index:09d}").astype(np.float32)
        if len(grid) == BINS + 1:
            grid = np.delete(grid, MIDDLE, axis=0)
        if not np.isfinite(grid).all():
            raise ValueError("its voxel holds values that are not finite")
        mask = hdf5.values(self._file, f"masks/mask{index:09d}").astype(np.uint8) if self._masks else None
        return np.ascontiguousarray(grid), mask


def probe(path: str, name: str, split: str) -> SequenceFacts:
    """What a file holds.

    Raises:
        Refused: no sequence; says why.
    """
    file = hdf5.opened(path)
    count = len(hdf5.keys(file, "images", "image"))
    if not count:
        raise Refused("holds no images")
    carries = {SCER, VIDEO} | ({TRUTH} if hdf5.keys(file, "sharp_images", "image") else set())
    groups = ["images", *(["sharp_images"] if TRUTH in carries else [])]
    size = None
    for i in range(count):
        grid = hdf5.array(file, f"voxels/voxel{i:09d}").shape
        if len(grid) != 3 or grid[0] not in (BINS, BINS + 1):
            raise Refused(f"voxel {i} has the shape {str(grid)[:60]}; expected ({BINS}, height, width)")
        for group in groups:
            shape = hdf5.array(file, f"{group}/image{i:09d}").shape
            size = size or grid[1:]
            if len(shape) != 3 or shape[1:] != size or grid[1:] != size:
                raise Refused(f"{group} {i} of shape {str(shape)[:60]} and its voxel {grid} differ in size")
    assert size is not None
    plain = (int(size[1]), int(size[0]))
    return SequenceFacts(
        "efnet-scer", (path,), name, split, plain, None, (None,) * count, frozenset(carries), hdf5.digest(path)
    )
