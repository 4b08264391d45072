"""Training of S-SDM's LDN (K. Chen et al., NeurIPS 2024): it imitates the teacher, and its blur is the
picture's.

Five instants of an exposure at once. The distance to the teacher is LPIPS with VGG as published (its weights
come from a package, see `training.lpips`), or 1 - SSIM, which needs none and is ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from capture.errors import UsageError
from inference import networks
from inference.representations.spikes import CENTRE, FIRST, LATENTS
from inference.representations.spikes_torch import ldn_windows
from training import lpips, starts
from training.data.s_sdm import LdnOptions, SdmMaker
from training.losses import s_sdm
from training.task import Batch, TrainingData, ValidationData
from training.tasks import s_sdm_teacher
from training.tasks.s_sdm import SpikeTask
from training.tasks.s_sdm_teacher import Teacher
from training.tasks.supervised import decibels, judged, options_of, strips, values

if TYPE_CHECKING:
    from training.recipe import Recipe

LPIPS, SSIM = "lpips-reblur", "ssim-reblur"
_WEIGHTS = {"teacher": s_sdm.TEACHER, "reblur": s_sdm.REBLUR, "structure": 0.0}


class LdnTask(SpikeTask):
    """See `training.task.Task`. Options: `training.data.s_sdm.LdnOptions`.

    Loss: `lpips-reblur` or `ssim-reblur`; weights `teacher` (1), `reblur` (100), `structure` (0: 1 - SSIM
    beside).
    """

    paths = ("bsn", "edsr")

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.options = options_of(LdnOptions, recipe)
        self._kind = recipe.loss.name or LPIPS
        if self._kind not in (LPIPS, SSIM):
            raise UsageError(f"loss.name {recipe.loss.name!r}: s-sdm-ldn is trained with {LPIPS} or {SSIM}")
        if unknown := sorted(set(recipe.loss.weights) - set(_WEIGHTS)):
            raise UsageError(f"loss.weights.{unknown[0]}: unknown; known: {', '.join(_WEIGHTS)}")
        self._weights = _WEIGHTS | recipe.loss.weights
        if self._kind == LPIPS and lpips.weights_file("vgg") is None:
            raise UsageError(
                f"loss {LPIPS} needs the weights of LPIPS (VGG), which are not here: {lpips.HINT}; or take "
                f"ours, which needs none: --set loss.name={SSIM}, in the chain s-sdm --set ldn.loss.name={SSIM}"
            )
        self._teacher: Teacher | None = None
        self._distance: lpips.Lpips | None = None
        self._half = 0

    def build_network(self, options: Mapping[str, Any]) -> nn.Module:
        """See `Task`."""
        network = networks.build("s-sdm-ldn", **options)
        frames = int(options.get("spike_dim", 21))
        self._half = frames // 2
        if frames % 2 == 0 or self._half > FIRST:
            raise UsageError(
                f"network.options.spike_dim {frames}: give an odd number of at most {2 * FIRST + 1} spike "
                "frames, so that the instant lies in their middle and no window leaves the stream"
            )
        return network

    def start_at_input(self, network: nn.Module) -> None:
        """See `Task`."""
        starts.ldn(network)

    def loss(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """See `Task`. Parts: distance to the teacher and re-blur error, without their weights."""
        blurred, spikes = values(batch["image"]), batch["spikes"].float()
        teachers = self._taught(blurred, spikes, LATENTS)
        found = self._pictures(network, blurred, spikes, LATENTS)
        reblur = s_sdm.reblur(blurred, found)
        w = self._weights
        if self._kind == LPIPS:
            teaching = s_sdm.teaching(teachers, found, self._looks(blurred.device), self.options.mode)
            total = w["teacher"] * teaching + w["reblur"] * reblur
            if w["structure"]:
                total = total + w["structure"] * s_sdm.dissimilarity(teachers, found)
        else:
            teaching = s_sdm.dissimilarity(teachers, found)
            total = (w["teacher"] + w["structure"]) * teaching + w["reblur"] * reblur
        return {
            "loss": total, "teacher": teaching.detach(), "reblur": reblur.detach(),
            "replaced": batch["replaced"].mean(),
        }  # fmt: skip

    def validate(self, network: nn.Module, batch: Batch) -> dict[str, float]:
        """See `Task`: at the centre; `teacher` is the teacher's PSNR, `reblur` that of the blur put back."""
        blurred, spikes = values(batch["image"]), batch["spikes"].float()
        found = self._pictures(network, blurred, spikes, LATENTS)
        again = torch.stack([p.clamp(0, 1) for p in found]).mean(0)
        out = {"reblur": float(decibels(again, blurred).mean())}
        if "truth" in batch:
            truth = values(batch["truth"])
            (teacher,) = self._taught(blurred, spikes, (CENTRE,))
            out |= judged(found[LATENTS.index(CENTRE)], blurred, truth)
            out["teacher"] = float(decibels(teacher, truth).mean())
        return out

    def preview(self, network: nn.Module, batch: Batch) -> Sequence[NDArray[np.uint8]]:
        """See `Task`: blurred, teacher, restored, truth where there is one."""
        blurred, spikes = values(batch["image"]), batch["spikes"].float()
        at = (CENTRE,)
        shown = [blurred, *self._taught(blurred, spikes, at), *self._pictures(network, blurred, spikes, at)]
        return strips([*shown, values(batch["truth"])] if "truth" in batch else shown, "bgr")

    def datasets(self, recipe: Recipe) -> tuple[TrainingData, ValidationData]:
        """See `Task`.

        Raises:
            UsageError, WeightsError: as there; the teacher is not there, or no teacher.
        """
        files = s_sdm_teacher.files_of(self.options.bsn, self.options.edsr)
        self._teacher = s_sdm_teacher.load(files)
        digest = s_sdm_teacher.digest_of(files)
        found = self.spike_sets(recipe, SdmMaker(self.options, pictured=True, teacher=digest))
        self._facts["teacher"] = digest
        return found

    def _pictures(self, network: nn.Module, blurred: Tensor, spikes: Tensor, at: Sequence[int]) -> list[Tensor]:
        """(N, 3, H, W) BGR of each instant, not clipped, in one pass."""
        out: Tensor = network(blurred.repeat(len(at), 1, 1, 1), ldn_windows(spikes, at, self._half))
        return list(out.chunk(len(at)))

    def _taught(self, blurred: Tensor, spikes: Tensor, at: Sequence[int]) -> list[Tensor]:
        assert self._teacher is not None, "datasets comes first"
        # On the CPU until the first batch tells where the network lies.
        self._teacher = self._teacher.to(blurred.device)
        found: list[Tensor] = self._teacher(blurred, spikes, at)
        return found

    def _looks(self, device: torch.device) -> lpips.Lpips:
        if self._distance is None:
            self._distance = lpips.load("vgg").to(device)
        return self._distance
