"""How fast recordings are read through, opened and sought in; and what a recording of 2 GB costs.

    python -m benchmarks.bench_recordings [FILE …] [--large GB] [--write]

Without files: recordings made for the occasion (noise, the worst case for any packing), the real ones under
$HALFMIRROR_SHARED/data/event or ../shared/data/event where they are there, and with `--large` three of so many
gigabytes, made in a temporary folder and removed. `--write`: the tables go to benchmarks/results/recordings.md.

"first frame": from opening the file to the first frame handed out by the replay camera, as fast as it can;
processes and the window are not in it. "seek": from the request to the first frame of the place.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.large_recordings import large_aedat4, large_evt3, large_own, noise
from capture.camera import CameraRole
from capture.cores import usable_cores
from capture.packets import EventPacket, Events
from recordings.export.evt3 import encode, header
from recordings.open import open_recording
from recordings.recording import OpenOptions, Recording
from recordings.replay_reader import ReplayReader
from tests.recordings.make_aedat4 import WrittenFrame, write_aedat4
from tests.recordings.make_datasets import SCALE, pair
from tests.recordings.make_hdf5 import write_dsec, write_prophesee
from tests.recordings.make_prophesee import write as write_raw

REPEATS = 3
SEEKS = 20
RESULTS = Path(__file__).parent / "results" / "recordings.md"
COLUMNS = (
    "recording",
    "MB",
    "Mevents",
    "read Mev/s",
    "CPU of reader and child, Mev/s",
    "open ms",
    "goal Mev/s",
)
LARGE = ("recording", "MB", "open ms", "first frame ms", "seek ms median", "seek ms slowest", "goals")


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


def others(folder: Path, millions: float = 4.0) -> list[Path]:
    """The same amount of noise in other formats."""
    rng = np.random.default_rng(0)
    e = noise(rng, int(millions * 1e6), (640, 480), 1000, int(millions * 5e5))
    few = e[: len(e) // 4]
    (folder / "noise_evt3.raw").write_bytes(header(640, 480) + encode(e))
    made = [
        folder / "noise_evt3.raw",
        write_raw(folder / "noise_evt2.raw", "evt2", e, header="% evt 2.0\n% geometry 640x480\n% end\n"),
        write_raw(folder / "noise.dat", "dat2", e),
        write_prophesee(folder / "noise_prophesee_plain.hdf5", e, geometry="640x480", chunk=16_384),
        write_prophesee(
            folder / "noise_prophesee_gzip.hdf5", few, geometry="640x480", chunk=16_384, compression="gzip"
        ),
        write_dsec(folder / "noise_dsec.h5", e, chunk=65_536),
    ]
    grid = noise(rng, int(millions * 1e6), (288, 192), 1_000_000, 120_000)
    np.savez(folder / "noise_msrbd.npz", **(pair(0, Events.empty(288, 192), scale=SCALE) | _pickled(grid)))
    return [*made, folder / "noise_msrbd.npz"]


def _pickled(e: Events) -> dict[str, object]:
    picture = np.zeros((3, e.height * SCALE, e.width * SCALE), np.uint8)
    return {
        "events": {"x": e.x, "y": e.y, "t": e.t, "p": e.p.astype(np.int8)},
        "blur1": picture,
        "blur2": picture,
    }


GOALS = {
    "noise_evt3.raw": 40, "noise_evt2.raw": 60, "noise_NONE.aedat4": 40, "noise_LZ4.aedat4": 40,
    "noise_msrbd.npz": 40,
}  # fmt: skip


def measure(path: Path) -> list[str]:
    opening, reading, cpu = [], [], []
    n = 0
    for _ in range(REPEATS):
        t0 = time.perf_counter()
        with open_recording(path) as r:
            t1 = time.perf_counter()
            c1 = _cpu(r)
            n = read(r)
            reading.append(time.perf_counter() - t1)
            cpu.append(_cpu(r) - c1)
        opening.append(t1 - t0)
    rate, bound = (n / statistics.median(v) / 1e6 for v in (reading, cpu))
    goal = GOALS.get(path.name)
    return [
        path.name, f"{path.stat().st_size / 1e6:.1f}", f"{n / 1e6:.3f}", f"{rate:.1f}", f"{bound:.1f}",
        f"{statistics.median(opening) * 1e3:.0f}", "" if goal is None else f"{goal}",
    ]  # fmt: skip


def _cpu(r: Recording) -> float:
    """Processor seconds of this process and of the child that reads."""
    total = time.process_time()
    pid = getattr(r, "child_pid", None)
    if pid is not None:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


def large(path: Path, size: int) -> list[str]:
    """Opening, the first frame, seeks at random."""
    frames = path.suffix != ".raw"
    opening, first = [], []
    seeking: list[float] = []
    for _ in range(3):
        t0 = time.perf_counter()
        with open_recording(path):
            opening.append(time.perf_counter() - t0)
    rng = np.random.default_rng(1)
    if frames:
        roles = frozenset({CameraRole.EVENTS, CameraRole.FRAMES})
        for _ in range(3):
            t0 = time.perf_counter()
            reader = ReplayReader(path, roles, speed=0.0, loop=False, options=OpenOptions())
            with _started(reader, roles):
                _first_frame(reader)
                first.append(time.perf_counter() - t0)
                s = reader.command("status", {})
                reader.command("pause", {})
                for at in rng.integers(s["start_us"], s["end_us"], SEEKS).tolist():
                    t1 = time.perf_counter()
                    reader.command("seek", {"time_us": at})
                    _first_frame(reader)
                    seeking.append(time.perf_counter() - t1)
    else:
        with open_recording(path) as r:
            for at in rng.integers(r.info.start_us, r.info.end_us, SEEKS).tolist():
                t1 = time.perf_counter()
                next(iter(r.items(at)))
                seeking.append(time.perf_counter() - t1)
    return [
        path.name, f"{size / 1e6:.0f}", f"{statistics.median(opening) * 1e3:.0f}",
        f"{statistics.median(first) * 1e3:.0f}" if first else "no frames",
        f"{statistics.median(seeking) * 1e3:.0f}", f"{max(seeking) * 1e3:.0f}",
        "first frame 1000 ms, seek 200 ms",
    ]  # fmt: skip


@contextmanager
def _started(reader: ReplayReader, roles: frozenset[CameraRole]) -> Iterator[None]:
    for role in roles:
        reader.open(role, None)
    for role in roles:
        reader.start(role, 0)
    try:
        yield
    finally:
        for role in roles:
            reader.close(role)


def _first_frame(reader: ReplayReader) -> None:
    """Take items of both cameras until a frame comes."""
    give_up = time.perf_counter() + 60
    while reader.take(CameraRole.FRAMES, 0.001) is None:
        reader.take(CameraRole.EVENTS, 0.001)
        if time.perf_counter() > give_up:
            raise TimeoutError("no frame came")


def _large(gigabytes: float) -> list[list[str]]:
    rows = []
    size = int(gigabytes * 1e9)
    makers: list[tuple[str, Callable[[Path, int], Path]]] = [
        ("halfmirror", large_own), ("davis346.aedat4", large_aedat4), ("hd.raw", large_evt3),
    ]  # fmt: skip
    for name, make in makers:
        with tempfile.TemporaryDirectory() as folder:
            path = make(Path(folder) / name, size)
            files = path.rglob("*") if path.is_dir() else [path]
            rows.append(large(path, sum(f.stat().st_size for f in files if f.is_file())))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--large", type=float, metavar="GB", default=0.0)
    parser.add_argument("--write", action="store_true")
    a = parser.parse_args()
    shared = Path(os.environ.get("HALFMIRROR_SHARED", Path(__file__).resolve().parents[2] / "shared"))
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        paths = a.files or [*(made(Path(folder), c) for c in ("NONE", "LZ4", "ZSTD")), *others(Path(folder))]
        if not a.files:
            paths += [p for p in sorted((shared / "data" / "event").glob("*.*")) if p.suffix != ".md"]
        tables = [(COLUMNS, [measure(path) for path in paths])]
    _print(COLUMNS, tables[0][1], load)
    if a.large:
        tables.append((LARGE, _large(a.large)))
        _print(LARGE, tables[1][1], load)
    if a.write:
        RESULTS.write_text(_markdown(tables, a.large, load), encoding="utf-8")


def _print(columns: tuple[str, ...], rows: list[list[str]], load: float) -> None:
    table = Table(*columns, title=f"medians of {REPEATS}; load {load:.1f}")
    for row in rows:
        table.add_row(*row)
    Console(width=140).print(table)


def _markdown(tables: list[tuple[tuple[str, ...], list[list[str]]]], gigabytes: float, load: float) -> str:
    command = (
        "python -m benchmarks.bench_recordings" + (f" --large {gigabytes:g}" if gigabytes else "") + " --write"
    )
    lines = [
        "# Recordings: reading, opening, seeking", "", f"`{command}`", "",
        f"{platform.machine()}, {usable_cores()} cores, Python {platform.python_version()}; a shared machine "
        f"(load average before the run {load:.1f}); medians of {REPEATS} (large ones: of 3, of {SEEKS} seeks)",
    ]  # fmt: skip
    for columns, rows in tables:
        lines += ["", "| " + " | ".join(columns) + " |", "| " + " | ".join("---" for _ in columns) + " |"]
        lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
