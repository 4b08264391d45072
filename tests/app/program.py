"""A small program over the supervisor, to be interrupted and killed: `python -m tests.app.program HOW`."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable

from app.signals import exit_on_signals
from app.supervisor import Supervisor, WorkerPlan
from capture.ring import RingLayout, RingReader
from capture.worker import CameraWorkerSpec, run_camera_worker
from tests.app import worker_targets as targets
from tests.capture.toy import DRIVERS


def plans(s: Supervisor, second: Callable[..., None]) -> None:
    ring = s.create_ring(RingLayout("events", 1 << 20, readers=("a",)))
    s.add(WorkerPlan("events", run_camera_worker, CameraWorkerSpec("toy", events=ring, drivers=DRIVERS)))
    s.add(WorkerPlan("second", second))


def main(how: str) -> None:
    exit_on_signals()
    print("begin", flush=True)
    s = Supervisor()
    # One that listens to nothing has to be killed, which takes stop() nearly all its time.
    plans(s, targets.steady if how == "wait" else targets.hangs)
    s.start()
    reader = RingReader(s.ring_ref("events"), "a")
    assert reader.read(60) is not None
    while sum(w.state.value == "running" for w in s.statuses()) < 2:
        time.sleep(0.01)
    print("running", os.getpid(), flush=True)
    if how == "return":
        return  # without a word: the exit handler has to do it
    if how == "raise":
        raise ZeroDivisionError
    if how == "segv":
        os.kill(os.getpid(), signal.SIGSEGV)
    while True:
        time.sleep(0.02)


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except KeyboardInterrupt:
        sys.exit(130)
