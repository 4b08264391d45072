"""A restore worker whose first process loses its GPU after a few exposures."""

from __future__ import annotations

from capture.link import WorkerLink
from inference import models
from inference.models import ModelChoice
from inference.worker import RestoreWorkerSpec, run_restore_worker
from tests.app import failing_network

NAME = "losing"
GOOD = failing_network.GOOD


class Losing(failing_network.Failing):
    name = NAME
    fails = False
    error = RuntimeError("CUDA error: unknown error")


ENTRY = (ModelChoice(NAME, "blurry frame", "none"), Losing)  # for the list of networks


def run(link: WorkerLink, spec: RestoreWorkerSpec) -> None:
    """The target of the worker's process."""
    from inference import switching

    models._MODELS[NAME] = ENTRY
    Losing.fails = link.incarnation == 0
    switching.device_lost = lambda: Losing.fails  # type: ignore[assignment]
    run_restore_worker(link, spec)
