"""How fast recordings are read through the sandbox, opened and sought in.

    python -m benchmarks.bench_recordings [FILE …]

Without files: DAVIS346 recordings made for the occasion (noise, the worst case for compression), and the real
ones under $HALFMIRROR_SHARED/data/event or ../shared/data/event where they are there.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from capture.packets import EventPacket, Events
from recordings.open import open_recording
from recordings.recording import Recording
from tests.recordings.make_aedat4 import WrittenFrame, write_aedat4

REPEATS = 5


def made(folder: Path, compression: str, millions: float = 4.0) -> Path:
    """Random events at 2 million a second with 25 frames a second."""
    rng = np.random.default_rng(0)
    n = int(millions * 1e6)
    t = np.sort(rng.integers(0, n // 2, n)) + 1_600_000_000_000_000
    e = Events(
        t, rng.integers(0, 346, n).astype(np.uint16), rng.integers(0, 260, n).astype(np.uint16),
        rng.random(n) < 0.5, 346, 260,
    )  # fmt: skip
    frames = [
        WrittenFrame(int(t[0]) + k * 40_000, 20_000, rng.integers(0, 256, (260, 346), np.uint8))
        for k in range((n // 2) // 40_000)
    ]
    return write_aedat4(folder / f"noise_{compression}.aedat4", e, frames, compression=compression)


def read(r: Recording, start_us: int | None = None) -> int:
    return sum(len(i.events) for i in r.items(start_us) if isinstance(i, EventPacket))


def measure(path: Path) -> list[str]:
    opening, reading, seeking = [], [], []
    n = 0
    for _ in range(REPEATS):
        t0 = time.perf_counter()
        with open_recording(path) as r:
            t1 = time.perf_counter()
            n = read(r)
            t2 = time.perf_counter()
            r.frame_times_us()
            span = r.info.end_us - r.info.start_us
            for share in (0.8, 0.3, 0.55):
                t3 = time.perf_counter()
                next(iter(r.items(r.info.start_us + int(share * span))), None)
                seeking.append(time.perf_counter() - t3)
        opening.append(t1 - t0)
        reading.append(t2 - t1)
    return [
        path.name, f"{path.stat().st_size / 1e6:.1f}", f"{n / 1e6:.3f}",
        f"{n / statistics.median(reading) / 1e6:.1f}", f"{statistics.median(opening) * 1e3:.0f}",
        f"{statistics.median(seeking) * 1e3:.1f}", f"{max(seeking) * 1e3:.1f}",
    ]  # fmt: skip


def main() -> None:
    console = Console(width=120)
    shared = Path(os.environ.get("HALFMIRROR_SHARED", Path(__file__).resolve().parents[2] / "shared"))
    table = Table(
        "recording", "MB", "Mevents", "read Mev/s", "open ms", "seek ms", "slowest seek ms",
        title=f"python -m benchmarks.bench_recordings   (medians of {REPEATS}; load {os.getloadavg()[0]:.1f})",
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        given = [Path(a) for a in sys.argv[1:]]
        paths = given or [made(Path(folder), c) for c in ("NONE", "LZ4", "ZSTD")]
        if not given:
            paths += sorted((shared / "data" / "event").glob("*.aedat4"))
        for path in paths:
            table.add_row(*measure(path))
    console.print(table)


if __name__ == "__main__":
    main()
