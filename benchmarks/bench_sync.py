"""The synchroniser under full load: share of one core at 10 Mev/s and 60 frames a second.

    python -m benchmarks.bench_sync [--seconds 20] [--rate 10e6] [--fps 60]

Packets of 1 ms and frames with trigger edges (jitter 5 µs, 2 % of edges and of frames missing, exposures
varied) are made beforehand; what is measured is the CPU time of this process while they go through
`Synchroniser`, over the time that they stand for. Median of several runs. Two figures: with each exposure's
window cut (a copy of the window where it spans packets), and the same with 20 ms margins on both sides. Beside
them, for scale, a bare copy of as many events (out of warm caches).
"""

from __future__ import annotations

import argparse
import time
from statistics import median

import numpy as np
from rich.console import Console
from rich.table import Table

from capture.packets import EventPacket, Events, Frame, FrameClock, PixelLayout, TriggerEdges
from sync.exposure import AlignedExposure
from sync.rig import Clock, EventEntry, ImageEntry, Rig
from sync.synchroniser import Synchroniser

PACKET_US = 1_000
WIDTH, HEIGHT = 1280, 720


def rig() -> Rig:
    return Rig(
        events=EventEntry(camera="bench", width=WIDTH, height=HEIGHT),
        image=ImageEntry(camera="bench", width=64, height=48),
        clock=Clock(relation="trigger"),
    )


def items(seconds: float, rate: float, fps: float) -> list[EventPacket | Frame]:
    """Both streams in order; all packets show one block of memory under shifted times, to spare memory."""
    rng = np.random.default_rng(0)
    n = round(rate * PACKET_US / 1e6)
    x, y = rng.integers(0, WIDTH, n).astype(np.uint16), rng.integers(0, HEIGHT, n).astype(np.uint16)
    p, t = rng.random(n) < 0.5, np.sort(rng.integers(0, PACKET_US, n))
    period = 1e6 / fps
    starts = np.arange(0.2e6, seconds * 1e6 - period, period)
    ends = starts + period * rng.uniform(0.3, 0.6, len(starts))
    times = np.concatenate([starts, ends]) + rng.normal(0, 5, 2 * len(starts))
    rising = np.repeat([True, False], len(starts))
    seen = rng.random(len(times)) > 0.02
    order = np.argsort(times[seen])
    edges, rising = np.round(times[seen][order]).astype(np.int64), rising[seen][order]
    out: list[tuple[float, EventPacket | Frame]] = []
    for k in range(round(seconds * 1e6 / PACKET_US)):
        a, b = np.searchsorted(edges, [k * PACKET_US, (k + 1) * PACKET_US])
        until = (k + 1) * PACKET_US
        events = Events(t + k * PACKET_US, x, y, p, WIDTH, HEIGHT)
        triggers = TriggerEdges(edges[a:b], rising[a:b])
        out.append((until + 300, EventPacket(events, triggers, until, 10**12 + (until + 300) * 1000)))
    image = np.zeros((48, 64), np.uint8)
    for k, (a, b) in enumerate(zip(starts, ends, strict=True)):
        if rng.random() < 0.02:
            continue
        arrived = b + rng.uniform(4_000, 6_000)
        device = [round((v * (1 + 40e-6) + 7e5) * 1000) for v in (a, b)]
        host_ns = 10**12 + round(arrived * 1000)
        frame = Frame(image, PixelLayout.GRAY, k, device[0], device[1], FrameClock.DEVICE, host_ns)
        out.append((arrived, frame))
    return [i for _, i in sorted(out, key=lambda o: o[0])]


def run(stream: list[EventPacket | Frame], margin_us: int) -> tuple[float, int, int, Synchroniser]:
    """CPU seconds, exposures aligned, events in their windows."""
    y = Synchroniser(rig(), margin_before_us=margin_us, margin_after_us=margin_us)
    aligned = events = 0
    begin = time.process_time()
    for item in stream:
        if isinstance(item, Frame):
            y.push_frame(item)
        else:
            y.push_events(item)
        for o in y.take():
            if isinstance(o, AlignedExposure):
                aligned += 1
                events += len(o.events)
    return time.process_time() - begin, aligned, events, y


def copying(stream: list[EventPacket | Frame], events: int) -> float:
    """CPU seconds of a bare copy of as many events into new memory, packet by packet."""
    begin, done = time.process_time(), 0
    for item in stream:
        if done >= events:
            break
        if isinstance(item, EventPacket):
            e = item.events
            for a in (e.t, e.x, e.y, e.p):
                a.copy()
            done += len(e)
    return time.process_time() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--rate", type=float, default=10e6)
    parser.add_argument("--fps", type=float, default=60.0)
    parser.add_argument("--runs", type=int, default=3)
    args = parser.parse_args()
    stream = items(args.seconds, args.rate, args.fps)
    frames = sum(isinstance(i, Frame) for i in stream)
    table = Table(title=f"{args.rate / 1e6:g} Mev/s, {args.fps:g} fps, {args.seconds:g} s of stream")
    for column in (
        "margins",
        "share of a core",
        "ms per exposure",
        "bare copy",
        "aligned",
        "events in windows",
    ):
        table.add_column(column, justify="right")
    for margin in (0, 20_000):
        got = [run(stream, margin) for _ in range(args.runs)]
        cpu = median(g[0] for g in got)
        _, aligned, events, _ = got[0]
        bare = median(copying(stream, events) for _ in range(args.runs))
        table.add_row(
            f"{margin / 1e3:g} ms", f"{100 * cpu / args.seconds:.1f} %", f"{1e3 * cpu / max(1, aligned):.2f}",
            f"{100 * bare / args.seconds:.1f} %", f"{aligned} of {frames}", f"{events / 1e6:.1f} M",
        )  # fmt: skip
    Console().print(table)
    command = f"--seconds {args.seconds:g} --rate {args.rate:g} --fps {args.fps:g} --runs {args.runs}"
    Console().print(f"python -m benchmarks.bench_sync {command}")


if __name__ == "__main__":
    main()
