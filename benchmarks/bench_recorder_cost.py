"""What a recorded megabyte costs the recorder, step by step, in CPU time (so a busy machine changes little).

    python -m benchmarks.bench_recorder_cost [--folder /dev/shm]

One second of the load of `bench_recorder` (1152×768×3 at 60 fps, 10 Mev/s in packets of 10 ms), in one thread.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.bench_rings import HEIGHT, WIDTH
from capture import codec
from capture.packets import EventPacket, Events, Frame, FrameClock, PixelLayout, TriggerEdges
from capture.registry import RigFacts
from recordings.event_peak import Windows
from recordings.formats.own_chunks import Draft, draft
from recordings.recorder.health import HealthWatch
from recordings.recorder.incoming import _without_data
from sync.rig import Rig

FPS, RATE, PACKETS = 60, 10e6, 100
RUNS = 7


def cpu_ms(what: Callable[[], object]) -> float:
    """Median CPU time of a call."""
    times = []
    for _ in range(RUNS):
        began = time.process_time()
        what()
        times.append(1e3 * (time.process_time() - began))
    return statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    n = int(RATE / PACKETS)
    t = np.sort(rng.integers(0, 10_000, n)).astype(np.int64) + 5_000_000
    x, y = rng.integers(0, 1280, n).astype(np.uint16), rng.integers(0, 720, n).astype(np.uint16)
    events = Events(t, x, y, rng.random(n) < 0.5, 1280, 720)
    packet = EventPacket(events, TriggerEdges.empty(), 5_010_000, 1)
    image = rng.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    frame = Frame(image, PixelLayout.RGB, 0, 0, 10_000_000, FrameClock.DEVICE, 1)
    for name, item, per_second in (("frame", frame, FPS), ("packet of events", packet, PACKETS)):
        encoded = codec.encode(item)
        d = draft(item, 0)
        rows = {
            "header and checks out of the ring": cpu_ms(lambda e=encoded: codec.decode(*e)),  # type: ignore[misc]
            "packing onto memory of its own": cpu_ms(lambda i=item: draft(i, 0)),  # type: ignore[misc]
            "checksum": cpu_ms(lambda d=d: [zlib.crc32(p) for p in d.parts]),  # type: ignore[misc]
            "health and matching": _health(item),
            f"write to {args.folder}": _write(args.folder, d),
        }
        mb = d.size / 1e6
        total = sum(rows.values())
        print(f"{name}: {mb:.2f} MB, {per_second} a second")
        for what, ms in {**rows, "all": total}.items():
            print(f"  {what:<36}{ms:7.3f} ms  {ms / mb:6.3f} ms/MB  {ms * per_second / 10:5.1f} % of a core")


def _health(item: EventPacket | Frame) -> float:
    watch = HealthWatch(Rig.from_facts("bench", RigFacts((1280, 720), (WIDTH, HEIGHT))))
    bare = _without_data(item)
    if isinstance(bare, EventPacket) and isinstance(item, EventPacket):
        return cpu_ms(lambda: watch.events(bare, 0, 0, Windows.of(item.events.t)))
    assert isinstance(bare, Frame)
    return cpu_ms(lambda: watch.frame(bare, 0))


def _write(folder: Path, d: Draft) -> float:
    with tempfile.TemporaryFile(dir=folder) as f:
        fd = f.fileno()

        def one() -> None:
            os.writev(fd, [d.meta, *d.parts])

        return cpu_ms(one)


if __name__ == "__main__":
    main()
