"""Training of EFNet as published (L. Sun et al., ECCV 2022): half the negative PSNR of both stages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from capture.errors import UsageError
from inference import networks
from inference.representations.coding import Mode
from training.data.efnet import BINS, EfnetMaker, EfnetOptions
from training.losses import efnet
from training.task import Batch, TrainingData, ValidationData
from training.tasks.supervised import DataFacts, judged, options_of, require_loss, strips, values

if TYPE_CHECKING:
    from training.recipe import Recipe


DEPTH = 3
"""Of EFNet's scales, in the published form: what pads its pictures and reads its weights goes by it."""


class EfnetTask(DataFacts):
    """See `training.task.Task`. Options: `training.data.efnet.EfnetOptions`."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.options = options_of(EfnetOptions, recipe)
        require_loss(recipe, "psnr")
        channels = recipe.network.options.get("ev_chn", BINS)
        if channels not in (BINS, BINS + 1):
            raise UsageError(
                f"network.options.ev_chn {channels}: EFNet is fed {BINS} channels of events, or {BINS + 1} "
                "(weights of the first release)"
            )
        if (depth := recipe.network.options.get("depth", DEPTH)) != DEPTH:
            raise UsageError(f"network.options.depth {depth}: weights can be used with the depth {DEPTH} alone")
        self._maker = EfnetMaker(self.options, zero_middle=channels == BINS + 1)

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
        return self.datasets_of(recipe, self._maker, self.options.crop, "efnet")

    def card_fields(self) -> Mapping[str, Any]:
        """See `Task`."""
        o = self.options
        feed: dict[str, Any] = {}
        if o.representation == "scer":
            feed = {"mask": o.mask, "normalise": o.normalise}
        if o.mode is Mode.CORRECTED:  # as published is, on a clock of its own, what restorers do anyway
            feed["mode"] = "corrected"
        return {"representation": o.representation, "channel_order": o.channel_order, "feed": feed}


def outputs(network: nn.Module, batch: Batch) -> Sequence[Tensor]:
    """Both stages' pictures, (N, 3, H, W), not clipped."""
    mask = batch["mask"].float() if "mask" in batch else None
    found: Sequence[Tensor] = network(values(batch["image"]), batch["events"], mask)
    return found
