"""What `--publish` costs: `python -m benchmarks.bench_publish`.

A live simulated rig is restored by EDI, its pictures published on loopback and read by another process.

Delay: from the sharp picture being there to its last byte being with the subscriber. CPU: of the process that
publishes, in per cent of one core. Nobody: the same with no subscriber. Passed over: pictures that the
subscriber did not get (`number` in the headers).
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import socket
import time
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import psutil
import zmq

from app.live import LiveSession, make_session
from app.publishing import PUBLISH
from benchmarks.report import markdown
from capture.cores import usable_cores

RESULTS = Path(__file__).parent / "results" / "publish.md"
WARM_UP_S = 3.0
RIGS = (
    ("346×260 gray, 25 a second", "simulated:davis", {}),
    ("1152×768 RGB, 15 a second", "simulated", {}),
    ("1152×768 RGB, 40 a second", "simulated", {"rate_hz": 40.0, "exposure_us": 20_000}),
)
HEAD = ("rig", "pictures", "MB/s", "delay, ms: p50", "p95", "CPU", "nobody", "passed over")


def subscribe(address: str, seconds: float, out: Connection) -> None:
    """Read for so long from the first picture on; sends delays (ms), numbers and bytes back."""
    s = zmq.Context().socket(zmq.SUB)
    s.setsockopt(zmq.RCVHWM, 2)
    s.setsockopt(zmq.RCVTIMEO, 60_000)
    s.connect(address)
    s.subscribe("halfmirror")
    delays, numbers, size, end = [], [], 0, float("inf")
    while time.monotonic() < end:
        parts = s.recv_multipart()
        now = time.monotonic_ns()
        h = json.loads(parts[1])
        end = min(end, time.monotonic() + seconds)
        delays.append((now - h["ready_host_ns"]) / 1e6)
        numbers.append(h["number"])
        size += sum(map(len, parts))
    out.send((delays, numbers, size))


def watched(session: LiveSession, seconds: float) -> float:
    """Keep the session going for so long; the publishing process's CPU in per cent of a core."""
    process = next(psutil.Process(w.pid) for w in session.status().workers if w.name == PUBLISH)
    before, began = process.cpu_times(), time.monotonic()
    keep(session, seconds)
    after = process.cpu_times()
    used = after.user + after.system - before.user - before.system
    return 100 * used / (time.monotonic() - began)


def keep(session: LiveSession, seconds: float) -> None:
    """Take pictures as a window does."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if session.poll() is None:
            time.sleep(0.004)
        session.status()


def row(name: str, source: str, settings: dict[str, float], seconds: float) -> tuple[str, ...]:
    """Measure one rig."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{s.getsockname()[1]}"
    session = make_session(source, "edi", settings=settings, publish=address)
    session.start()
    try:
        while session.poll() is None:
            session.status()
            time.sleep(0.01)
        keep(session, WARM_UP_S)
        nobody = watched(session, seconds)
        ours, theirs = multiprocessing.Pipe()
        reader = multiprocessing.get_context("spawn").Process(
            target=subscribe, args=(address, seconds + 2, theirs), daemon=True
        )
        reader.start()
        keep(session, WARM_UP_S)
        cpu = watched(session, seconds)
        while not ours.poll():
            keep(session, 0.05)
        delays, numbers, size = ours.recv()
    finally:
        session.stop()
    missed = numbers[-1] - numbers[0] + 1 - len(numbers)
    p50, p95 = np.percentile(delays, (50, 95))
    return (
        name, f"{len(delays)}", f"{size / (seconds + 2) / 1e6:.0f}", f"{p50:.1f}", f"{p95:.1f}", f"{cpu:.1f} %",
        f"{nobody:.1f} %", f"{missed}",
    )  # fmt: skip


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--write", action="store_true", help=f"write the table to {RESULTS}")
    a = parser.parse_args()
    rows = [row(*rig, a.seconds) for rig in RIGS]
    about = f"{usable_cores()} cores, load {psutil.getloadavg()[0]:.1f} at the end, ZeroMQ {zmq.zmq_version()}"
    text = markdown("Publishing", "python -m benchmarks.bench_publish", about, __doc__, HEAD, rows)
    print(text)
    if a.write:
        RESULTS.write_text(text)


if __name__ == "__main__":
    main()
