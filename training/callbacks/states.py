"""Saves the state of a run and its weights, and ends it: at its length, or when a signal came."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
from lightning_fabric.plugins.io.checkpoint_io import CheckpointIO

from training.callbacks.averaging import MovingAverage
from training.callbacks.conduct import Conduct
from training.files import load_tree, save_tree
from training.module import TrainingModule
from training.recipe import Recipe
from training.run import RunFolder
from training.stopping import Interrupted


class StateFile(CheckpointIO):
    """Lightning's checkpoints as one file that appears whole or not at all and is read without running it."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write; see `files.save_tree`."""
        save_tree(path, checkpoint)

    def load_checkpoint(
        self, path: Any, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read; `weights_only` is always in force."""
        state: dict[str, Any] = load_tree(path, map_location or "cpu")
        return state

    def remove_checkpoint(self, path: Any) -> None:
        """Nothing is ever removed: the next state takes the old one's place."""


class States(pl.Callback):
    """Saves every so often, at the end and at a signal. The last callback, so that all others are saved."""

    def __init__(
        self, recipe: Recipe, run: RunFolder, conduct: Conduct, average: MovingAverage, fingerprint: str
    ) -> None:
        self._recipe, self._run, self._conduct, self._average = recipe, run, conduct, average
        self._fingerprint = fingerprint
        self._saved_s = 0.0
        self._seen = -1

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Count from the beginning of this session."""
        self._saved_s, self._seen = self._conduct.elapsed_s, self._conduct.step

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save when it is due.

        Raises:
            Interrupted: a signal came; the state is saved.
            TrainingError: weights or state cannot be written; the ones before stay.
        """
        assert isinstance(pl_module, TrainingModule)
        conduct = self._conduct
        if conduct.step == self._seen:
            return  # between two steps when gradients are accumulated
        self._seen = conduct.step
        done = conduct.progress >= 1
        due = conduct.elapsed_s - self._saved_s >= self._recipe.run.save_minutes * 60
        if done or due or conduct.stop:
            self._save(trainer, pl_module)
        if done:
            trainer.should_stop = True
        elif conduct.stop:
            raise Interrupted(conduct.stop)

    def _save(self, trainer: pl.Trainer, module: TrainingModule) -> None:
        # Weights first: what a state says is done is never done again, so they have to be there by then.
        if trainer.is_global_zero:
            # Optional in a task: most weights are as their network's card says.
            fields: Mapping[str, Any] = getattr(module.task, "card_fields", dict)()
            self._run.write_weights(
                self._average.entries(), self._recipe, self._conduct.step, self._fingerprint, fields
            )
        trainer.save_checkpoint(self._run.state)
        self._saved_s = self._conduct.elapsed_s
