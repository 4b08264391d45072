"""An export by the command, and what comes back when it is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from app.cli.program import execute
from capture.packets import EventPacket, Events, Frame, TriggerEdges
from recordings.open import open_recording
from tests.recordings.sample import FRAMES, PERIOD_US, START_US

FILES = {"efnet-h5": "h5", "aedat4": "aedat4", "evt3": "raw", "hdf5": "h5", "mp4": "mp4"}
EXPOSURES = [(START_US + 20_000 + k * PERIOD_US, START_US + 80_000 + k * PERIOD_US) for k in range(FRAMES)]


def target(folder: Path, kind: str) -> Path:
    return folder / f"out.{FILES[kind]}" if kind in FILES else folder / "out"


def run(source: Path, kind: str, out: Path, *more: str) -> int:
    return execute(["export", str(source), "--to", kind, "-o", str(out), *more])


def everything(path: Path, **options: Any) -> tuple[Events, TriggerEdges, list[Frame]]:
    with open_recording(path, **options) as r:
        items = list(r.items())
    packets = [i for i in items if isinstance(i, EventPacket)]
    edges = [p.triggers for p in packets]
    joined = TriggerEdges(np.concatenate([e.t for e in edges]), np.concatenate([e.rising for e in edges]))
    return Events.concatenate([p.events for p in packets]), joined, [i for i in items if isinstance(i, Frame)]


def same(a: Events, b: Events, shift_us: int = 0) -> bool:
    return np.array_equal(a.t + shift_us, b.t) and all(
        np.array_equal(getattr(a, k), getattr(b, k)) for k in "xyp"
    )


def spans(frames: list[Frame]) -> list[tuple[int, int]]:
    return [((f.device_start_ns or 0) // 1000, (f.device_end_ns or 0) // 1000) for f in frames]
