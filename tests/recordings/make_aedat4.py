"""Writes small AEDAT4 files for tests, with dv-processing in a process of its own (it may abort).

dv-processing and not faery: it stores exposure and source of frames. About 2 million events per second.

    write_aedat4(path, events, [WrittenFrame(start_us, exposure_us, image)], edges)
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from capture.packets import Events, TriggerEdges

_ROOT = Path(__file__).resolve().parents[2]


class WrittenFrame(NamedTuple):
    """A frame to write: start of exposure, its length (None: not in the file), image gray or RGB, uint8.

    `source` is a name of dv-processing's FrameSource: SENSOR, ACCUMULATION, UNDEFINED, …
    """

    start_us: int
    exposure_us: int | None
    image: np.ndarray
    source: str = "SENSOR"
    position: tuple[int, int] = (0, 0)


def write_aedat4(
    path: Path,
    events: Events | None = None,
    frames: Sequence[WrittenFrame] | None = None,
    triggers: TriggerEdges | None = None,
    *,
    image_size: tuple[int, int] | None = None,
    camera: str = "DAVIS346_TEST",
    compression: str = "LZ4",
    packet_us: int = 10_000,
    camera_marks: bool = False,
    finish: bool = True,
) -> Path:
    """Write a file; a stream that is None is not in it at all, an empty one is there and empty.

    Args:
        events: coordinates are not checked by the writer, times must not decrease.
        image_size: of the frame stream; that of the first frame, else of the events, by default.
        compression: NONE, LZ4, ZSTD.
        packet_us: events and edges are written in packets of this length, in order of time with the frames.
        camera_marks: also write an APS_EXPOSURE_START and _END mark a frame, as a DAVIS does.
        finish: False leaves the file as a killed recorder would.
    """
    if frames and image_size is None:
        image_size = (frames[0].image.shape[1], frames[0].image.shape[0])
    if image_size is None and events is not None:
        image_size = (events.width, events.height)
    plan = {
        "path": str(path), "camera": camera, "compression": compression, "packet_us": packet_us,
        "finish": finish, "marks": camera_marks, "image_size": image_size,
        "event_size": None if events is None else (events.width, events.height),
        "frames": None if frames is None else [
            (f.start_us, f.exposure_us, f.source, f.position) for f in frames
        ],
        "triggers": triggers is not None,
    }  # fmt: skip
    arrays = {f"image{k}": f.image for k, f in enumerate(frames or ())}
    if events is not None:
        arrays |= {k: getattr(events, k) for k in "txyp"}
    if triggers is not None:
        arrays |= {"edge_t": triggers.t, "edge_rising": triggers.rising}
    with tempfile.TemporaryDirectory() as d:
        np.savez(Path(d) / "arrays.npz", **arrays)
        done = subprocess.run(
            [sys.executable, "-m", "tests.recordings.make_aedat4", json.dumps(plan), f"{d}/arrays.npz"],
            cwd=_ROOT, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
    if done.returncode or not path.exists():
        raise RuntimeError(f"writing {path} failed ({done.returncode}): {done.stderr[-500:]}")
    return path


def _write(plan: dict, arrays: dict[str, np.ndarray]) -> None:
    import dv_processing as dv

    config = dv.io.MonoCameraWriter.Config(plan["camera"], getattr(dv.CompressionType, plan["compression"]))
    if plan["event_size"] is not None:
        config.addEventStream(tuple(plan["event_size"]))
    if plan["frames"] is not None:
        config.addFrameStream(tuple(plan["image_size"]))
    if plan["triggers"] or plan["marks"]:
        config.addTriggerStream()
    w = dv.io.MonoCameraWriter(plan["path"], config)
    w.setPackagingCount(1)
    kind = dv.TriggerType
    jobs: list[tuple[int, int, object]] = []  # time, tie-break, what to do
    if plan["event_size"] is not None:
        t, x, y, p = (arrays[k] for k in "txyp")
        cuts = np.flatnonzero(np.diff(t // plan["packet_us"])) + 1
        for a, b in zip([0, *cuts], [*cuts, len(t)], strict=True):
            if b > a:
                jobs.append((int(t[b - 1]), len(jobs), ("events", int(a), int(b))))
    for k, (start, exposure, source, at) in enumerate(plan["frames"] or ()):
        image = np.ascontiguousarray(arrays[f"image{k}"][..., ::-1] if arrays[f"image{k}"].ndim == 3 else
                                     arrays[f"image{k}"])  # fmt: skip
        f = dv.Frame(start, exposure or 0, at[0], at[1], image, getattr(dv.FrameSource, source))
        jobs.append((start + (exposure or 0), len(jobs), ("frame", f)))
        if plan["marks"]:
            for m, e in ((kind.APS_EXPOSURE_START, start), (kind.APS_EXPOSURE_END, start + (exposure or 0))):
                jobs.append((e, len(jobs), ("trigger", dv.Trigger(e, m))))
    if plan["triggers"]:
        for e, rising in zip(arrays["edge_t"].tolist(), arrays["edge_rising"].tolist(), strict=True):
            m = kind.EXTERNAL_SIGNAL_RISING_EDGE if rising else kind.EXTERNAL_SIGNAL_FALLING_EDGE
            jobs.append((e, len(jobs), ("trigger", dv.Trigger(e, m))))
    for _, _, job in sorted(jobs, key=lambda j: (j[0], j[1])):
        if job[0] == "events":
            store = dv.EventStore()
            for row in zip(*(a[job[1] : job[2]].tolist() for a in (t, x, y, p)), strict=True):
                store.push_back(row)
            w.writeEvents(store)
        elif job[0] == "frame":
            w.writeFrame(job[1])
        else:
            w.writeTrigger(job[1])
    if plan["finish"]:
        del w
    else:
        _wait_until_written(Path(plan["path"]))
    os._exit(0)


def _wait_until_written(path: Path) -> None:
    """The library writes in a thread of its own, which has its turn late on a busy machine."""
    until, size, since = time.monotonic() + 30, -1, 0.0
    while time.monotonic() < until and (size != path.stat().st_size or time.monotonic() - since < 0.3):
        if size != path.stat().st_size:
            size, since = path.stat().st_size, time.monotonic()
        time.sleep(0.02)


if __name__ == "__main__":
    with np.load(sys.argv[2]) as loaded:
        _write(json.loads(sys.argv[1]), dict(loaded))
