"""MS-RBD style files written while a rig is recorded, by a process that reads the recording as it grows.

It reads what the recorder has written, not the rings: it may be as slow as it likes, loses nothing, and what it
makes is what `halfmirror export` makes of the recording later, bit for bit.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.export import ExportRequest, ExportResult, export_msrbd
from app.offline_input import Item, OfflineInput
from app.supervisor import WorkerPlan
from capture.camera import CameraState
from capture.errors import HalfmirrorError
from capture.link import WorkerLink
from recordings.formats.own_about import ABOUT, About
from recordings.formats.own_follow import NotFollowed, follow
from recordings.open import open_recording

NAME, WRITTEN = "msrbd", "written"
HEARTBEAT_S = 120.0
"""Reading back a long sequence says nothing meanwhile."""
_NICE = 10


@dataclass(frozen=True, slots=True)
class AlsoMsRbd:
    """What is to be written; picklable.

    Attributes:
        recordings: folders of the recordings, as a person would name them, in the order in which they come.
        split: "train" or "test".
    """

    recordings: tuple[Path, ...]
    split: str

    def output(self, recording: Path) -> Path:
        """Where the files of a recording go."""
        return beside(recording)


def beside(recording: Path) -> Path:
    """The folder of MS-RBD style files of a recording: NAME-msrbd."""
    return recording.with_name(f"{recording.name}-msrbd")


def plan(spec: AlsoMsRbd) -> WorkerPlan:
    """The worker; what it had begun is lost when it dies, and can be exported later."""
    return WorkerPlan(NAME, run_also_msrbd, spec, heartbeat_s=HEARTBEAT_S, budget=0)


def run_also_msrbd(link: WorkerLink, spec: AlsoMsRbd) -> None:
    """Write the files of every recording. The target of the process.

    Publishes `WRITTEN` for each: `folder`, `output`, and `text` (one line) or `problem`.
    """
    os.nice(_NICE)  # the recorder comes first
    for recording in spec.recordings:
        told = {"folder": str(recording), "output": str(spec.output(recording))}
        try:
            r = _write(link, spec, recording)
        except NotFollowed:
            return
        except HalfmirrorError as e:
            link.publish(WRITTEN, {**told, "problem": str(e)})
        else:
            f = r.facts
            text = f"{r.pairs} pairs, {f.frames} frames, {f.events} events; "
            text += f"read back and equal: checksum {f.checksum}"
            link.publish(WRITTEN, {**told, "text": text})


def _write(link: WorkerLink, spec: AlsoMsRbd, recording: Path) -> ExportResult:
    def alive() -> bool:
        link.poll()
        link.beat(CameraState.RUNNING)
        return not link.stopping

    link.status(CameraState.RUNNING)
    while not (recording / ABOUT).exists():
        if not alive():
            raise NotFollowed(f"{recording}: was not begun")
        time.sleep(0.1)
    rig = About.load(recording).rig

    def items() -> Iterator[Item]:
        for item in follow(recording, alive):
            if not alive():
                raise NotFollowed(f"{recording}: told to stop")
            yield item

    def problems() -> list[str]:
        with open_recording(recording) as r:
            return list(r.info.problems)

    source = OfflineInput(str(recording), rig, items(), 1, problems)
    request = ExportRequest(spec.output(recording), recording.stem, spec.split)
    return export_msrbd(source, request)


class Written:
    """What the worker has told so far.

    Attributes:
        lines: one a recording, in order.
        problems: recordings of which no files were made, and why.
    """

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.problems: list[str] = []

    def hear(self, body: dict[str, Any]) -> None:
        """A message `WRITTEN`."""
        if "problem" in body:
            self.problems.append(f"no MS-RBD files of {body['folder']}: {body['problem']}")
        else:
            self.lines.append(f"{body['output']}: {body['text']}")
