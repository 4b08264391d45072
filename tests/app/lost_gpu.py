"""A restore worker whose first process loses its GPU after a few exposures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from capture.link import WorkerLink
from inference import models
from inference.models import ModelChoice
from inference.restorers.base import Restored
from inference.restorers.passthrough import PassThrough
from inference.worker import RestoreWorkerSpec, run_restore_worker
from sync.exposure import AlignedExposure
from sync.rig import Rig

NAME = "losing"
GOOD = 3  # exposures before the GPU is lost


class Losing(PassThrough):
    name = NAME
    loses = False

    def __init__(self, rig: Rig, options: Any, device: str) -> None:
        super().__init__(rig, options, device)
        self._done = 0

    def restore(self, window: Sequence[AlignedExposure], latents: Sequence[float]) -> Restored:
        self._done += 1
        if self.loses and self._done > GOOD:
            raise RuntimeError("CUDA error: unknown error")
        r = super().restore(window, latents)
        return Restored(r.ordinal, r.latents, r.times_us, r.images, self.name)


ENTRY = (ModelChoice(NAME, "blurry frame", "none"), Losing)  # for the list of networks


def run(link: WorkerLink, spec: RestoreWorkerSpec) -> None:
    """The target of the worker's process."""
    from inference import switching

    models._MODELS[NAME] = ENTRY
    Losing.loses = link.incarnation == 0
    switching.device_lost = lambda: Losing.loses  # type: ignore[assignment]
    run_restore_worker(link, spec)
