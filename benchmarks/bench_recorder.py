"""The recorder under the program's full load: frames and events at once, from the rings to a disk.

    python -m benchmarks.bench_recorder [--seconds 60] [--rate 10e6] [--fps 60] [--folder /dev/shm]

Two producer processes write 1152×768×3 frames and packets of 10 ms into the rings (as in `bench_rings`), the
recorder's own process records them. Every item is counted in the recording afterwards. The folder's disk is
tried first: what it cannot take is no fault of the recorder.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from app.supervisor import Supervisor, WorkerPlan
from benchmarks.bench_rings import HEIGHT, WIDTH, Load, produce
from capture.camera import CameraState
from capture.registry import RigFacts
from capture.ring import RingLayout
from recordings.formats.own_about import About, RecordedCamera
from recordings.open import open_recording
from recordings.recorder import disk
from recordings.recorder.incoming import READER
from recordings.recorder.take import Limits
from recordings.recorder.worker import DONE, RecorderSpec, run_recorder
from sync.rig import Rig


def one_run(folder: Path, seconds: float, fps: float, rate: float) -> tuple[dict[str, Any], float]:
    """The last health report, and the recorder's CPU seconds."""
    rig = Rig.from_facts("bench", RigFacts((1280, 720), (WIDTH, HEIGHT)))
    camera = RecordedCamera(name="bench")
    about = About(started="", program="", rig=rig, events=camera, frames=camera)
    cpu, health = 0.0, {}
    with Supervisor() as s:
        load = Load(
            seconds, fps, rate,
            s.create_ring(RingLayout("events", 192 << 20, 4096, (READER,))),
            s.create_ring(RingLayout("frames", 240 << 20, 256, (READER,))),
        )  # fmt: skip
        for kind in ("events", "frames"):
            s.add(WorkerPlan(kind, produce, (kind, load), joins_epoch=True, budget=0))
        spec = RecorderSpec(load.events, load.frames, (folder,), about, Limits())
        s.add(WorkerPlan("recorder", run_recorder, spec, joins_epoch=True, heartbeat_s=60, budget=0))
        s.start()
        ended, deadline = set[str](), time.monotonic() + 3 * seconds + 60
        asked = False
        while not health and time.monotonic() < deadline:
            for m in s.poll():
                if m.topic == "cost":
                    ended.add(m.worker)
                elif m.topic == DONE:
                    health = m.body["health"]
            pid = next(w.pid for w in s.statuses() if w.name == "recorder")
            if pid:
                try:
                    times = psutil.Process(pid).cpu_times()
                    cpu = times.user + times.system
                except psutil.Error:
                    pass
            if len(ended) == 2 and not asked:
                asked = True
                s.stop_worker("recorder", 60)
            time.sleep(0.05)
        if not health:
            states = [(w.name, w.state, w.detail) for w in s.statuses() if w.state is CameraState.FAULTED]
            sys.exit(f"the recorder did not come to an end: {states}")
    return health, cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--fps", type=float, default=60.0)
    parser.add_argument("--rate", type=float, default=10e6, help="events a second")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    args = parser.parse_args()
    have, load = disk.measure(args.folder), os.getloadavg()[0]
    place = Path(tempfile.mkdtemp(dir=args.folder, prefix="halfmirror-bench-"))
    try:
        h, cpu = one_run(place / "r", args.seconds, args.fps, args.rate)
        with open_recording(place / "r") as r:
            list(r.items(r.info.end_us))
            problems = r.info.problems
    finally:
        shutil.rmtree(place)
    lost = {k: v for k, v in h["losses"].items() if v}
    print(
        f"{args.folder} takes {have / 1e6:.0f} MB/s; load average before the run {load:.1f}\n"
        f"{h['frames']} of {round(args.fps * args.seconds)} frames, {h['events'] / 1e6:.1f} of "
        f"{args.rate * args.seconds / 1e6:.1f} M events, {h['disk']['bytes'] / args.seconds / 1e6:.0f} MB/s, "
        f"lost: {lost or 'nothing'}\n"
        f"recorder: {100 * cpu / args.seconds:.0f} % of a core; longest wait for the disk "
        f"{h['disk']['longest_stall_s']:.2f} s; problems: {list(problems) or 'none'}"
    )


if __name__ == "__main__":
    main()
