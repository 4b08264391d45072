"""Which sample comes when: a function of the run's seed and of a global index, of nothing else.

Batch b of process r of W takes the indices start + (b·W + r)·B … + B, so that W processes with B samples each
see in every step what one process with W·B sees.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray


def generator_seed(seed: int, *index: int) -> int:
    """64 bits that depend on a seed and on any number of indices, equal on every machine."""
    return int(np.random.SeedSequence([seed, *index]).generate_state(1, np.uint64)[0])


def draws(seed: int, indices: Sequence[int], number: int) -> NDArray[np.uint64]:
    """64 even bits for each index, equal on every machine; far cheaper than a generator for each.

    Args:
        seed: of the run.
        indices: global ones.
        number: which of a sample's draws.

    The finaliser of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014) over the golden-ratio sequence.
    """
    key = np.uint64(generator_seed(seed, number))
    with np.errstate(over="ignore"):
        x = key + np.asarray(indices, np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return np.asarray(x ^ (x >> np.uint64(31)), np.uint64)


class Epochs:
    """A finite set of `length` items as an endless order: each epoch a permutation of its own.

    Item of global index g: `place(g)`. The same on every machine.
    """

    def __init__(self, length: int, seed: int) -> None:
        if length < 1:
            raise ValueError("an endless order needs at least one item")
        self.length = length
        self.seed = seed
        self._epoch = -1
        self._order: np.ndarray = np.empty(0, np.int64)

    def place(self, index: int) -> int:
        """Which item, 0 … length - 1, has the global index."""
        epoch, inside = divmod(index, self.length)
        if epoch != self._epoch:
            self._order = np.random.default_rng([self.seed, epoch]).permutation(self.length)
            self._epoch = epoch
        return int(self._order[inside])


class GlobalBatches:
    """Endless lists of global indices for one process.

    Args:
        start: first index of the whole group of processes.
        batch: samples of one process.
        rank, world: which process of how many.
    """

    def __init__(self, start: int, batch: int, rank: int = 0, world: int = 1) -> None:
        self.start, self.batch, self.rank, self.world = start, batch, rank, world

    def __iter__(self) -> Iterator[list[int]]:
        first = self.start + self.rank * self.batch
        while True:
            yield list(range(first, first + self.batch))
            first += self.batch * self.world


def share(length: int, batch: int, rank: int = 0, world: int = 1) -> list[list[int]]:
    """Batches of a finite set for one process: every index in exactly one process, in order."""
    own = list(range(rank, length, world))
    return [own[i : i + batch] for i in range(0, len(own), batch)]
