"""Representations: events per second on one core, beside `np.add.at` in the same run.

    python -m benchmarks.bench_representations [--events 1000000] [--repeats 11]

Events lie on moving edges, as in `bench_edi`, and evenly spread over the sensor (the worst case for the cache).
Medians of wall time with one thread for numba and torch. "whole" is one call over all events; "grown" is the
window that takes packets, here a single one, in memory that is in use already. The goal is 40 Mev/s for SCER,
voxel grid and EGER.
A busy machine slows every row: the ratios to `np.add.at` are what holds.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.bench_edi import EXPOSURE_US, edge_events
from capture.packets import Events
from inference.representations import (
    counts_numba,
    counts_torch,
    eger_numba,
    eger_torch,
    mask_numba,
    scer_numba,
    scer_torch,
    voxel_numba,
    voxel_torch,
)
from inference.representations.coding import Mode
from inference.representations.eger import Spans
from inference.representations.scatter_torch import upload
from inference.representations.scer import edges

MIDDLE = EXPOSURE_US // 2
SPANS = Spans((0, EXPOSURE_US), (MIDDLE, MIDDLE))


def even_events(width: int, height: int, n: int) -> Events:
    """`n` events anywhere."""
    rng = np.random.default_rng(0)
    t = np.sort(rng.integers(0, EXPOSURE_US, n))
    return Events.checked(
        t, rng.integers(0, width, n), rng.integers(0, height, n), rng.random(n) < 0.5, width, height
    )


def seconds(f: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Median wall and CPU time of a call, after two to warm up."""
    f()
    f()
    wall, cpu = [], []
    for _ in range(repeats):
        began, used = time.perf_counter(), time.thread_time()
        f()
        cpu.append(time.thread_time() - used)
        wall.append(time.perf_counter() - began)
    return float(np.median(wall)), float(np.median(cpu))


def scer_with_add_at(e: Events) -> np.ndarray:
    out = np.zeros((6, e.height, e.width), np.float32)
    at = np.searchsorted(e.t, edges(0, EXPOSURE_US))
    p = (2 * e.p.astype(np.int8) - 1).astype(np.float32)
    for k in range(6):
        lo, hi = (at[k], at[3]) if k < 3 else (at[3], at[k + 1])
        np.add.at(out[k], (e.y[lo:hi], e.x[lo:hi]), p[lo:hi])
    out[:3] *= -1
    return out


def voxel_with_add_at(e: Events) -> np.ndarray:
    out = np.zeros((6, e.height, e.width), np.float32)
    s = 5 * e.t / EXPOSURE_US
    k = s.astype(np.int64)
    f = (s - k).astype(np.float32)
    p = (2 * e.p.astype(np.int8) - 1).astype(np.float32)
    np.add.at(out, (k, e.y, e.x), p * (1 - f))
    np.add.at(out, (k + 1, e.y, e.x), p * f)
    return out


