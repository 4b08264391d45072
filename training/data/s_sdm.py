"""S-SDM's samples (K. Chen et al., NeurIPS 2024): a blurred picture and the spikes around its exposure.

No sharp picture is trained with; where the held-out videos have some, validation measures against them. Crops
are squares with corners on the spike grid. Published samples are neither mirrored nor turned.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from pydantic import Field

from capture.validation import Strict
from inference.representations.coding import Mode
from training.data.cuts import Cut, middle_cut, planes, random_cut, whole_cut
from training.data.items import Items
from training.data.sets.facts import SPIKES, TRUTH, SequenceFacts, SequenceReader
from training.data.sets.spikes import CELL, grid_of
from training.task import Batch

_ALL_TURNS = tuple(range(8))


class SdmOptions(Strict):
    """What the networks of S-SDM are fed with (`data.options` of a recipe).

    Attributes:
        crop: side of the training samples in image pixels, a multiple of 4.
        augmentation: "none" as published, or "turns" (all eight).
    """

    crop: int = Field(default=512, ge=32, le=2048, multiple_of=4)
    augmentation: Literal["none", "turns"] = "none"


class LdnOptions(SdmOptions):
    """Of LDN's recipe beside the shared ones.

    Attributes:
        mode: "published": LPIPS is handed BGR in 0…1; "corrected": RGB in -1…1, see `training.losses.s_sdm`.
        bsn, edsr: weights of the teacher's networks; "": those that are installed.
    """

    mode: Mode = Mode.PUBLISHED
    bsn: str = ""
    edsr: str = ""


class SdmMaker:
    """See `training.data.items.Maker`.

    A sample: `spikes` (137, H/4, W/4) uint8 0 and 1; `image` (3, H, W) uint8 BGR where it is `pictured` or not
    for training; `truth` alike where it is `judged` and not for training.

    Args:
        options: crop and turns.
        pictured: training samples have the blurred picture too.
        teacher: what decides the teacher's pictures, for the fingerprint.

    Attributes:
        judged: the held-out videos have sharp pictures.
    """

    def __init__(self, options: SdmOptions, *, pictured: bool, teacher: str = "") -> None:
        self.options, self.judged = options, False
        self._pictured, self._teacher = pictured, teacher

    def needs(self, facts: SequenceFacts) -> list[str]:
        """What a sequence lacks."""
        return [] if SPIKES in facts.carries else [SPIKES]

    def about(self, sequences: Sequence[SequenceFacts]) -> str:
        """See `Maker`."""
        return f"{self.options.model_dump_json(exclude={'bsn', 'edsr'})} {self._teacher}"

    def items(self, facts: SequenceFacts) -> list[int]:
        """See `Maker`."""
        return facts.items

    def make(self, reader: SequenceReader, facts: SequenceFacts, frame: int, rng: np.random.Generator) -> Batch:
        """See `Maker`."""
        turns = _ALL_TURNS if self.options.augmentation == "turns" else (0,)
        cut = random_cut(rng, grid_of(facts.size), self.options.crop // CELL, turns)
        sample = {"spikes": cut.of(reader.spikes(frame))}
        return sample | ({"image": _image(reader.blurred(frame), cut)} if self._pictured else {})

    def middle(self, reader: SequenceReader, facts: SequenceFacts, frame: int) -> Batch:
        """See `Maker`."""
        return self._judged(reader, frame, middle_cut(grid_of(facts.size), self.options.crop // CELL))

    def whole(self, reader: SequenceReader, facts: SequenceFacts, frame: int) -> Batch:
        """See `Maker`."""
        return self._judged(reader, frame, whole_cut(grid_of(facts.size)))

    def _judged(self, reader: SequenceReader, frame: int, cut: Cut) -> Batch:
        sample = {"spikes": cut.of(reader.spikes(frame)), "image": _image(reader.blurred(frame), cut)}
        return sample | ({"truth": _image(reader.truth(frame), cut)} if self.judged else {})


def all_with_truth(sequences: list[SequenceFacts]) -> bool:
    """Whether every one has sharp pictures; means of some of them would be called means of all."""
    return bool(sequences) and all(TRUTH in s.carries for s in sequences)


class Repeated:
    """Training samples of which every batch comes several times in a row, with its number among them (`turn`).

    BSN makes a step for each of five instants of a batch.

    Args:
        data: the samples.
        batch: samples of one batch.
        times: how often it comes.
    """

    def __init__(self, data: Items, batch: int, times: int) -> None:
        self._data, self._batch, self._times = data, batch, times

    def __getitem__(self, index: int) -> Batch:
        number, inside = divmod(index, self._batch)
        block, turn = divmod(number, self._times)
        return {**self._data[block * self._batch + inside], "turn": turn}

    def fingerprint(self) -> str:
        """See `TrainingData`."""
        return f"{self._data.fingerprint()}-{self._batch}x{self._times}"


def _image(picture: np.ndarray, cut: Cut) -> np.ndarray:
    """(3, H, W) BGR of a cut on the spike grid."""
    own = Cut(CELL * cut.top, CELL * cut.left, CELL * cut.height, CELL * cut.width, cut.turn)
    return own.of(planes(picture, "bgr"))
