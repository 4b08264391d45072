"""The LightningModule around a task's network. It knows nothing of what is trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from capture.errors import UsageError
from training.data.loader import TimedLoader, WaitingTime, worker_count
from training.data.order import GlobalBatches, generator_seed, share
from training.errors import TrainingError
from training.recipe import GroupEntry, OptimiserEntry, Recipe
from training.task import Batch, Task, TrainingData, ValidationData

# Samples of the validation set that fit into so much memory are made once.
_KEPT_BYTES = 1 << 30


class TrainingModule(pl.LightningModule):
    """One network with its task, data and optimiser.

    Attributes:
        network: what is trained; the only child, so that names of entries are its own after `network.`.
        next_index: global index of the first sample not yet used.
        waiting: how long this process waited for samples.
        stop: tells that the run is to end: a validation is then broken off.
        operations: multiply-adds of one training step in this process, counted in the first; 0 before.
        parts: of the newest loss, by name, detached.
    """

    def __init__(
        self, recipe: Recipe, task: Task, network: nn.Module, data: TrainingData, validation: ValidationData
    ) -> None:
        super().__init__()
        self.recipe = recipe
        self.network = network
        self.next_index = 0
        self.waiting = WaitingTime()
        self.stop: Callable[[], bool] = lambda: False
        self.operations = 0.0
        self.parts: dict[str, Tensor] = {}
        self.sums: dict[str, float] = {}
        self.samples = 0
        self._held: tuple[Task, TrainingData, _Kept] | None = (task, data, _Kept(validation))

    def __getstate__(self) -> dict[str, Any]:
        # The averaged weights live in a deep copy of the module; what only the original uses stays out of it.
        return {**super().__getstate__(), "_held": None, "parts": {}, "stop": None}

    @property
    def validation_samples(self) -> int:
        """Of all processes together."""
        assert self._held is not None
        return len(self._held[2])

    @property
    def task(self) -> Task:
        """The task; not in copies."""
        assert self._held is not None
        return self._held[0]

    # --- data ---------------------------------------------------------------------------------------------

    def train_dataloader(self) -> TimedLoader:
        """Batches from the first sample on that was not used yet."""
        assert self._held is not None
        batches = GlobalBatches(
            self.next_index, self.recipe.run.batch, self.trainer.global_rank, self.trainer.world_size
        )
        cuda = self.device.type == "cuda"
        if cuda and (keep := getattr(self._held[1], "resident", None)) and (kept := keep(self.device)):
            return TimedLoader(kept, batches, waiting=self.waiting)
        local = max(1, self.trainer.num_devices)
        return TimedLoader(
            self._held[1], batches, workers=worker_count(self.recipe.data.workers, local),
            prefetch=self.recipe.data.prefetch, pin=cuda, waiting=self.waiting,
        )  # fmt: skip

    def val_dataloader(self) -> TimedLoader:
        """This process's share of the validation samples; where it has none, one that does not count.

        Without a batch Lightning leaves the whole validation out, and the others would wait for this process.
        """
        assert self._held is not None
        kept = self._held[2]
        batches = share(len(kept), self.recipe.run.batch, self.trainer.global_rank, self.trainer.world_size)
        if not batches:
            return TimedLoader(kept, [[0]])  # a signal stops the others where something is summed up
        return TimedLoader(kept, batches, stop=self.stop)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Where in the order of samples the run stands."""
        checkpoint["next_index"] = self.next_index

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on with the next sample."""
        self.next_index = int(checkpoint["next_index"])

    # --- steps --------------------------------------------------------------------------------------------

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Random numbers of a step depend on seed, sample and process: a resumed run draws the same ones."""
        torch.manual_seed(generator_seed(self.recipe.seed, self.next_index, self.trainer.global_rank))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The loss of one batch."""
        if self.operations:
            parts = self.task.loss(self.network, batch)
        else:
            with FlopCounterMode(display=False) as counter:
                parts = self.task.loss(self.network, batch)
            # Two operations are one multiply-add; the way back costs about twice the way forth.
            self.operations = 3 * max(counter.get_total_flops(), 1) / 2
        if "loss" not in parts:
            raise TrainingError(
                f"task {self.recipe.task_name} gives no 'loss', but {', '.join(parts) or 'none'}"
            )
        self.parts = {name: value.detach() for name, value in parts.items()}
        return parts["loss"]

    def on_validation_epoch_start(self) -> None:
        """Begin the means anew."""
        self.sums, self.samples = {}, 0

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Measures of one batch, weighted by its size."""
        count = batch_size(batch) if self.trainer.global_rank < self.validation_samples else 0
        for name, value in self.task.validate(self.network, batch).items():
            self.sums[name] = self.sums.get(name, 0.0) + (value * count if count else 0.0)
        self.samples += count

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The recipe's optimiser; each group remembers its full rate as `initial_lr`."""
        return make_optimiser(self.recipe.optimiser, dict(self.network.named_parameters()))


