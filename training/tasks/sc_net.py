"""Training of SC-Net and STRA (C. Cao et al., IEEE TNNLS 2023, IJCAI 2022), with what had to be completed.

Published and kept: the loss, Adam with 1e-4, the event feature handed from frame to frame without its gradient.
Completed, and ours: consecutive frames follow one another (the published order is random), the spiking stage
has a true axis of time (`spiking = "window"`), and the weight of the fusion is a value of the recipe: with
the published 1e-3 the picture hardly depends on the events. The threshold's gradient is the published
surrogate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from capture.errors import UsageError
from inference import cards, networks
from inference.networks.sc_net import SCNet
from training import starts
from training.data.cuts import require_room
from training.data.sc_net import ScNetMaker, ScNetOptions
from training.data.sets.facts import SequenceFacts
from training.losses import sc_net
from training.task import Batch, TrainingData, ValidationData
from training.tasks.supervised import DataFacts, judged, options_of, require_loss, strips, values

if TYPE_CHECKING:
    from training.recipe import Recipe

_OURS = (
    "Trained with our completion: consecutive frames, a true axis of time, weight of the fusion as in options."
)


class ScNetTask(DataFacts):
    """See `training.task.Task`. Options: `training.data.sc_net.ScNetOptions`."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.options = options_of(ScNetOptions, recipe)
        require_loss(recipe, "l1-spectral")
        self._name = recipe.network.name
        spiking = recipe.network.options.get("spiking", "off" if self._name == "stra" else "clip")
        if spiking == "clip":
            raise UsageError(
                'network.options.spiking "clip" mixes eight frames in one and cannot be trained on a stream; '
                'give "window", or use the recipe stra'
            )
        if (spiking == "off") != (self.options.steps == 1):
            raise UsageError(
                f"data.options.steps {self.options.steps}: the spiking stage takes parts of time "
                "(2 or more), stra takes counts (steps = 1)"
            )

    def build_network(self, options: Mapping[str, Any]) -> nn.Module:
        """See `Task`."""
        return networks.build(self._name, **options)

    def start_at_input(self, network: nn.Module) -> None:
        """See `Task`."""
        starts.sc_net(network)

    def loss(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """See `Task`. Parts: pixels, spectrum, and the share of the stage's neurons and steps that fire."""
        truth = values(batch["truth"])
        found = self._clip(network, batch)
        pixels = torch.stack([sc_net.pixel_l1(o, truth[:, k]) for k, o in enumerate(found)]).mean()
        spectrum = torch.stack([sc_net.spectral_l1(o, truth[:, k]) for k, o in enumerate(found)]).mean()
        parts = {
            "loss": pixels + sc_net.SPECTRAL * spectrum, "pixels": pixels, "spectrum": spectrum,
            "replaced": batch["replaced"].mean(),
        }  # fmt: skip
        if self.options.steps > 1:
            parts["firing"] = self._firing(network, batch)
        return parts

    def validate(self, network: nn.Module, batch: Batch) -> dict[str, float]:
        """See `Task`: of all frames, and of each clip's last, which has the longest memory."""
        frames, truth = values(batch["frames"]), values(batch["truth"])
        found = torch.stack(self._clip(network, batch), 1)
        whole = judged(found.flatten(0, 1), frames.flatten(0, 1), truth.flatten(0, 1))
        return {**whole, "last": judged(found[:, -1], frames[:, -1], truth[:, -1])["psnr"]}

    def preview(self, network: nn.Module, batch: Batch) -> Sequence[NDArray[np.uint8]]:
        """See `Task`: of each clip the last frame."""
        found = self._clip(network, batch)
        return strips([values(batch["frames"])[:, -1], found[-1], values(batch["truth"])[:, -1]])

    def datasets(self, recipe: Recipe) -> tuple[TrainingData, ValidationData]:
        """See `Task`."""
        maker = ScNetMaker(self.options)

        def fits(sequences: Sequence[SequenceFacts]) -> None:
            require_room(sequences, self.options.crop)
            maker.sampled = any(s.grid != s.size for s in sequences)

        return self.datasets_of(recipe, maker, fits, self._name)

    def card_fields(self) -> Mapping[str, Any]:
        """See `Task`."""
        o = self.options
        feed = {"window_ms": o.window_ms} | ({"steps": o.steps} if o.steps > 1 else {})
        return {"cautions": (*cards.card(self._name).cautions, _OURS), "feed": feed}

    def _clip(self, network: nn.Module, batch: Batch) -> list[Tensor]:
        """The restored frames of a clip, in order; the first begins without a feature."""
        frames, events = values(batch["frames"]), batch["events"]
        feature: Tensor | None = None
        out: list[Tensor] = []
        for k in range(frames.shape[1]):
            restored, feature = step(network, frames[:, k], events[:, k].float(), feature)
            if self.options.detach:
                feature = feature.detach()
            out.append(restored)
        return out

    @torch.no_grad()
    def _firing(self, network: nn.Module, batch: Batch) -> Tensor:
        """Of the first frame of the first clip: a stage that never fires learns nothing."""
        # Under several processes the network is the wrapper's own module all the same.
        assert isinstance(network, SCNet)
        spikes: Tensor = network.snn(batch["events"][:1, 0].float())
        return (spikes > 0).float().mean()


def step(network: nn.Module, image: Tensor, events: Tensor, feature: Tensor | None) -> tuple[Tensor, Tensor]:
    """One frame: (N, 3, H, W) in 0…1, events (N, 6, H, W[, T]); gives the picture and the next feature."""
    found: tuple[Tensor, Tensor]
    if events.ndim == 5:
        found = network(image, feature, events)
    else:
        found = network(torch.cat([image, events], 1), feature)
    return found
