"""Items of data sets as samples: which frame comes when, and what happens to one that cannot be read.

An item that is damaged is named on stderr, once, and counted in the batch (`replaced`); the next one that can
be read takes its place, so that a set never becomes shorter in silence.
"""

from __future__ import annotations

import hashlib
import sys
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from training.data.order import Epochs
from training.data.sets.facts import Damaged, SequenceFacts, SequenceReader
from training.errors import TrainingError
from training.task import Batch

# Readers that a worker keeps open.
_OPEN = 32

Item = tuple[int, int]
"""Index of the sequence, and of the first or middle frame in it, as the maker takes it."""


class Maker(Protocol):
    """Makes the sample of one item. Picklable."""

    def items(self, facts: SequenceFacts) -> list[int]:
        """Frames of a sequence that a sample can be made of."""

    def make(self, reader: SequenceReader, facts: SequenceFacts, frame: int, rng: np.random.Generator) -> Batch:
        """A sample, cut and turned by chance.

        Raises:
            Damaged: a part of it cannot be read.
        """

    def whole(self, reader: SequenceReader, facts: SequenceFacts, frame: int) -> Batch:
        """The same, the whole picture, not turned.

        Raises:
            Damaged: a part of it cannot be read.
        """

    def middle(self, reader: SequenceReader, facts: SequenceFacts, frame: int) -> Batch:
        """The same, the middle of the picture, not turned: all samples of one size.

        Raises:
            Damaged: a part of it cannot be read.
        """

    def about(self, sequences: Sequence[SequenceFacts]) -> str:
        """What decides the samples' bytes beside the data, for the fingerprint.

        Where another version made other samples of the same sequences, it says another thing of them.
        """


class Readers:
    """Open readers of sequences, a few at a time. Pickles without them."""

    def __init__(self, sequences: Sequence[SequenceFacts]) -> None:
        self.sequences = list(sequences)
        self._open: OrderedDict[int, SequenceReader] = OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": OrderedDict()}

    def of(self, index: int) -> SequenceReader:
        """The reader of a sequence.

        Raises:
            Damaged: it cannot be opened.
        """
        if index not in self._open:
            self._open[index] = self.sequences[index].reader()
            while len(self._open) > _OPEN:
                self._open.popitem(last=False)
        self._open.move_to_end(index)
        return self._open[index]


class Items:
    """Training samples without end; see `training.task.TrainingData`.

    Args:
        sequences: of the split.
        maker: of the samples.
        seed: of the order and of all that is drawn.
    """

    def __init__(self, sequences: Sequence[SequenceFacts], maker: Maker, seed: int) -> None:
        self._readers, self._maker, self._seed = Readers(sequences), maker, seed
        self.items: list[Item] = [(k, i) for k, s in enumerate(sequences) for i in maker.items(s)]
        if not self.items:
            raise ValueError("no items")
        self._order = Epochs(len(self.items), seed)
        self._told: set[Item] = set()

    @property
    def sequences(self) -> list[SequenceFacts]:
        """Those that are trained on."""
        return self._readers.sequences

    def __getitem__(self, index: int) -> Batch:
        place = self._order.place(index)
        rng = np.random.default_rng([self._seed, index])
        for replaced in range(len(self.items)):
            sequence, frame = item = self.items[(place + replaced) % len(self.items)]
            facts = self._readers.sequences[sequence]
            try:
                sample = self._maker.make(self._readers.of(sequence), facts, frame, rng)
            except Damaged as error:
                tell(error, item, self._told)
                continue
            return {**sample, "replaced": np.float32(replaced > 0)}
        raise TrainingError("not one item of the data set can be read any more; see the lines above")

    def fingerprint(self) -> str:
        """See `TrainingData`."""
        text = [f"{s.name} {s.format} {s.size} {s.frames} {s.digest}" for s in self._readers.sequences]
        data = "\n".join([*text, self._maker.about(self._readers.sequences), str(self._seed)])
        return hashlib.sha256(data.encode()).hexdigest()[:16]


class FixedItems:
    """Validation samples, evenly spread over the items; see `training.task.ValidationData`.

    A damaged item's place is taken by the next one, as in training.
    """

    def __init__(self, sequences: Sequence[SequenceFacts], maker: Maker, count: int) -> None:
        self._readers, self._maker = Readers(sequences), maker
        items: list[Item] = [(k, i) for k, s in enumerate(sequences) for i in maker.items(s)]
        count = min(count, len(items))
        self._all = items
        self._places = [k * len(items) // count for k in range(count)]
        self._told: set[Item] = set()

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> Batch:
        for replaced in range(len(self._all)):
            sequence, frame = item = self._all[(self._places[index] + replaced) % len(self._all)]
            try:
                sample = self._maker.middle(
                    self._readers.of(sequence), self._readers.sequences[sequence], frame
                )
            except Damaged as error:
                tell(error, item, self._told)
                continue
            return {**sample, "replaced": np.float32(replaced > 0)}
        raise TrainingError("not one validation item can be read any more; see the lines above")


def tell(error: Damaged, item: Item, told: set[Item]) -> None:
    """Name a damaged item, once in each process."""
    if item not in told:
        told.add(item)
        print(f"skipped: {error}", file=sys.stderr, flush=True)
