"""Training of glint on synthetic exposures, drawn as they are needed or read from a pool."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, ValidationError
from torch import Tensor, nn

from capture.errors import UsageError
from capture.validation import Strict, first_error
from inference import networks
from inference.weights_fit import size_of_glint
from training.data.glint_pool import SAMPLING, Pooled, tensors
from training.photos.held_out import EVERY, held_of, kept_of
from training.synthesis.config import SynthesisConfig
from training.synthesis.photo_cache import PhotoCache
from training.synthesis.pool import VERSION, arrays
from training.tasks.supervised import options_of

if TYPE_CHECKING:
    from training.recipe import Recipe
    from training.task import Batch, TrainingData, ValidationData

_EPSILON = 1e-3  # of the Charbonnier loss: below this difference it is quadratic
_LEAST = 1.5e-3  # of the relative loss: a third of a grey level, below which a picture need not be better


class GlintOptions(Strict):
    """The task's own options in a recipe (`data.options`).

    Attributes:
        pool: folder made by `halfmirror synthesise`; "": samples are drawn as they are needed.
        cached_photos: decoded photos that a worker keeps.
    """

    pool: str = ""
    cached_photos: int = Field(default=256, ge=1)


LOSSES = ("charbonnier", "relative")
NETWORKS = ("glint", "glint-large")


class GlintTask:
    """See `training.task.Task`. Losses, each with a weight `edges` of the differences of neighbours:

    charbonnier: mean absolute difference, smooth at 0. Pictures that are far off decide.
    relative: of each sample the logarithm of that and of the mean square, so that a tenth less counts the same
        for every sample. A picture that is nearly right stays so: under the other one a network learns to spend
        half a grey level on it wherever that helps those that are far off.
    """

    grows = True
    paths = ("pool",)

    def __init__(self, recipe: Recipe) -> None:
        if recipe.network.name not in NETWORKS:
            raise UsageError(
                f"network.name {recipe.network.name!r}: the task glint trains {' or '.join(NETWORKS)}"
            )
        self._name = recipe.network.name
        if recipe.loss.name not in ("", *LOSSES):
            raise UsageError(f"loss.name {recipe.loss.name!r}: glint is trained with {' or '.join(LOSSES)}")
        self._relative = recipe.loss.name == "relative"
        unknown = sorted(set(recipe.loss.weights) - {"edges"})
        if unknown:
            raise UsageError(f"loss.weights.{unknown[0]}: unknown; known: edges")
        self._edges = float(recipe.loss.weights.get("edges", 0.5))
        self._options = options_of(GlintOptions, recipe)
        try:
            self._synthesis = SynthesisConfig.model_validate(recipe.data.synthesis)
        except ValidationError as error:
            raise UsageError(f"recipe: {first_error(error, SynthesisConfig, 'data.synthesis')}") from error

    def build_network(self, options: Mapping[str, Any]) -> nn.Module:
        """See `Task`."""
        return networks.build(self._name, **options)

    def sizes(self, shapes: Mapping[str, tuple[int, ...]]) -> Mapping[str, Any]:
        """See `training.task`."""
        return {name: list(size) for name, size in size_of_glint(shapes).items()}

    def loss(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """See `Task`."""
        frame, edi, stack, truth = inputs(batch)
        difference = network(frame, edi, stack) - truth
        across, along = difference.diff(dim=-1), difference.diff(dim=-2)
        if self._relative:
            absolute = each(difference) + self._edges * (each(across) + each(along))
            square = difference.square().flatten(1).mean(1)
            logs = (absolute + _LEAST).log(), (square + _LEAST**2).log()
            return {"loss": logs[0].mean() + 0.5 * logs[1].mean(), "absolute": logs[0].mean()}
        colour, edges = charbonnier(difference), charbonnier(across) + charbonnier(along)
        return {"loss": colour + self._edges * edges, "colour": colour, "edges": edges}

    def validate(self, network: nn.Module, batch: Batch) -> dict[str, float]:
        """PSNR of the picture, the blurred frame, and EDI's picture with what it is told."""
        frame, edi, stack, truth = inputs(batch)
        found = {"psnr": network(frame, edi, stack), "blurred": frame, "edi": edi}
        return {name: float(psnr(picture, truth).mean()) for name, picture in found.items()}

    def preview(self, network: nn.Module, batch: Batch) -> Sequence[NDArray[np.uint8]]:
        """See `Task`."""
        frame, edi, stack, truth = inputs(batch)
        rows = torch.cat([frame, edi, network(frame, edi, stack), truth], dim=3).clamp(0, 1)
        codes = (rows * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
        return [np.ascontiguousarray(c) for c in codes]

    def datasets(self, recipe: Recipe) -> tuple[TrainingData, ValidationData]:
        """See `Task`."""
        from training.photos import open_photos

        if recipe.data.kind != "synthetic":
            raise UsageError("data.kind: glint is trained on synthetic data; use synthetic")
        validation: ValidationData = _Nothing()
        source: Any = None
        # Looking at all photos takes a while: only where some are drawn from.
        if recipe.data.photos and (recipe.data.validation or not self._options.pool):
            photos = open_photos(recipe.data.photos)
            held, kept = held_of(len(photos)), kept_of(len(photos))
            if recipe.data.validation and not held:
                raise UsageError(
                    f"{recipe.data.photos} holds {len(photos)} photos; {EVERY} are the least, so that one "
                    "can be held out for validation (or set data.validation=0)"
                )
            cached = self._options.cached_photos
            source = Drawn(self._synthesis, PhotoCache(photos, kept, cached), recipe.seed)
            if recipe.data.validation:
                validation = _First(
                    Drawn(self._synthesis, PhotoCache(photos, held, cached), recipe.seed + 1),
                    recipe.data.validation,
                )
        if self._options.pool:
            return Pooled(Path(self._options.pool), recipe.seed), validation
        if source is None:
            raise UsageError("no photos to train on; give --photos FOLDER or --photos package:NAME")
        return source, validation


class Drawn:
    """Samples drawn as they are needed, each by its index alone; one instant of each."""

    def __init__(self, config: SynthesisConfig, photos: PhotoCache, seed: int) -> None:
        self._config, self._photos, self._seed = config, photos, seed
        self._stack: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_stack": None}

    def __getitem__(self, index: int) -> Batch:
        from inference.representations.edi_stack_numba import EdiStack
        from training.synthesis.sample import make

        if self._stack is None:
            self._stack = EdiStack()
        # All instants of a sample come one after the other: drawing the scene is the dear part.
        config = self._config.model_copy(update={"instants": 1})
        sample = make(config, self._photos.load, len(self._photos), self._seed, index)
        drawn = arrays(sample, self._stack, self._seed, index)
        return tensors({**drawn, **{k: drawn[k][0] for k in ("truth", "edi", "stack")}}, index % 8)

    def fingerprint(self) -> str:
        """See `TrainingData`."""
        text = json.dumps(self._config.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(
            f"{VERSION} {SAMPLING} {text} {self._photos.fingerprint()} {self._seed}".encode()
        ).hexdigest()[:16]


class _First:
    """The first samples of an endless set, as a finite one; not turned."""

    def __init__(self, data: Drawn, count: int) -> None:
        self._data, self._count = data, count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Batch:
        return self._data[index]


class _Nothing:
    """No validation."""

    def __len__(self) -> int:
        return 0

    def __getitem__(self, index: int) -> Batch:
        raise IndexError(index)


def inputs(batch: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Frame, EDI's picture, stack and truth as float32, pictures 0…1, channels last in memory."""
    last = torch.channels_last
    frame, edi, truth = (
        batch[name].to(torch.float32, memory_format=last) / 255 for name in ("frame", "edi", "truth")
    )  # fmt: skip
    return frame, edi, batch["stack"].to(torch.float32, memory_format=last), truth


def each(difference: Tensor) -> Tensor:
    """(N,) mean absolute difference of each sample."""
    return difference.abs().flatten(1).mean(1)


def charbonnier(difference: Tensor) -> Tensor:
    """Mean of √(d² + ε²): as the absolute value, smooth at 0 (Charbonnier et al., ICIP 1994)."""
    return torch.sqrt(difference * difference + _EPSILON**2).mean()


def psnr(picture: Tensor, truth: Tensor) -> Tensor:
    """(N,) dB of each picture on 0…1, clipped; at most 60."""
    error = ((picture.clamp(0, 1) - truth) ** 2).flatten(1).mean(1)
    return -10 * torch.log10(error.clamp(min=1e-6))