def eger_with_add_at(e: Events) -> np.ndarray:
    out = np.zeros((96, e.height, e.width), np.float32)
    group = np.where(e.t < MIDDLE, 0, 2)
    np.add.at(out, (6 * (e.t * 16 // EXPOSURE_US) + 2 * group + e.p, e.y, e.x), 1)
    return out


def counts_with_add_at(e: Events) -> np.ndarray:
    out = np.zeros((2, e.height, e.width), np.float32)
    np.add.at(out, (e.p.astype(np.int64), e.y, e.x), 1)
    return out


def measure(e: Events, kind: str, repeats: int, table: Table) -> None:
    """One row for each representation and implementation."""
    w, h, n = e.width, e.height, len(e)
    growing = scer_numba.Scer(w, h, 0, EXPOSURE_US)
    spans = eger_numba.Eger(w, h, (0, EXPOSURE_US))
    voxels = voxel_numba.VoxelGrid(w, h, 0, EXPOSURE_US)
    eger_out, voxel_out = np.zeros((96, h, w), np.float32), np.zeros((6, h, w), np.float32)
    scer_out = np.zeros((6, h, w), np.float32)
    once = upload(e)

    def scer_grown() -> object:
        growing.restart(0, EXPOSURE_US)
        growing.push(e)
        return growing.result(scer_out)

    def voxel_grown() -> object:
        voxels.restart(0, EXPOSURE_US)
        voxels.push(e)
        return voxels.result(voxel_out)

    def eger_grown() -> object:
        spans.restart((0, EXPOSURE_US))
        spans.push(e)
        return spans.result((MIDDLE, MIDDLE), eger_out)

    groups: list[tuple[Callable[[], object], list[tuple[str, Callable[[], object]]]]] = [
        (lambda: scer_with_add_at(e), [
            ("SCER, numba, whole", lambda: scer_numba.scer(e, 0, EXPOSURE_US)),
            ("SCER, numba, grown", scer_grown),
            ("SCER published, numba", lambda: scer_numba.scer(e, 0, EXPOSURE_US, mode=Mode.RELATIVE)),
            ("SCER, torch cpu, uploaded", lambda: scer_torch.scer(once, 0, EXPOSURE_US)),
        ]),
        (lambda: voxel_with_add_at(e), [
            ("voxel, numba, whole", lambda: voxel_numba.voxel_grid(e, 0, EXPOSURE_US)),
            ("voxel, numba, grown", voxel_grown),
            ("voxel published, numba", lambda: voxel_numba.voxel_grid(e, 0, EXPOSURE_US, mode=Mode.RELATIVE)),
            ("voxel, torch cpu, uploaded", lambda: voxel_torch.voxel_grid(once, 0, EXPOSURE_US)),
        ]),
        (lambda: eger_with_add_at(e), [
            ("EGER, numba, whole", lambda: eger_numba.eger(e, SPANS)),
            ("EGER, numba, grown", eger_grown),
            ("EGER, torch cpu, uploaded", lambda: eger_torch.eger(once, SPANS)),
        ]),
        (lambda: counts_with_add_at(e), [
            ("counts, numba", lambda: counts_numba.event_counts(e, 0, EXPOSURE_US)),
            ("counts, torch cpu, uploaded", lambda: counts_torch.event_counts(once, 0, EXPOSURE_US)),
        ]),
    ]  # fmt: skip
    for plain, rows in groups:
        reference, _ = seconds(plain, max(3, repeats // 4))
        for name, f in rows:
            wall, cpu = seconds(f, repeats)
            table.add_row(
                f"{w}×{h} {kind}", name, f"{1e3 * wall:.2f}", f"{1e3 * cpu:.2f}", f"{n / wall / 1e6:.0f}",
                f"{reference / wall:.1f}×",
            )  # fmt: skip
    grid = scer_numba.scer(e, 0, EXPOSURE_US)
    wall, cpu = seconds(lambda: mask_numba.event_mask(grid), repeats)
    table.add_row(f"{w}×{h} {kind}", "mask of SCER", f"{1e3 * wall:.2f}", f"{1e3 * cpu:.2f}", "", "")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=11)
    args = parser.parse_args()
    torch.set_num_threads(1)
    table = Table(
        title=f"python -m benchmarks.bench_representations --events {args.events} --repeats {args.repeats} "
        f"(one core, load {os.getloadavg()[0]:.1f})"
    )
    table.add_column("sensor, events")
    table.add_column("what")
    for name in ("median ms", "of it CPU", "Mev/s", "np.add.at ÷ this"):
        table.add_column(name, justify="right")
    for width, height in ((346, 260), (640, 480), (1280, 720)):
        measure(edge_events(width, height, args.events), "edges", args.repeats, table)
        measure(even_events(width, height, args.events), "even", args.repeats, table)
        table.add_section()
    Console(width=112).print(table)


if __name__ == "__main__":
    main()
