"""Time, learning rate and soundness of each step, the same in every process."""

from __future__ import annotations

from time import monotonic
from typing import Any

import pytorch_lightning as pl
import torch

from training.errors import NotFinite
from training.files import save_tree
from training.module import TrainingModule
from training.recipe import Recipe
from training.run import RunFolder
from training.schedule import Length, factor
from training.stopping import StopSignals


class Conduct(pl.Callback):
    """Keeps the time of a run, sets the learning rate, stops at a loss that is not finite.

    Attributes:
        step: optimiser steps done.
        elapsed_s: time since the first step, earlier sessions included; process 0's, in every process.
        stop: number of the signal that some process received; 0: none.
    """

    def __init__(self, recipe: Recipe, length: Length, run: RunFolder, signals: StopSignals) -> None:
        self.step = 0
        self.elapsed_s = 0.0
        self.stop = 0
        self._recipe, self._length, self._run, self._signals = recipe, length, run, signals
        self._began = 0.0

    @property
    def progress(self) -> float:
        """0 … 1 of the run."""
        return self._length.progress(self.step, self.elapsed_s)

    @property
    def remaining_s(self) -> float:
        """Estimate of the time that is left, from the pace so far; 0 when unknown."""
        done = self.progress
        return self.elapsed_s * (1 - done) / done if done > 0 else 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """The clock goes on from where the last session ended."""
        self._began = monotonic() - self.elapsed_s
        self._signals.install()

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """The rate of this step."""
        scale = factor(self._recipe.schedule, self.progress, self.step)
        for group in trainer.optimizers[0].param_groups:
            group["lr"] = group["initial_lr"] * scale

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Agree on time, stop and soundness.

        Raises:
            NotFinite: the loss is NaN or infinite in some process; where it is, the batch was saved.
        """
        assert isinstance(pl_module, TrainingModule)
        finite = bool(torch.stack([v.float().sum() for v in pl_module.parts.values()]).isfinite().all())
        elapsed = monotonic() - self._began
        self.elapsed_s, bad, self.stop = _agree(trainer, elapsed, not finite, self._signals.received)
        if not finite:
            self._save(trainer, pl_module, batch)
        if bad:
            raise NotFinite(
                f"the loss of step {self.step + 1} is not finite; its batch is in "
                f"{self._run.bad_batch(self.step + 1)}; the state saved before stays: lower optimiser.lr, set "
                'run.clip_norm or run.precision = "32"'
            )
        pl_module.next_index += self._recipe.run.batch * trainer.world_size
        self.step = trainer.global_step

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run goes on from."""
        return {"elapsed_s": self.elapsed_s, "step": self.step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a saved state."""
        self.elapsed_s, self.step = float(state_dict["elapsed_s"]), int(state_dict["step"])

    def _save(self, trainer: pl.Trainer, module: TrainingModule, batch: Any) -> None:
        tensors = {name: v.cpu() if isinstance(v, torch.Tensor) else v for name, v in batch.items()}
        save_tree(
            self._run.bad_batch(self.step + 1),
            {
                "batch": tensors, "parts": {n: v.cpu() for n, v in module.parts.items()}, "step": self.step + 1,
                "first_index": module.next_index + trainer.global_rank * self._recipe.run.batch,
            },
        )  # fmt: skip


def _agree(trainer: pl.Trainer, elapsed_s: float, bad: bool, stop: int) -> tuple[float, bool, int]:
    """The time of process 0, and whether any process has a bad loss or received a signal."""
    if trainer.world_size == 1:
        return elapsed_s, bad, stop
    said = torch.tensor(
        [elapsed_s if trainer.global_rank == 0 else 0.0, float(bad), float(stop)],
        dtype=torch.float64, device=trainer.strategy.root_device,
    )  # fmt: skip
    torch.distributed.all_reduce(said, op=torch.distributed.ReduceOp.MAX)
    values = said.tolist()
    return values[0], bool(values[1]), int(values[2])
