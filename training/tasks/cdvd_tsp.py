"""Training of CDVD-TSP as published (J. Pan, H. Bai, J. Tang, CVPR 2020): both stages and the flow at once.

The loss counts all three results of the first stage and the one of the second, and once more twice on hard
pixels. The flow network is trained along, with a rate of its own; `data.options.flow_weights` gives it
PWC-Net's weights to begin with, as the authors do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from inference import networks
from inference.weights import read_weights
from inference.weights_limits import WeightsError
from training import starts
from training.data.cdvd_tsp import CdvdMaker, CdvdOptions
from training.losses import cdvd_tsp
from training.losses.sc_net import pixel_l1
from training.task import Batch, TrainingData, ValidationData
from training.tasks.supervised import DataFacts, judged, options_of, require_loss, strips, values

if TYPE_CHECKING:
    from training.recipe import Recipe

_FLOW = "flow_net.moduleNetwork."


class CdvdTask(DataFacts):
    """See `training.task.Task`. Options: `training.data.cdvd_tsp.CdvdOptions`."""

    paths = ("flow_weights",)
    first_weights = paths

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.options = options_of(CdvdOptions, recipe)
        require_loss(recipe, "l1-hem")

    def build_network(self, options: Mapping[str, Any]) -> nn.Module:
        """See `Task`.

        Raises:
            UsageError, WeightsError: as there; the flow's weights are not those of PWC-Net.
        """
        network = networks.build("cdvd-tsp", **options)
        if self.options.flow_weights:
            load_flow(network, Path(self.options.flow_weights))
        return network

    def start_at_input(self, network: nn.Module) -> None:
        """See `Task`."""
        starts.cdvd_tsp(network, flow=not self.options.flow_weights)

    def loss(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """See `Task`. Parts: mean absolute error of the first stage and of the result."""
        targets = list(values(batch["truth"]).unbind(1))
        outputs: Sequence[Tensor] = network(values(batch["frames"]))
        prediction, target = cdvd_tsp.stacked(outputs, targets)
        # Seeded by the step's generator, so that a resumed run draws the same pixels.
        rng = torch.Generator(prediction.device)
        rng.manual_seed(int(torch.randint(2**62, ())))
        with torch.no_grad():
            first = torch.stack([pixel_l1(o, t) for o, t in zip(outputs[:3], targets, strict=True)]).mean()
            second = pixel_l1(outputs[3], targets[1])
        total = cdvd_tsp.loss(prediction, target, rng)
        return {"loss": total, "stage_1": first, "stage_2": second, "replaced": batch["replaced"].mean()}

    def validate(self, network: nn.Module, batch: Batch) -> dict[str, float]:
        """See `Task`; also the first stage's result for the middle frame."""
        frames, truth = values(batch["frames"]), values(batch["truth"])[:, 1]
        outputs: Sequence[Tensor] = network(frames)
        found = judged(outputs[3], frames[:, 2], truth)
        return {**found, "stage_1": judged(outputs[1], frames[:, 2], truth)["psnr"]}

    def preview(self, network: nn.Module, batch: Batch) -> Sequence[NDArray[np.uint8]]:
        """See `Task`: blurred, first stage, restored, truth."""
        frames = values(batch["frames"])
        outputs: Sequence[Tensor] = network(frames)
        return strips([frames[:, 2], outputs[1], outputs[3], values(batch["truth"])[:, 1]])

    def datasets(self, recipe: Recipe) -> tuple[TrainingData, ValidationData]:
        """See `Task`."""
        return self.datasets_of(recipe, CdvdMaker(self.options), self.options.crop, "cdvd-tsp")


def load_flow(network: nn.Module, file: Path) -> None:
    """Give the flow network its first weights: PWC-Net's own names, or those of a CDVD-TSP checkpoint.

    Raises:
        WeightsError: other entries; UsageError: no such file.
    """
    found = read_weights(file).entries
    own = {n.removeprefix(_FLOW) for n in network.state_dict() if n.startswith(_FLOW)}
    given = {n.removeprefix(_FLOW): t for n, t in found.items()}
    if missing := sorted(own - given.keys()):
        raise WeightsError(
            f"{file} is refused: of the flow network's {len(own)} entries {len(missing)} are missing "
            f"(such as {missing[0]})"
        )
    state = network.state_dict()
    other = [n for n in own if given[n].shape != state[_FLOW + n].shape or not given[n].isfinite().all()]
    if other:
        raise WeightsError(f"{file} is refused: {other[0]} has another shape, or values that are not finite")
    network.load_state_dict({_FLOW + n: given[n] for n in own}, strict=False)
