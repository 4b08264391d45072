"""What the recipes with sharp pictures have in common: their data sets, how they are judged and shown."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError
from torch import Tensor

from capture.errors import UsageError
from capture.validation import first_error
from training.data.cuts import require_room
from training.data.items import FixedItems, Items, Maker
from training.data.sets.facts import SequenceFacts
from training.data.sets.find import TEST, TRAIN, Found, find
from training.task import TrainingData, ValidationData

if TYPE_CHECKING:
    from training.recipe import Recipe

_HELD_OUT = 8
"""Without a test split, of so many sequences one is validated with, and never trained on."""

Model = TypeVar("Model", bound=BaseModel)
Fits = Callable[[Sequence[SequenceFacts]], None]


class NeedyMaker(Maker, Protocol):
    """A maker that says what a sequence lacks."""

    def needs(self, facts: SequenceFacts) -> list[str]:
        """What a sequence lacks, in words; none: it can be used."""


def options_of(kind: type[Model], recipe: Recipe) -> Model:
    """The task's options of a recipe.

    Raises:
        UsageError: one line that names the key.
    """
    try:
        return kind.model_validate(recipe.data.options)
    except ValidationError as error:
        raise UsageError(f"recipe: {first_error(error, kind, 'data.options')}") from error


def require_loss(recipe: Recipe, name: str, weights: Sequence[str] = ()) -> dict[str, float]:
    """The weights of the task's one loss.

    Raises:
        UsageError: another loss, or a weight that it has not.
    """
    if recipe.loss.name not in ("", name):
        raise UsageError(f"loss.name {recipe.loss.name!r}: {recipe.network.name} is trained with {name}")
    if unknown := sorted(set(recipe.loss.weights) - set(weights)):
        raise UsageError(f"loss.weights.{unknown[0]}: unknown; known: {', '.join(weights) or 'none'}")
    return dict(recipe.loss.weights)


class DataFacts:
    """Keeps what is known of a run's data, for its record. A part of a task.

    Attributes:
        takes, format: what such a task is trained on, in words, and which `synthesise --format` draws it.
        held_out: the sequences that are validated with, once `datasets_of` was called.
    """

    takes = "sequences with sharp pictures"
    format = "efnet-h5"

    def __init__(self) -> None:
        self._facts: dict[str, Any] = {}
        self.held_out: list[SequenceFacts] = []

    def data_facts(self) -> dict[str, Any]:
        """See `training.task`: goes into run.json."""
        return self._facts

    def datasets_of(
        self, recipe: Recipe, maker: NeedyMaker, fits: int | Fits, who: str
    ) -> tuple[TrainingData, ValidationData]:
        """Training and validation samples of the recipe's recordings.

        A `test` split is validated with; without splits every eighth sequence is, or the last of fewer. Paths
        called `train` and `test` are splits, too.

        Args:
            recipe: names the recordings.
            maker: of the samples.
            fits: side of the crop, or a function that refuses sequences that do not fit (`UsageError`).
            who: is trained.

        Raises:
            UsageError: no data, nothing of what is needed, an empty split, a crop that does not fit.
        """
        if recipe.data.kind != "recorded" or not recipe.data.recordings:
            raise UsageError(
                f"{who} is trained on {self.takes}: give --data DIR "
                f"(make some: halfmirror synthesise --format {self.format} -o DIR)"
            )
        found = usable(find(recipe.data.recordings, named=True), maker, who)
        train, test = divided(found, recipe.data.validation > 0)
        if isinstance(fits, int):
            require_room([*train, *test], fits)
        else:
            fits([*train, *test])
        for line in found.skipped:
            print(f"skipped: {line}", file=sys.stderr, flush=True)
        self.held_out = test
        data = Items(train, maker, recipe.seed)
        validation = FixedItems(test, maker, recipe.data.validation)
        self._facts = {
            "sequences": [s.name for s in train], "validation_sequences": [s.name for s in test],
            "items": len(data.items), "skipped": found.skipped,
        }  # fmt: skip
        return data, validation


def usable(found: Found, maker: NeedyMaker, who: str) -> Found:
    """Only the sequences that samples can be made of; the others are skipped by name.

    Raises:
        UsageError: none; names what is lacking.
    """
    out = Found(found.where, [], list(found.skipped), found.splits)
    lacks: list[str] = []
    for s in found.sequences:
        if lacking := maker.needs(s):
            out.skipped.append(f"{s.name} ({s.format}) has no {' and no '.join(lacking)}")
            lacks += [word for word in lacking if word not in lacks]
        elif not maker.items(s):
            out.skipped.append(f"{s.name} ({s.format}) has no item: too few frames ({s.frames})")
            lacks += ["sequences that are long enough"] if not lacks else []
        else:
            out.sequences.append(s)
    if not out.sequences:
        raise UsageError(f"{who} needs {' and '.join(lacks)}; {found.where} ({found.formats}) has none")
    return out


def divided(found: Found, validates: bool) -> tuple[list[SequenceFacts], list[SequenceFacts]]:
    """Sequences to train on and to validate with; none is in both.

    Raises:
        UsageError: an empty split, sequences in none beside some in one, or one sequence that cannot be
            divided.
    """
    if found.splits:
        if outside := next((s for s in found.sequences if not s.split), None):
            raise UsageError(
                f"{outside.name} ({outside.files[0]}) is in no split, and others of {found.where} are: give it "
                f"in a folder called {TRAIN} or {TEST}"
            )
        train = [s for s in found.sequences if s.split == TRAIN]
        test = [s for s in found.sequences if s.split == TEST]
        if not train:
            raise UsageError(f"{found.where} has no usable sequence in its train split")
        if validates and not test:
            raise UsageError(
                f"the test split of {found.where} is empty or missing; give one, or train without: "
                "--set data.validation=0"
            )
        return train, test if validates else []
    if not validates:
        return found.sequences, []
    if len(found.sequences) < 2:
        raise UsageError(
            f"{found.where} is one sequence, and none can be held out: give more, or train without: "
            "--set data.validation=0"
        )
    held = set(range(_HELD_OUT - 1, len(found.sequences), _HELD_OUT)) or {len(found.sequences) - 1}
    return (
        [s for k, s in enumerate(found.sequences) if k not in held],
        [s for k, s in enumerate(found.sequences) if k in held],
    )


def decibels(picture: Tensor, truth: Tensor) -> Tensor:
    """(N,) PSNR in dB on 0…1, the picture clipped; at most 100."""
    error = ((picture.clamp(0, 1) - truth) ** 2).flatten(1).mean(1)
    return -10 * torch.log10(error.clamp(min=1e-10))


def judged(restored: Tensor, blurred: Tensor, truth: Tensor) -> dict[str, float]:
    """PSNR of the restored and of the blurred pictures, (N, 3, H, W) in 0…1 each, means over N."""
    return {
        "psnr": float(decibels(restored, truth).mean()), "blurred": float(decibels(blurred, truth).mean()),
    }  # fmt: skip


def strips(pictures: Sequence[Tensor], order: str = "rgb") -> list[NDArray[np.uint8]]:
    """Pictures (N, 3, H, W) in 0…1 side by side, (H, W, 3) RGB uint8 for each of N."""
    rows = torch.cat([p.float() for p in pictures], dim=3).clamp(0, 1)
    rows = rows.flip(1) if order == "bgr" else rows
    codes = (rows * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    return [np.ascontiguousarray(c) for c in codes]


def values(codes: Tensor) -> Tensor:
    """uint8 → float32 in 0…1."""
    return codes.float() / 255
