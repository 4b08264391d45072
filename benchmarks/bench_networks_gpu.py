"""The networks on a GPU, as they run live: through their restorers, from events and frame to 8-bit pictures.

    python -m benchmarks.bench_networks_gpu [--only TEXT] [--repeats 100] [--write] [--profile]
    python -m benchmarks.bench_networks_gpu --device cpu --small     # the same code, in seconds, no figures

Each row restores the middle of one exposure after the other: upload of events and frame, event representation,
padding, network, back to 8 bits on the host. Every exposure has a frame and events of its own, all over the
sensor. Number types: float32 (without TF32), bfloat16, float16; compile: no, `torch.compile`, CUDA graphs,
both. The warm-up before the first exposure (loading, compiling, recording) stands beside it. Weights are
random: the time does not depend on them.

--profile prints which operations take the device and the host most time, in half precision.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch.autograd import DeviceType

from benchmarks.report import markdown
from capture.packets import Events, Frame, FrameClock, PixelLayout
from inference import models
from inference.cards import card
from inference.device import choose_device
from inference.engine import Engine
from inference.restorers.neural import NeuralRestorer
from sync.exposure import AlignedExposure, Exposure, ExposureSource
from sync.geometry import scaled_homography
from sync.rig import EventEntry, Geometry, ImageEntry, Rig

RESULT = Path(__file__).parent / "results" / "networks_gpu.md"
HEAD = ("what", "goal, fps", "type", "compile", "fps", "p50 ms", "p95 ms", "warm-up s", "peak GiB")
WAYS = ("true", "graphs", "both")
DTYPES = ("float32", "bfloat16", "float16")
PERIOD_US, EXPOSURE_US = 25_000, 20_000
MARGIN_US = 10_000
FRAMES = 8
"""Frames and their events that are made; they come round again and again."""

Size = tuple[int, int]


@dataclass(frozen=True)
class Row:
    """One network at one size.

    Attributes:
        name: of the network.
        image: the frames' size.
        events: the event sensor's size; the image is a whole number of times as fine.
        count: events of an exposure.
        goal: pictures a second; None: none was set.
        small: image and event sizes for a run that only checks the code.
        options: of the restorer.
        compile: ways of compiling that it has.
    """

    name: str
    image: Size
    events: Size
    count: int
    goal: int | None
    small: tuple[Size, Size]
    options: dict[str, Any] = field(default_factory=dict)
    compile: tuple[Any, ...] = (False, True, "graphs", "both")

    def at(self, small: bool) -> Row:
        """As it is, or at the small size."""
        if not small:
            return self
        return replace(self, image=self.small[0], events=self.small[1], count=min(self.count, 500))


ROWS = (
    Row("efnet", (346, 260), (346, 260), 200_000, 100, ((32, 24), (32, 24))),
    Row("efnet", (1152, 768), (288, 192), 100_000, 30, ((64, 48), (16, 12)), {"grid": "image"}),
    Row("gem", (1152, 768), (288, 192), 100_000, 40, ((64, 64), (16, 16))),
    Row("s-sdm-ldn", (1280, 720), (320, 180), 100_000, 300, ((64, 32), (16, 8)),
        {"contrast_on": 0.2, "contrast_off": 0.2}),
    # The contrast is given, as it stands once the search over the first exposures has ended.
    Row("glint", (346, 260), (346, 260), 200_000, 300, ((32, 24), (32, 24)), {"contrast": 0.25}),
    Row("glint", (1152, 768), (288, 192), 100_000, 60, ((64, 64), (16, 16)), {"contrast": 0.25}),
    Row("glint-large", (346, 260), (346, 260), 200_000, None, ((32, 24), (32, 24)), {"contrast": 0.25}),
    Row("glint-large", (1152, 768), (288, 192), 100_000, None, ((64, 64), (16, 16)), {"contrast": 0.25}),
    Row("sc-net", (346, 260), (346, 260), 200_000, None, ((32, 24), (32, 24)), {}, (False,)),
    Row("stra", (346, 260), (346, 260), 200_000, None, ((32, 24), (32, 24)), {}, (False,)),
    Row("cdvd-tsp", (640, 480), (640, 480), 0, 10, ((32, 24), (32, 24)), {}, (False, True)),
)  # fmt: skip


def rig_of(image: Size, events: Size) -> Rig:
    """A mirrored rig of these sizes; of one sensor where they are equal."""
    scale = image[0] / events[0]
    same = image == events
    m = np.eye(3) if same else scaled_homography(scale, mirrored=True, event_width=events[0])
    a, b, c = (tuple(float(v) for v in row) for row in m)
    return Rig(
        events=EventEntry(camera="made-up", width=events[0], height=events[1]),
        image=ImageEntry(camera="made-up", width=image[0], height=image[1], tone="srgb"),
        geometry=Geometry(image_from_event=(a, b, c), mirrored=not same),  # type: ignore[arg-type]
    )


def exposure_of(rig: Rig, ordinal: int, count: int) -> AlignedExposure:
    """Noise for a frame and `count` events within the exposure, a fifth more around it."""
    rng = np.random.default_rng(ordinal)
    start, end = ordinal * PERIOD_US, ordinal * PERIOD_US + EXPOSURE_US
    first, last = start - MARGIN_US, end + MARGIN_US
    n = count * (last - first) // (end - start)
    w, h = rig.events.width, rig.events.height
    events = Events(
        np.sort(rng.integers(first, last, n)), rng.integers(0, w, n).astype(np.uint16),
        rng.integers(0, h, n).astype(np.uint16), rng.random(n) < 0.5, w, h,
    )  # fmt: skip
    image = rng.integers(0, 256, (rig.image.height, rig.image.width, 3), dtype=np.uint8)
    frame = Frame(image, PixelLayout.RGB, ordinal, None, None, FrameClock.EVENT)
    exposure = Exposure(start, end, ExposureSource.TRIGGER, 0.0)
    return AlignedExposure(frame, exposure, events, first, last, rig, ordinal)


def modes(row: Row, device: torch.device, ways: Sequence[str] = WAYS) -> Iterator[tuple[str, Any]]:
    """The number types that the network bears as they are, and the narrow default compiled in these ways."""
    borne = {"float32", *(p.dtype for p in card(row.name).precision)}
    for dtype in DTYPES:
        if dtype in borne:
            yield dtype, False
    if device.type == "cuda":
        for way in row.compile[1:]:
            if str(way).lower() in ways:
                yield DTYPES[-1], way


@dataclass
class Figures:
    """Of one row in one mode: seconds of each restored exposure, of the warm-up, and bytes at most."""

    seconds: list[float]
    warm_up: float
    peak: int


class Stream:
    """A row's exposures, one after the other, through the engine, as a live stream is."""

    def __init__(self, row: Row, dtype: str, way: Any, device: str) -> None:
        self.rig = rig_of(row.image, row.events)
        options = {**row.options, "random_weights": True, "dtype": dtype, "compile": way}
        restorer = models.create(row.name, self.rig, options, device)
        assert isinstance(restorer, NeuralRestorer)
        self.engine, self.lag = Engine(restorer), restorer.needs.frames_after
        began = time.perf_counter()
        self.engine.prepare(*row.image)
        self.warm_up = time.perf_counter() - began
        self.few = [exposure_of(self.rig, k, row.count) for k in range(FRAMES)]
        self.next = 0
        for _ in range(1 + 2 * self.lag):  # a stream's first windows are not like the others
            self.push()

    def push(self) -> float:
        """Seconds that the next exposure takes, until its pictures are on the host."""
        # The frames come round again; to the engine each is a new exposure of the stream.
        k, a = self.next, self.few[self.next % len(self.few)]
        self.next += 1
        shifted = AlignedExposure(
            Frame(a.frame.image, PixelLayout.RGB, k, None, None, FrameClock.EVENT),
            a.exposure, a.events, a.window_start_us, a.window_end_us, self.rig, k,
        )  # fmt: skip
        began = time.perf_counter()
        restored = self.engine.push(shifted, (0.5,))
        assert restored or k < 2 * self.lag
        return time.perf_counter() - began


