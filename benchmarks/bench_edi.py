"""EDI: time per exposure on one core.

    python -m benchmarks.bench_edi [--repeats 15]

Synthetic events, spread like those of moving edges; one latent time unless the row says otherwise. Medians of
wall time with one thread for numba, torch and OpenCV; the CPU time beside it says what a busy machine adds.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable

import cv2
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from capture.packets import Events, Frame, FrameClock, PixelLayout
from inference import models
from inference.representations import double_integral_numba, double_integral_torch
from inference.representations.double_integral import Contrast
from inference.restorers.contrast import search
from sync.exposure import AlignedExposure, Exposure, ExposureSource
from sync.geometry import scaled_homography
from sync.rig import EventEntry, Geometry, ImageEntry, Rig

EXPOSURE_US = 40_000
C = Contrast(0.2, 0.25)


def edge_events(width: int, height: int, n: int, seed: int = 0) -> Events:
    """`n` events along slanted edges that move through the exposure."""
    rng = np.random.default_rng(seed)
    t = np.sort(rng.integers(0, EXPOSURE_US, n))
    edge = rng.integers(0, 24, n)
    y = rng.integers(0, height, n)
    x = (edge * width / 24 + 0.3 * y + 18 * t / EXPOSURE_US + rng.normal(0, 1.5, n)).astype(np.int64) % width
    return Events.checked(t, x, y, rng.random(n) < np.where(edge % 2, 0.8, 0.2), width, height)


def median_ms(f: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Median wall time and median CPU time of this thread in ms, after two calls to warm up."""
    f()
    f()
    wall, cpu = [], []
    for _ in range(repeats):
        began, used = time.perf_counter(), time.thread_time()
        f()
        cpu.append(time.thread_time() - used)
        wall.append(time.perf_counter() - began)
    return 1e3 * float(np.median(wall)), 1e3 * float(np.median(cpu))


def exposure(rig: Rig, events: Events, colour: bool) -> AlignedExposure:
    """One exposure of noise, without clipped codes."""
    h, w = rig.image.height, rig.image.width
    shape = (h, w, 3) if colour else (h, w)
    image = np.random.default_rng(1).integers(20, 230, shape).astype(np.uint8)
    layout = PixelLayout.RGB if colour else PixelLayout.GRAY
    frame = Frame(image, layout, 0, 0, EXPOSURE_US * 1000, FrameClock.EVENT)
    times = Exposure(0, EXPOSURE_US, ExposureSource.TRIGGER, 1.0)
    return AlignedExposure(frame, times, events, 0, EXPOSURE_US, rig, 0)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=15)
    repeats = parser.parse_args().repeats
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    davis = Rig(
        events=EventEntry(camera="bench", width=346, height=260),
        image=ImageEntry(camera="bench", width=346, height=260),
    )
    m = scaled_homography(4, mirrored=True, event_width=288)
    rows = [tuple(float(v) for v in r) for r in m]
    splitter = Rig(
        events=EventEntry(camera="bench", width=288, height=192),
        image=ImageEntry(camera="bench", width=1152, height=768, tone="srgb"),
        geometry=Geometry(image_from_event=(rows[0], rows[1], rows[2]), mirrored=True),  # type: ignore[arg-type]
    )
    table = Table(
        title=f"python -m benchmarks.bench_edi --repeats {repeats} (one core, load {os.getloadavg()[0]:.1f})"
    )
    table.add_column("what")
    table.add_column("median ms", justify="right")
    table.add_column("of it CPU", justify="right")

    events = edge_events(346, 260, 300_000)
    half = [EXPOSURE_US // 2]
    fast, any_device = double_integral_numba.DoubleIntegral(), double_integral_torch.DoubleIntegral("cpu")
    many = list(np.linspace(0, EXPOSURE_US, 20).astype(int))

    def row(what: str, f: Callable[[], object]) -> None:
        wall, cpu = median_ms(f, repeats)
        table.add_row(what, f"{wall:.1f}", f"{cpu:.1f}")

    row(
        "integral, numba, 346×260, 300 k events, 1 latent", lambda: fast.ratios(events, 0, EXPOSURE_US, half, C)
    )
    row(
        "the same, events half-way to their neighbours",
        lambda: fast.ratios(events, 0, EXPOSURE_US, half, C, halfway=True),
    )
    row("integral, torch cpu", lambda: any_device.ratios(events, 0, EXPOSURE_US, half, C))
    row("integral, numba, 20 latents", lambda: fast.ratios(events, 0, EXPOSURE_US, many, C))
    row("the same, half-way", lambda: fast.ratios(events, 0, EXPOSURE_US, many, C, halfway=True))
    if torch.cuda.is_available():
        gpu = double_integral_torch.DoubleIntegral("cuda")
        row(
            f"integral, torch {torch.cuda.get_device_name()}",
            lambda: gpu.ratios(events, 0, EXPOSURE_US, half, C),
        )
    light = np.random.default_rng(0).uniform(0.1, 0.8, (260, 346)).astype(np.float32)
    row("contrast search, one exposure (the first five only)", lambda: search(light, events, 0, EXPOSURE_US))
    a = exposure(davis, events, colour=False)
    edi = models.create("edi", davis, {"contrast": 0.2}, "cpu")
    row("restore whole, 346×260 gray, 300 k events, 1 latent", lambda: edi.restore([a], [0.5]))
    row(
        "restore whole, 346×260 gray, 300 k events, 20 latents",
        lambda: edi.restore([a], list(np.linspace(0, 1, 20))),
    )
    b = exposure(splitter, edge_events(288, 192, 300_000), colour=True)
    coarse = models.create("edi", splitter, {"contrast": 0.2}, "cpu")
    row("restore whole, 1152×768×3, events 288×192, 300 k, 1 latent", lambda: coarse.restore([b], [0.5]))
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
