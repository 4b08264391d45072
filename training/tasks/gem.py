"""Training of GEM as published (X. Zhang et al., ICCV 2023): two stages, neither of which needs sharp pictures.

The first stage holds the network to what it must do to two frames in a row (brightness and structure
consistency). The second begins with the first one's weights and holds it, besides, to what the network of the
cycle before knew of the frame (temporal generalisation), also at lower resolution (spatial generalisation).
A run is one cycle: the weights that it begins with (`--init`) are teacher and first student in one, as
published, and stay beside the run as `teacher.safetensors`.

Not reproduced: a learning rate of 0 in the first epoch; draws from a global generator. Published, and kept: the
large blur is the mean of the stored values, not of light.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from capture.errors import UsageError
from inference import cards, networks
from training import starts
from training.data.gem_maker import BINS, GemMaker, GemOptions, require_one_scale, scale_of
from training.data.items import Items
from training.data.sets.facts import TRUTH, SequenceFacts
from training.files import save_weights
from training.losses import gem
from training.task import Batch, TrainingData, ValidationData
from training.tasks.supervised import DataFacts, judged, options_of, require_loss, strips, values
from training.weights import initialise

if TYPE_CHECKING:
    from training.recipe import Recipe

FIRST, SECOND = "first-stage", "second-stage"
TEACHER = "teacher.safetensors"


class GemTask(DataFacts):
    """See `training.task.Task`. Losses: `first-stage`, `second-stage`; options: `GemOptions`."""

    takes = "frames in a row with exposure times (of your own rig: halfmirror record --also-msrbd)"
    format = "msrbd"

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.options = options_of(GemOptions, recipe)
        self.second = recipe.loss.name == SECOND
        known = list(gem.WEIGHTS) if self.second else list(gem.WEIGHTS)[:2]
        self.weights = {**gem.WEIGHTS, **require_loss(recipe, SECOND if self.second else FIRST, known)}
        channels = recipe.network.options.get("ev_in_channel", 6 * BINS)
        if channels != 6 * BINS:
            raise UsageError(
                f"network.options.ev_in_channel {channels}: GEM is fed {6 * BINS} channels of events"
            )
        self._scale = 0
        self._recipe = recipe
        self._teacher: nn.Module | None = None

    def build_network(self, options: Mapping[str, Any]) -> nn.Module:
        """See `Task`."""
        return networks.build("gem", **options)

    def begin(self, network: nn.Module, folder: Path, *, begun: bool, resumed: bool, writes: bool) -> None:
        """See `training.task`: the second stage's teacher is the network as it begins.

        Raises:
            UsageError: the second stage has nothing to begin with.
            WeightsError: the teacher of the run cannot be read.
        """
        if not self.second:
            return
        teacher = self.build_network(self._recipe.network.options)
        if resumed:
            initialise(teacher, folder / TEACHER, self._recipe.network)
        elif begun:
            teacher.load_state_dict(network.state_dict())
            if writes:
                save_weights(folder / TEACHER, teacher.state_dict(), {"halfmirror.network": "gem"})
        else:
            raise UsageError(
                "gem's second stage begins with the weights of the first one: give --init "
                "runs/STAGE-1/weights.safetensors, or a published checkpoint"
            )
        self._teacher = teacher.requires_grad_(False).eval()

    def start_at_input(self, network: nn.Module) -> None:
        """See `Task`."""
        starts.gem(network)

    def loss(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """See `Task`. Parts: those of `training.losses.gem`, not weighted."""
        items = items_of(batch)
        if self.second:
            parts = gem.second_stage(
                network, self.teacher(items.frame.device), items, drawn_height(items), self.options.difference
            )
        else:
            parts = gem.first_stage(network, items, self.options.difference)
        named = {n: v for n in gem.WEIGHTS if (v := getattr(parts, n)) is not None}
        return {"loss": parts.total(self.weights), **named, "replaced": batch["replaced"].mean()}

    def teacher(self, device: torch.device) -> nn.Module:
        """The frozen teacher of the second stage."""
        assert self._teacher is not None, "begin was not called"
        self._teacher = self._teacher.to(device)
        return self._teacher

    def validate(self, network: nn.Module, batch: Batch) -> dict[str, float]:
        """See `Task`: brightness and structure consistency; PSNR where the truth is known."""
        items = items_of(batch)
        parts = gem.first_stage(network, items)
        out = {"brightness": float(parts.brightness), "structure": float(parts.structure)}
        if "truth" in batch:
            found = network(items.sharp_from_frame, items.frame)[0]
            out |= judged(found, items.frame, values(batch["truth"]))
        return out

    def preview(self, network: nn.Module, batch: Batch) -> Sequence[NDArray[np.uint8]]:
        """See `Task`: blurred, restored, truth where it is known; else large blur, blurred, restored."""
        items = items_of(batch)
        restored = network(items.sharp_from_frame, items.frame)[0]
        if "truth" in batch:
            return strips([items.frame, restored, values(batch["truth"])], "bgr")
        return strips([items.large, items.frame, restored], "bgr")

    def datasets(self, recipe: Recipe) -> tuple[TrainingData, ValidationData]:
        """See `Task`."""
        maker = GemMaker(self.options)

        def fits(sequences: Sequence[SequenceFacts]) -> None:
            require_one_scale(sequences, self.options.crop)
            self._scale = scale_of(sequences[0])

        data, validation = self.datasets_of(recipe, maker, fits, "gem")
        assert isinstance(data, Items)
        maker.judged = all(TRUTH in s.carries for s in self.held_out)
        for s in (*data.sequences, *self.held_out):
            if alone := maker.without_partner(s):
                line = f"{s.name}: {alone} of {s.frames} frames have no partner to make a pair with"
                print(f"skipped: {line}", file=sys.stderr, flush=True)
                self._facts["skipped"].append(line)
        return data, validation

    def card_fields(self) -> Mapping[str, Any]:
        """See `Task`."""
        cautions = cards.card("gem").cautions
        return {"cautions": (*cautions, f"Trained at scale {self._scale}.")}


def items_of(batch: Batch) -> gem.Batch:
    """A batch as the losses take it."""
    return gem.Batch(
        batch["sharp_from_frame"], batch["sharp_from_large"], batch["frame_from_large"], batch["frame"],
        batch["large"],
    )  # fmt: skip


def drawn_height(items: gem.Batch) -> int:
    """The height of the step's spatial loss, by the step's own generator, so that a resumed run draws it again.

    The width that goes with it, and both, are multiples of 16 as the network takes them.
    """
    rng = np.random.default_rng(int(torch.randint(2**62, ())))
    return gem.draw_height(items.sharp_from_large.shape[-2], items.frame.shape[-2], rng)
