"""Training of S-SDM's teacher (K. Chen et al., NeurIPS 2024): BSN takes the noise away, EDSR makes it large.

Neither sees a sharp picture. BSN is its own target, blind to the pixel it predicts; EDSR learns from the
average of a whole exposure what the blurred picture is, and is used on short averages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from inference import networks
from inference.representations.spikes import CENTRE, LATENTS
from inference.representations.spikes_torch import tfp
from training import starts
from training.data.items import Items
from training.data.s_sdm import Repeated, SdmMaker, SdmOptions, all_with_truth
from training.data.sets.facts import SPIKES
from training.data.sets.spikes import CELL
from training.losses import s_sdm
from training.task import Batch, TrainingData, ValidationData
from training.tasks.supervised import DataFacts, decibels, options_of, require_loss, strips, values

if TYPE_CHECKING:
    from training.recipe import Recipe

SHORT, LONG = 9, 97
"""Spike frames of the average at an instant, and of the one over the whole exposure."""


class SpikeTask(DataFacts):
    """What the three recipes have in common: data with spikes."""

    takes = f"blurred pictures with {SPIKES}"
    format = "spikes"

    def spike_sets(self, recipe: Recipe, maker: SdmMaker) -> tuple[TrainingData, ValidationData]:
        """See `DataFacts.datasets_of`; notes whether the held-out videos have sharp pictures."""
        found = self.datasets_of(recipe, maker, maker.options.crop, recipe.network.name)
        maker.judged = all_with_truth(self.held_out)
        return found


class BsnTask(SpikeTask):
    """See `training.task.Task`. Options: `training.data.s_sdm.SdmOptions`."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.options = options_of(SdmOptions, recipe)
        require_loss(recipe, "blind-spot")

    def build_network(self, options: Mapping[str, Any]) -> nn.Module:
        """See `Task`."""
        return networks.build("s-sdm-bsn", **options)

    def start_at_input(self, network: nn.Module) -> None:
        """See `Task`."""
        starts.bsn(network)

    def loss(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """See `Task`: of one of the five instants, all of which a batch goes through."""
        noisy = tfp(batch["spikes"], LATENTS[int(batch["turn"][0])], SHORT)
        return {"loss": s_sdm.imitation(network(noisy), noisy), "replaced": batch["replaced"].mean()}

    def validate(self, network: nn.Module, batch: Batch) -> dict[str, float]:
        """See `Task`: at the centre, on the spikes' grid; `blurred` is the average that goes in."""
        noisy = tfp(batch["spikes"], CENTRE, SHORT)
        clean = network(noisy)
        out = {"loss": float(s_sdm.imitation(clean, noisy))}
        if "truth" in batch:
            truth = quarter(gray(values(batch["truth"])))
            pair = {"psnr": clean, "blurred": noisy}
            out |= {n: float(decibels(x, truth).mean()) for n, x in pair.items()}
        return out

    def preview(self, network: nn.Module, batch: Batch) -> Sequence[NDArray[np.uint8]]:
        """See `Task`: average, denoised, truth where there is one."""
        noisy = tfp(batch["spikes"], CENTRE, SHORT)
        shown = [noisy, network(noisy)]
        if "truth" in batch:
            shown.append(quarter(gray(values(batch["truth"]))))
        return strips([coloured(x) for x in shown])

    def datasets(self, recipe: Recipe) -> tuple[TrainingData, ValidationData]:
        """See `Task`."""
        data, validation = self.spike_sets(recipe, SdmMaker(self.options, pictured=False))
        assert isinstance(data, Items)
        return Repeated(data, recipe.run.batch, len(LATENTS)), validation


class EdsrTask(SpikeTask):
    """See `training.task.Task`. Options: `training.data.s_sdm.SdmOptions`."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.options = options_of(SdmOptions, recipe)
        require_loss(recipe, "long-average")

    def build_network(self, options: Mapping[str, Any]) -> nn.Module:
        """See `Task`."""
        return networks.build("s-sdm-edsr", **options)

    def start_at_input(self, network: nn.Module) -> None:
        """See `Task`."""
        starts.edsr(network)

    def loss(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """See `Task`."""
        long = tfp(batch["spikes"], CENTRE, LONG)
        total = s_sdm.imitation(network(long), gray(values(batch["image"])))
        return {"loss": total, "replaced": batch["replaced"].mean()}

    def validate(self, network: nn.Module, batch: Batch) -> dict[str, float]:
        """See `Task`: against the gray blurred picture, `blurred` is the average enlarged as it is.

        With truth also the short average at the centre against the sharp gray one (`sharp`, `sharp_nearest`).
        """
        out = _enlarged(network, batch, LONG, gray(values(batch["image"])), ("psnr", "blurred"))
        if "truth" in batch:
            out |= _enlarged(network, batch, SHORT, gray(values(batch["truth"])), ("sharp", "sharp_nearest"))
        return out

    def preview(self, network: nn.Module, batch: Batch) -> Sequence[NDArray[np.uint8]]:
        """See `Task`: average enlarged as it is, by the network, the blurred picture in gray."""
        long = tfp(batch["spikes"], CENTRE, LONG)
        return strips([coloured(x) for x in (nearest(long), network(long), gray(values(batch["image"])))])

    def datasets(self, recipe: Recipe) -> tuple[TrainingData, ValidationData]:
        """See `Task`."""
        return self.spike_sets(recipe, SdmMaker(self.options, pictured=True))


def _enlarged(
    network: nn.Module, batch: Batch, length: int, target: Tensor, names: tuple[str, str]
) -> dict[str, float]:
    average = tfp(batch["spikes"], CENTRE, length)
    found = (network(average), nearest(average))
    return {n: float(decibels(x, target).mean()) for n, x in zip(names, found, strict=True)}


def gray(bgr: Tensor) -> Tensor:
    """(N, 1, H, W) of (N, 3, H, W) BGR, with S-SDM's weights."""
    return 0.11 * bgr[:, :1] + 0.59 * bgr[:, 1:2] + 0.3 * bgr[:, 2:]


def quarter(picture: Tensor) -> Tensor:
    """(N, C, H/4, W/4): the mean of the 2×2 pixels in the middle of every 4×4 block."""
    rows = picture[..., 1::CELL, :] + picture[..., 2::CELL, :]
    return (rows[..., 1::CELL] + rows[..., 2::CELL]) / 4


def nearest(average: Tensor) -> Tensor:
    """Four times as large, each value a block."""
    return F.interpolate(average, scale_factor=CELL, mode="nearest")


def coloured(x: Tensor) -> Tensor:
    """(N, 1, H, W) as three equal channels."""
    return x.expand(-1, 3, -1, -1)
