"""Pictures of the first validation samples at each validation, as PNG files."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl

from training.callbacks.conduct import Conduct
from training.files import replace_bytes
from training.module import TrainingModule
from training.pictures import encode_png
from training.recipe import Recipe
from training.run import RunFolder


class Previews(pl.Callback):
    """Asks the task for pictures of the first validation batch."""

    def __init__(self, recipe: Recipe, run: RunFolder, conduct: Conduct) -> None:
        self._recipe, self._run, self._conduct = recipe, run, conduct

    def on_validation_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:  # fmt: skip
        """Draw, in process 0, with the averaged weights.

        Raises:
            TrainingError: they cannot be written.
        """
        assert isinstance(pl_module, TrainingModule)
        if batch_idx or not trainer.is_global_zero or not self._recipe.run.previews:
            return
        pictures = pl_module.task.preview(pl_module.network, batch)[: self._recipe.run.previews]
        for number, picture in enumerate(pictures):
            path = self._run.preview(self._conduct.step, number)
            path.parent.mkdir(exist_ok=True)
            replace_bytes(path, encode_png(picture))
