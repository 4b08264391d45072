"""A restore worker with a network that runs out of memory after a few exposures."""

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

NAME = "failing"
GOOD = 3  # exposures before it fails


class Failing(PassThrough):
    name = NAME
    fails = True
    error: Exception = MemoryError("3 GB wanted")

    def __init__(self, rig: Rig, options: Any, device: str) -> None:
        super().__init__(rig, options, device)
        self._done = 0

    def restore(self, window: Sequence[AlignedExposure], latents: Sequence[float]) -> Restored:
        self._done += 1
        if self.fails and self._done > GOOD:
            raise self.error
        r = super().restore(window, latents)
        return Restored(r.ordinal, r.latents, r.times_us, r.images, self.name)


ENTRY = (ModelChoice(NAME, "blurry frame", "none"), Failing)  # for the list of networks


def run(link: WorkerLink, spec: RestoreWorkerSpec) -> None:
    """The target of the worker's process."""
    models._MODELS[NAME] = ENTRY
    run_restore_worker(link, spec)
