"""Figures of a run: means over each logging interval and over each validation, to a file and to TensorBoard."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers.logger import Logger
from pytorch_lightning.utilities import rank_zero_only

from training.callbacks.conduct import Conduct
from training.errors import TrainingError, why
from training.module import TrainingModule
from training.recipe import Recipe


class JsonLines(Logger):
    """One JSON object a line: `step` and the figures. NaN and infinity become null."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    @property
    def name(self) -> str:
        """Of the logger."""
        return "metrics"

    @property
    def version(self) -> str:
        """Of the logger."""
        return ""

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """The run folder holds the recipe."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Append a line.

        Raises:
            TrainingError: it cannot be written.
        """
        figures = {name: value if math.isfinite(value) else None for name, value in metrics.items()}
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"step": step, **figures}) + "\n")
        except OSError as error:
            raise TrainingError(
                f"cannot write {self._path}: {why(error)}; free some space, then --resume"
            ) from error


class Metrics(pl.Callback):
    """Means of the loss and its parts, pace, and the share of time in which the trainer waited for data.

    Attributes:
        newest: figures of the newest interval and the newest validation.
        logged: how many sets of figures there were.
    """

    def __init__(self, recipe: Recipe, conduct: Conduct) -> None:
        self.newest: dict[str, float] = {}
        self.logged = 0
        self._recipe, self._conduct = recipe, conduct
        self._sums: dict[str, torch.Tensor] = {}
        self._batches = 0
        self._began = self._aside = self._validation_began = 0.0
        self._seen = -1

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """The first interval begins."""
        assert isinstance(pl_module, TrainingModule)
        self._seen = self._conduct.step
        self._restart(pl_module)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count; log when the interval is full or the run ends."""
        assert isinstance(pl_module, TrainingModule)
        for name, value in pl_module.parts.items():
            self._sums[name] = self._sums[name] + value.float() if name in self._sums else value.float()
        self._batches += 1
        step = self._conduct.step
        ends = self._conduct.progress >= 1 or self._conduct.stop != 0
        if step == self._seen or not (ends or step % self._recipe.run.log_every == 0):
            return
        self._seen = step
        seconds = max(time.perf_counter() - self._began - self._aside, 1e-9)
        waited = pl_module.waiting.take()
        names = list(self._sums)
        means = torch.stack([self._sums[n] for n in names]).double() / self._batches
        figures = dict(zip(names, _mean_of_processes(trainer, means).tolist(), strict=True))
        samples = self._batches * self._recipe.run.batch * trainer.world_size
        figures |= {
            "lr": float(trainer.optimizers[0].param_groups[0]["lr"]), "samples_per_s": samples / seconds,
            "steps_per_s": self._batches / self._recipe.run.accumulate / seconds,
            "gmacs_per_s": self._batches * pl_module.operations * trainer.world_size / seconds / 1e9,
            "idle": min(waited / seconds, 1.0), "elapsed_s": round(self._conduct.elapsed_s, 3),
        }  # fmt: skip
        self._log(trainer, figures)
        self._restart(pl_module)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Time in validation is none of the interval's."""
        self._validation_began = time.perf_counter()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log the means over all validation samples of all processes."""
        assert isinstance(pl_module, TrainingModule)
        count = float(_sum_of_processes(trainer, torch.tensor(pl_module.samples, dtype=torch.float64)))
        # Else it was broken off, in some process perhaps before there were any names.
        if count == pl_module.validation_samples > 0:
            names = sorted(pl_module.sums)
            sums = torch.tensor([pl_module.sums[n] for n in names], dtype=torch.float64)
            total = _sum_of_processes(trainer, sums)
            seconds = time.perf_counter() - self._validation_began
            figures = {f"val/{n}": float(s) / count for n, s in zip(names, total, strict=True)}
            self._log(trainer, figures | {"val/seconds": seconds})
        self._aside += time.perf_counter() - self._validation_began

    def _log(self, trainer: pl.Trainer, figures: dict[str, float]) -> None:
        self.newest |= figures
        self.logged += 1
        for logger in trainer.loggers:
            logger.log_metrics(figures, self._conduct.step)

    def _restart(self, module: TrainingModule) -> None:
        module.waiting.take()
        self._sums, self._batches = {}, 0
        self._began, self._aside = time.perf_counter(), 0.0


def _sum_of_processes(trainer: pl.Trainer, values: torch.Tensor) -> torch.Tensor:
    if trainer.world_size > 1:
        values = values.to(trainer.strategy.root_device)
        torch.distributed.all_reduce(values)
    return values.cpu()


def _mean_of_processes(trainer: pl.Trainer, values: torch.Tensor) -> torch.Tensor:
    return _sum_of_processes(trainer, values) / trainer.world_size
