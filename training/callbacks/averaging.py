"""The moving average of the weights: Lightning's, with a decay that grows at the start of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import pytorch_lightning as pl
from pytorch_lightning.callbacks import WeightAveraging
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from training.files import load_tree
from training.module import TrainingModule

# Of a state's entries that are the network's, see `training.module`.
_PREFIX = "network."


def averaged_in(state: Path) -> dict[str, Tensor]:
    """The averaged network's entries in a saved state; values are read when they are used.

    Raises:
        TrainingError: the state cannot be read.
    """
    entries = load_tree(state, mapped=True)["state_dict"]
    return {n.removeprefix(_PREFIX): t for n, t in entries.items() if n.startswith(_PREFIX)}


class MovingAverage(WeightAveraging):
    """Exponential moving average, validated and kept in place of the weights themselves.

    Step n (0, 1, …) uses the decay min(decay, (1 + n) / (10 + n)): a constant one would carry the random first
    weights through the first 1 / (1 - decay) steps and more.

    Args:
        decay: of a long run, 0 … 1; 0: the average is the newest weights.
    """

    def __init__(self, decay: float) -> None:
        super().__init__(use_buffers=True, multi_avg_fn=self._average)
        self.decay = decay
        self._step = 0

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """The average lies where the network is going to: at this time it still is on the CPU.

        Left there, every step would bring all weights back from the GPU one by one.
        """
        self._device = trainer.strategy.root_device
        super().setup(trainer, pl_module, stage)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Take in the newest weights."""
        self._step = trainer.global_step - 1
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    def entries(self) -> Mapping[str, Tensor]:
        """The averaged network's state dict, under its own names."""
        assert self._average_model is not None
        copy = cast(TrainingModule, self._average_model.module)
        return copy.network.state_dict()

    def _average(self, average: Sequence[Tensor], newest: Sequence[Tensor], count: Any) -> None:
        decay = min(self.decay, (1 + self._step) / (10 + self._step))
        take_in: Any = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
        take_in(average, newest, count)