def measure(row: Row, dtype: str, way: Any, device: str, repeats: int) -> Figures:
    """Restore so many exposures and time each."""
    where = choose_device(device)
    if where.type == "cuda":
        torch.cuda.reset_peak_memory_stats(where)
    stream = Stream(row, dtype, way, device)
    seconds = [stream.push() for _ in range(repeats)]
    peak = torch.cuda.max_memory_allocated(where) if where.type == "cuda" else 0
    return Figures(seconds, stream.warm_up, peak)


def profile(row: Row, way: Any, device: str, pictures: int = 10) -> str:
    """Where the time of a picture goes, on the device and on the host, as two tables."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as watch

    stream = Stream(row, DTYPES[-1], way, device)
    with watch(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as seen:
        for _ in range(pictures):
            stream.push()
    found = seen.key_averages()
    # Kernels and copies themselves; an operation of the host counts those that it asked for once more.
    kernels = [e for e in found if e.device_type == DeviceType.CUDA]
    head = (
        f"{row.name} {row.image[0]}×{row.image[1]} {DTYPES[-1]} compile {way}, each of {pictures} pictures: "
        f"{sum(e.self_device_time_total for e in kernels) / pictures / 1e3:.2f} ms of the device"
    )
    tables = [
        found.table(sort_by=by, row_limit=20, max_name_column_width=90)
        for by in ("self_device_time_total", "self_cpu_time_total")
    ]
    return "\n".join([head, *map(str, tables)])


def table_row(row: Row, dtype: str, way: Any, f: Figures | str) -> tuple[str, ...]:
    """As printed; an error in the place of figures."""
    (w, h), (ew, eh) = row.image, row.events
    what = f"{row.name} {w}×{h}" + (f" + {row.count} events on {ew}×{eh}" if row.count else "")
    mode = (what, "–" if row.goal is None else f"≥ {row.goal}", dtype, str(way).lower() if way else "no")
    if isinstance(f, str):
        return (*mode, f, "–", "–", "–", "–")
    ms = 1e3 * np.array(f.seconds)
    p50, p95 = float(np.median(ms)), float(np.percentile(ms, 95))
    return (
        *mode, f"{1e3 / p50:.1f}", f"{p50:.2f}", f"{p95:.2f}", f"{f.warm_up:.1f}",
        f"{f.peak / 2**30:.2f}" if f.peak else "–",
    )  # fmt: skip


def main(arguments: list[str] | None = None) -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="rows whose network holds this text")
    parser.add_argument("--repeats", type=int, default=100)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--small", action="store_true", help="tiny pictures: checks the code, gives no figures")
    parser.add_argument(
        "--write", action="store_true", help=f"put the table into results/{RESULT.name} as well"
    )
    parser.add_argument("--profile", action="store_true", help="where the time goes")
    parser.add_argument("--ways", default=",".join(WAYS), help='of compiling, with commas; "": none')
    parser.add_argument("--tuned", action="store_true", help="cuDNN tries its kernels for each shape first")
    args = parser.parse_args(arguments)
    torch.backends.cudnn.benchmark = args.tuned
    device = choose_device(args.device)
    if args.write and (args.small or device.type != "cuda"):
        parser.error("--write is for figures of a GPU at full size")
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    rows: list[tuple[str, ...]] = []
    for row in (r.at(args.small) for r in ROWS if args.only in r.name):
        for dtype, way in modes(row, device, args.ways.split(",")):
            try:
                found: Figures | str = measure(row, dtype, way, args.device, args.repeats)
            except Exception as error:  # one mode that fails must not cost the others' figures
                if args.small:
                    raise
                found = f"{type(error).__name__}: {str(error).splitlines()[0][:60] if str(error) else ''}"
            rows.append(table_row(row, dtype, way, found))
            print(" | ".join(rows[-1]), flush=True)
        for way in row.compile if args.profile else ():
            if way is False or (device.type == "cuda" and str(way).lower() in args.ways.split(",")):
                print(profile(row, way, args.device))
    command = f"python -m benchmarks.bench_networks_gpu --repeats {args.repeats}" + " --tuned" * args.tuned
    if args.ways != ",".join(WAYS):
        command += f" --ways {args.ways}"
    version = torch.version.cuda or "none"
    about = f"{gpu}; Python {platform.python_version()}, PyTorch {torch.__version__}, CUDA {version}"
    if args.small:
        about += "; SMALL pictures: these are no figures"
    table = Table(title=f"{command}\n{about}")
    for k, column in enumerate(HEAD):
        table.add_column(column, justify="right" if k > 3 else "left")
    for cells in rows:
        table.add_row(*cells)
    Console(width=150).print(table)
    if args.write:
        RESULT.write_text(markdown("Networks on a GPU", command, about, __doc__, HEAD, rows))


if __name__ == "__main__":
    main()
