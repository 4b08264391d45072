"""The networks: time and efficiency on one core, against the published code's cost.

    python -m benchmarks.bench_networks [--repeats 5] [--only TEXT] [--memory] [--write]

Efficiency = multiply-adds of the published network ÷ (time × rate), the rate being that of a 3×3 convolution
with 128 channels in and out on 128×128 pixels, measured in turn with the network. 1 means: as if the whole
published network ran at that convolution's speed; more than 1 means that work was saved. The count is the
published code's in every row, also where less is computed here. Medians of one thread's CPU time, because the
machine may be busy with other things; the wall time stands beside it. Random weights: the time does not depend
on them.

`--memory` adds the peak memory of STRA at 640×480, exact and with the skip, each in a process of its own.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import platform
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from inference.memory import keep_freed_memory
from inference.networks import build
from inference.networks.blocks import channels_last
from inference.networks.cdvd_tsp import CDVDTSP
from inference.restorers.cdvd_stream import CdvdStream

RESULT = Path(__file__).parent / "results" / "networks.md"
HEAD = ("what", "published, s", "goal", "CPU s", "wall s", "G multiply-adds", "efficiency")

Step = Callable[[], Any]


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        what: network and size.
        published: CPU seconds of the published code on one like core.
        goal: in words.
        work: multiply-adds of the published network, from its specification.
        make: gives the function to be timed; called once.
    """

    what: str
    published: str
    goal: str
    work: float
    make: Callable[[], Step]


