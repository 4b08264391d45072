"""Training of EFNet as published (L. Sun et al., ECCV 2022): half the negative PSNR of both stages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from inference import cards, networks
from inference.representations.coding import Mode
from training.data.efnet import EfnetMaker, EfnetOptions
from training.losses import efnet
from training.task import Batch, TrainingData, ValidationData
from training.tasks.supervised import DataFacts, judged, options_of, require_loss, strips, values

if TYPE_CHECKING:
    from training.recipe import Recipe


class EfnetTask(DataFacts):
    """See `training.task.Task`. Options: `training.data.efnet.EfnetOptions`."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.options = options_of(EfnetOptions, recipe)
        require_loss(recipe, "psnr")

    def build_network(self, options: Mapping[str, Any]) -> nn.Module:
        """See `Task`."""
        return networks.build("efnet", **options)

    def loss(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """See `Task`. Parts: the negative PSNR of either stage, halved."""
        target = values(batch["truth"])
        first, second = outputs(network, batch)
        touched = network.parameters() if self.options.touch_unused else ()
        return {
            "loss": efnet.loss((first, second), target, touched),
            "stage_1": efnet.psnr_loss(first.detach(), target),
            "stage_2": efnet.psnr_loss(second.detach(), target), "replaced": batch["replaced"].mean(),
        }  # fmt: skip

    def validate(self, network: nn.Module, batch: Batch) -> dict[str, float]:
        """See `Task`."""
        return judged(outputs(network, batch)[-1], values(batch["image"]), values(batch["truth"]))

    def preview(self, network: nn.Module, batch: Batch) -> Sequence[NDArray[np.uint8]]:
        """See `Task`."""
        shown = [values(batch["image"]), outputs(network, batch)[-1], values(batch["truth"])]
        return strips(shown, self.options.channel_order)

    def datasets(self, recipe: Recipe) -> tuple[TrainingData, ValidationData]:
        """See `Task`."""
        return self.datasets_of(recipe, EfnetMaker(self.options), self.options.crop, "efnet")

    def card_fields(self) -> Mapping[str, Any]:
        """See `Task`."""
        o = self.options
        notes = list(cards.card("efnet").cautions)
        if o.representation == "scer" and not o.mask:
            notes.append("Trained without event mask: use the option mask=false.")
        if o.normalise != "maximum":
            notes.append(f"Trained with SCER normalised by {o.normalise}: use the option normalise.")
        if o.mode is not Mode.RELATIVE:
            notes.append(f"Trained with times of the mode {o.mode}: use the option mode.")
        return {
            "representation": o.representation, "channel_order": o.channel_order, "cautions": tuple(notes),
        }  # fmt: skip


def outputs(network: nn.Module, batch: Batch) -> Sequence[Tensor]:
    """Both stages' pictures, (N, 3, H, W), not clipped."""
    mask = batch["mask"].float() if "mask" in batch else None
    found: Sequence[Tensor] = network(values(batch["image"]), batch["events"], mask)
    return found
