"""A recording that is told to end, however, writes what waits for the disk."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app import recording
from app.recorder import RecordRequest
from app.sources import SourceRequest
from app.supervisor import WorkerPlan
from capture.link import WorkerLink
from recordings.recorder.stream_file import StreamFile
from recordings.recorder.take import Limits
from recordings.recorder.worker import RecorderSpec, run_recorder
from tests.app.cli.test_record import RIG

CHUNK_S = 0.05  # many times as long as the rig takes to fill one


def slow_recorder(link: WorkerLink, spec: RecorderSpec) -> None:
    """The recorder's process, on a disk that falls behind."""
    write = StreamFile._write

    def slowly(self: StreamFile, chunk: Any) -> None:
        time.sleep(CHUNK_S)
        write(self, chunk)

    StreamFile._write = slowly  # type: ignore[method-assign]
    run_recorder(link, spec)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("signal", [KeyboardInterrupt(), SystemExit(143), SystemExit(129)])
def test_a_slow_disk_gets_all_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, signal: BaseException
) -> None:
    plan = recording.recorder_plan

    def slow_plan(*arguments: Any) -> WorkerPlan:
        return replace(plan(*arguments), target=slow_recorder)

    monkeypatch.setattr(recording, "recorder_plan", slow_plan)
    said: list[str] = []

    def watch(figures: dict[str, Any], waiting: str) -> None:
        if figures.get("elapsed_s", 0.0) >= 2.0 and not said:
            said.append(waiting)
            raise signal
        said[1:] = [waiting] if said else []

    result = recording.record(
        SourceRequest.of(RIG), RecordRequest(tmp_path / "r", limits=Limits(reserve=0)),
        said=lambda line: None, watch=watch,
    )  # fmt: skip
    assert result.interrupted
    [health] = result.health.values()
    assert health["losses"]["disk items"] == 0
    assert health["frames"] > 0
    assert "Ctrl+C again" in said[1]


def test_a_recording_that_nobody_wants_to_keep_ends_at_once(tmp_path: Path) -> None:
    def watch(figures: dict[str, Any], waiting: str) -> None:
        raise SystemExit(143)

    with pytest.raises(SystemExit):
        recording.record(
            SourceRequest.of(RIG), RecordRequest(tmp_path / "r", limits=Limits(reserve=0)),
            said=lambda line: None, watch=watch, keep=False,
        )  # fmt: skip