def _laid(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def _network(name: str, **options: Any) -> nn.Module:
    torch.manual_seed(0)
    return channels_last(build(name, **options).eval())


def _efnet() -> Step:
    net = _network("efnet")
    mask = (torch.rand(1, 1, 256, 256) < 0.3).float()
    inputs = _laid(torch.rand(1, 3, 256, 256)), _laid(torch.rand(1, 6, 256, 256) * 2 - 1), mask
    return lambda: net(*inputs)


def _gem() -> Step:
    net = _network("gem")
    events = _laid(torch.poisson(torch.full((1, 96, 64, 64), 0.3)))
    image = _laid(torch.rand(1, 3, 256, 256))
    return lambda: net(events, image)


def _cdvd() -> Step:
    net = _network("cdvd-tsp")
    assert isinstance(net, CDVDTSP)
    stream, n = CdvdStream(net), 0
    frames = [_laid(torch.rand(1, 3, 256, 256)) for _ in range(7)]

    def step() -> Tensor:
        nonlocal n
        n += 1
        return stream.run(range(n, n + 5), lambda key: frames[hash(key) % len(frames)])

    step()  # the first window is a whole one
    return step


def _stra(width: int, height: int, **options: Any) -> Step:
    net = _network("stra", **options)
    counts = torch.poisson(torch.full((1, 6, height, width), 0.3))
    frame = _laid(torch.cat([torch.rand(1, 3, height, width), counts], dim=1))
    _, previous = net(frame)
    return lambda: net(frame, previous)


def _sc_net(width: int, height: int, **options: Any) -> Step:
    net = _network("sc-net", spiking="window", **options)
    image = _laid(torch.rand(1, 3, height, width))
    events = torch.poisson(torch.full((1, 6, height, width, 16), 0.02))
    _, previous = net(image, events=events)
    return lambda: net(image, previous, events)


def _ldn() -> Step:
    net = _network("s-sdm-ldn")
    spikes = _laid((torch.rand(1, 21, 180, 320) < 0.3).float())
    image = _laid(torch.rand(1, 3, 720, 1280))
    return lambda: net(image, spikes)


# At 128×128: convolutions 375,872 a pixel with a previous feature, attention 64 P² and P²/4.
_PIXELS = 128 * 128
_STRA_WORK = 375_872 * _PIXELS + 64.25 * _PIXELS**2
# The published spiking stage costs 1,632 a pixel; the window's own 16 steps of six channels cost more.
_SC_NET_WORK = _STRA_WORK + 1_632 * _PIXELS

ROWS = (
    Row("EFNet 256×256, mask", "4.2–4.7", "efficiency ≥ 0.8, ≤ 3.2 s", 121.72e9, _efnet),
    Row("GEM 256×256 + 64×64", "2.4", "≤ 0.6 s", 8.820e9, _gem),
    Row("CDVD-TSP 256×256, a frame in a stream", "11.3–12.0", "≤ 5.5 s", 349.58e9 / 2, _cdvd),
    Row("STRA 128×128, exact attention", "3.7", "≤ 1.0 s", _STRA_WORK, lambda: _stra(128, 128)),
    Row("STRA 128×128, attention skipped", "3.7", "≤ 0.5 s", _STRA_WORK,
        lambda: _stra(128, 128, temporal_attention=False)),
    Row("SC-Net 128×128, window of 16, exact", "3.7", "≤ 1.0 s", _SC_NET_WORK, lambda: _sc_net(128, 128)),
    Row("SC-Net 128×128, window of 16, skipped", "3.7", "≤ 0.5 s", _SC_NET_WORK,
        lambda: _sc_net(128, 128, temporal_attention=False)),
    Row("LDN 1280×720 + 320×180", "0.85", "≤ 0.6 s", 15.90e9, _ldn),
)  # fmt: skip


class Reference:
    """The convolution whose speed is the measure of all others."""

    work = 128 * 128 * 9 * 128 * 128

    def __init__(self) -> None:
        self.conv = channels_last(nn.Conv2d(128, 128, 3, padding=1))
        self.x = _laid(torch.rand(1, 128, 128, 128))

    def __call__(self) -> Tensor:
        out: Tensor = self.conv(self.x)
        return out


def clocked(step: Step) -> tuple[float, float]:
    """CPU and wall seconds of one call."""
    began, used = time.perf_counter(), time.thread_time()
    step()
    return time.thread_time() - used, time.perf_counter() - began


@torch.inference_mode()
def measure(row: Row, reference: Reference, repeats: int) -> tuple[float, float, float, float]:
    """Medians of CPU and wall seconds, the reference's multiply-adds a CPU second, and the efficiency."""
    step = row.make()
    clocked(step)
    clocked(reference)
    times, references = [], []
    for _ in range(repeats):
        references += [clocked(reference)[0] for _ in range(5)]
        times.append(clocked(step))
    cpu, wall = (float(np.median([t[k] for t in times])) for k in (0, 1))
    rate = reference.work / float(np.median(references))
    return cpu, wall, rate, row.work / (cpu * rate)


def _peak(attention: bool, back: Any) -> None:
    torch.set_num_threads(1)
    with torch.inference_mode():
        began = time.perf_counter()
        _stra(640, 480, temporal_attention=attention)()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    back.put((peak / 1024**2, (time.perf_counter() - began) / 2))


def peak_memory(attention: bool) -> tuple[float, float]:
    """GiB at most and seconds a frame of STRA at 640×480, in a process of its own."""
    context = multiprocessing.get_context("spawn")
    back = context.Queue()
    child = context.Process(target=_peak, args=(attention, back))
    child.start()
    answer: tuple[float, float] = back.get(timeout=3600)
    child.join()
    return answer


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", default="", help="rows whose name holds this text")
    parser.add_argument("--memory", action="store_true", help="peak memory of STRA at 640×480, too; minutes")
    parser.add_argument("--write", action="store_true", help=f"put the table into {RESULT.name} as well")
    args = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()  # as restorers do
    load = os.getloadavg()[0]
    reference = Reference()
    rows, rates = [], []
    for row in ROWS:
        if args.only.lower() not in row.what.lower():
            continue
        cpu, wall, rate, efficiency = measure(row, reference, args.repeats)
        rates.append(rate)
        rows.append((row.what, row.published, row.goal, f"{cpu:.2f}", f"{wall:.2f}",
                     f"{row.work / 1e9:.1f}", f"{efficiency:.2f}"))  # fmt: skip
        print(f"{row.what}: {cpu:.2f} s", flush=True)
    if args.memory:
        for attention, name in ((True, "exact"), (False, "skipped")):
            gib, seconds = peak_memory(attention)
            rows.append((f"STRA 640×480, {name}: peak {gib:.1f} GiB", "378 GB a matrix", "≤ 4 GB", "–",
                         f"{seconds:.1f}", "–", "–"))  # fmt: skip

    command = f"python -m benchmarks.bench_networks --repeats {args.repeats}"
    command += " --memory" if args.memory else ""
    rate_text = f"{min(rates) / 1e9:.0f}…{max(rates) / 1e9:.0f} G multiply-adds a second" if rates else "–"
    about = (
        f"{platform.machine()}, one thread, Python {platform.python_version()}, PyTorch {torch.__version__}; "
        f"reference convolution {rate_text}; load average before the run {load:.1f}; medians of {args.repeats}"
    )
    table = Table(title=f"{command}\n{about}")
    for k, column in enumerate(HEAD):
        table.add_column(column, justify="right" if k > 2 else "left")
    for cells in rows:
        table.add_row(*cells)
    Console(width=140).print(table)
    if args.write:
        lines = ["# Networks on one core", "", f"`{command}`", "", about, ""]
        lines += [
            "Efficiency = multiply-adds of the published network ÷ (CPU time × the reference's rate); above 1 "
            "where work is saved.", "",
        ]  # fmt: skip
        lines += ["| " + " | ".join(HEAD) + " |", "|" + " --- |" * len(HEAD)]
        lines += ["| " + " | ".join(r) + " |" for r in rows]
        RESULT.parent.mkdir(exist_ok=True)
        RESULT.write_text("\n".join([*lines, ""]))


if __name__ == "__main__":
    main()
