"""What a task is: everything about a training that the engine does not know.

A task says which network is trained, on which samples, with which loss, and how its results are judged. The
engine does the rest: steps, schedule, averaging, devices, states, logs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from training.recipe import Recipe

# A sample or a batch of them: tensors by name (a batch has one dimension more in front), and whatever else the
# task wants to hand on as text or numbers. Values that are NumPy arrays or numbers become tensors in a batch.
Batch = dict[str, Any]


class TrainingData(Protocol):
    """Samples without end, each a function of its index alone.

    The engine asks for indices 0, 1, 2 … over the whole run, whatever the number of processes and workers, and
    again from where a run stopped. A sample must have the same bytes each time: draw from a generator seeded
    with (seed, index), never from a global one. A finite set repeats itself, see `training.data.order.Epochs`.

    It is pickled into worker processes, so it opens files there, not in its constructor. A set that makes
    whole batches faster than single samples may also have `__getitems__(indices) -> Batch`; what that gives is
    not collated again.

    A set that may fit into a GPU's memory may have `resident(device) -> TrainingData | None`: the same samples
    from there, made in the trainer's own process; None where they do not fit.
    """

    def __getitem__(self, index: int) -> Batch:
        """The sample of an index, 0 or larger."""

    def fingerprint(self) -> str:
        """Short text that changes when the samples do: photos, settings, version of the synthesis.

        A run is not resumed on data with another fingerprint.
        """


class ValidationData(Protocol):
    """A finite set of samples, the same ones at each validation."""

    def __getitem__(self, index: int) -> Batch:
        """The sample of an index, 0 … len - 1."""

    def __len__(self) -> int:
        """Number of samples; 0: nothing is validated."""


class Task(Protocol):
    """One way to train one network. Made once in each process, from the recipe, and holds no tensors."""

    def build_network(self, options: Mapping[str, Any]) -> nn.Module:
        """The network with its first weights, float32 on the CPU; the global generator is seeded before.

        Everything that is trained lies in it. Entries of its `state_dict` are what the weights file holds.

        Raises:
            UsageError: an unknown option, or a value that the network cannot take.
        """

    def loss(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Scalars by name: `loss`, which is minimised, and its parts, which are logged.

        A mean over the batch, so that two processes with half of it each make the same step. Random numbers
        from the global generators are the same again when a run is resumed (seeded at each step).
        """

    def validate(self, network: nn.Module, batch: Batch) -> dict[str, float]:
        """Measures by name (psnr …), means over the batch. Without gradients, the averaged weights."""

    def preview(self, network: nn.Module, batch: Batch) -> Sequence[NDArray[np.uint8]]:
        """Pictures (H, W[, 3]) RGB uint8 of a validation batch, each blurred | EDI | restored | truth."""

    def datasets(self, recipe: Recipe) -> tuple[TrainingData, ValidationData]:
        """Samples to train on and to validate with; no sample of one is made from a photo of the other.

        Raises:
            UsageError: no photos, unreadable recordings, unknown settings.
        """

    # Optional, and looked for by name:
    # grows: bool
    #     Whether `--init` may be weights of a smaller network of the same kind, see `training.growth`.
    # def sizes(self, shapes: Mapping[str, tuple[int, ...]]) -> Mapping[str, Any]
    #     Options of the network with such entries that a recipe may leave out and that the program may one day
    #     choose otherwise: a run states them in its recipe.
    # paths: Sequence[str]
    #     Names of those of `data.options` that are paths. The data's fingerprint is of what they lead to, but
    #     for `first_weights`.
    # first_weights: Sequence[str]
    #     Those of `paths` that are first weights: a run that goes on is without them, and needs no such file.
    # def card_fields(self) -> Mapping[str, Any]
    #     What the weights take, where it differs from their network's card: representation, channel_order, and
    #     `feed`, the restorer's options they were trained with.
    # def data_facts(self) -> Mapping[str, Any]
    #     Of its data, once `datasets` was called: goes into run.json.
    # def start_at_input(self, network) -> None
    #     Give a network that was just built first weights with which it gives its input back, see
    #     `training.starts`; asked for with `network.start = "input"`.
    # def begin(self, network, folder: Path, *, begun: bool, resumed: bool, writes: bool) -> None
    #     Once the network has its first weights and the run's folder is open. `begun`: the weights were given
    #     (`--init`); `resumed`: the run goes on, and the network's own come with its state; `writes`: this
    #     process may put files into the folder. UsageError: nothing is left behind.