class _Kept:
    """Validation samples, made once as long as they fit into memory."""

    def __init__(self, data: ValidationData) -> None:
        self._data = data
        self._kept: dict[int, Batch] = {}
        self._room = _KEPT_BYTES

    def __len__(self) -> int:
        return len(self._data)

    def __getitem__(self, index: int) -> Batch:
        if index in self._kept:
            return self._kept[index]
        sample = self._data[index]
        size = sum(v.nbytes for v in sample.values() if hasattr(v, "nbytes"))
        if size <= self._room:
            self._room -= size
            self._kept[index] = sample
        return sample


def batch_size(batch: Batch) -> int:
    """Samples in a batch: the length of its first tensor; 1 when it has none."""
    return next((len(v) for v in batch.values() if isinstance(v, Tensor) and v.ndim), 1)


def make_optimiser(entry: OptimiserEntry, parameters: Mapping[str, nn.Parameter]) -> torch.optim.Optimizer:
    """The optimiser with its groups: each parameter belongs to the first group whose prefix it has.

    Raises:
        UsageError: a prefix that no parameter has.
    """
    rest = [p for name, p in parameters.items() if _group_of(entry, name) is None]
    groups: list[dict[str, Any]] = []
    for group in entry.groups:
        own = [p for name, p in parameters.items() if _group_of(entry, name) is group]
        if not own:
            raise UsageError(
                f"optimiser.groups: no parameter's name begins with {group.prefix!r}; "
                f"they are such as {next(iter(parameters), 'none')!r}"
            )
        groups.append({"params": own, **_rates(group, entry)})
    if rest:
        groups.insert(0, {"params": rest, "lr": entry.lr, "initial_lr": entry.lr})
    if entry.name == "sgd":
        return torch.optim.SGD(groups, lr=entry.lr, momentum=entry.momentum, weight_decay=entry.weight_decay)
    kind = torch.optim.AdamW if entry.name == "adamw" else torch.optim.Adam
    return kind(groups, lr=entry.lr, betas=entry.betas, eps=entry.eps, weight_decay=entry.weight_decay)


def hold_still(entry: OptimiserEntry, network: nn.Module) -> None:
    """Parameters whose group has the rate 0 ask for no gradient: what they would be is not computed.

    Raises:
        UsageError: nothing is left that learns.
    """
    for name, parameter in network.named_parameters():
        group = _group_of(entry, name)
        if group is not None and group.lr == 0:
            parameter.requires_grad_(False)
    if not any(p.requires_grad for p in network.parameters()):
        raise UsageError("optimiser.groups: all parameters have the rate 0, so nothing would be learnt")


def _group_of(entry: OptimiserEntry, name: str) -> GroupEntry | None:
    """The first group whose prefix a parameter's name has."""
    return next((g for g in entry.groups if name.startswith(g.prefix)), None)


def _rates(group: GroupEntry, entry: OptimiserEntry) -> dict[str, float]:
    decay = entry.weight_decay if group.weight_decay is None else group.weight_decay
    return {"lr": group.lr, "initial_lr": group.lr, "weight_decay": decay}
