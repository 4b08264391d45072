"""A recorder that was ended before the disk had everything leaves no last word, which must be said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from app.recorder import RECORDER
from app.recording import RecordingFailed, _Run
from app.session import WorkerStatus
from app.supervisor import FromWorker
from capture.camera import CameraState
from recordings.recorder.worker import DONE, TOPIC
from sync.rig import Rig
from tests.capture.simulated_small import small
from tests.recordings.own_sample import rig_of_config


class Ended:
    """A supervisor whose recorder has ended, and what it had published."""

    def __init__(self, *messages: FromWorker) -> None:
        self._messages = list(messages)

    def poll(self) -> list[FromWorker]:
        told, self._messages = self._messages, []
        return told

    def statuses(self) -> list[WorkerStatus]:
        return [WorkerStatus(RECORDER, CameraState.STOPPED)]


@pytest.fixture(scope="module")
def rig() -> Rig:
    return rig_of_config(small(paced=False))


def run_of(rig: Rig, *messages: FromWorker) -> _Run:
    run = _Run(Ended(*messages), lambda figures, waiting: None, lambda line: None, rig)  # type: ignore[arg-type]
    run.result.interrupted = True
    return run


def test_a_recorder_that_was_ended_too_early_is_told(rig: Rig, tmp_path: Path) -> None:
    figures: dict[str, Any] = {"folder": str(tmp_path), "armed": False}
    begun = FromWorker(RECORDER, TOPIC, figures)
    with pytest.raises(RecordingFailed, match="before it had written what waited"):
        run_of(rig, begun).to_the_end()
    health = {"state": "finished", "losses": {}, "message": ""}
    run_of(rig, begun, FromWorker(RECORDER, DONE, {"folder": str(tmp_path), "health": health})).to_the_end()
    run_of(rig).to_the_end()  # not even begun
