"""The rings under the program's full load: frames and events at once, two readers of both, real processes.

    python -m benchmarks.bench_rings [--seconds 30] [--rate 10e6] [--fps 60] [--write]

Two producer processes write 1152×768×3 frames at 60 fps and packets of 10 ms at 10 million events a second.
Two reader processes read both rings: one copies every item (as the recorder does), one looks at every value in
place (as the synchroniser does, and it checks the sequence numbers planted in the data). The main process
supervises and polls the counters at 30 Hz as the viewer does. CPU time is what the kernel counted for each
process (user + system) while the streams ran. Beside it, for scale: the CPU time that a bare numpy copy of the
same bytes takes out of main memory. What was written a moment ago is often still in a cache, so that a copy in
the pipeline can be cheaper than that.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from app.supervisor import Supervisor, WorkerPlan
from capture.camera import CameraState
from capture.cores import usable_cores
from capture.link import WorkerLink
from capture.packets import EventPacket, Events, Frame, FrameClock, PixelLayout, TriggerEdges
from capture.ring import RingLayout, RingReader, RingRef, RingWriter, wait_any

WIDTH, HEIGHT, PACKET_S = 1152, 768, 0.01
RESULT = Path(__file__).parent / "results" / "rings.md"


@dataclass(frozen=True)
class Load:
    seconds: float
    fps: float
    rate: float
    events: RingRef
    frames: RingRef

    @property
    def n_frames(self) -> int:
        return round(self.seconds * self.fps)

    @property
    def n_packets(self) -> int:
        return round(self.seconds / PACKET_S)


def cpu_s() -> float:
    u = resource.getrusage(resource.RUSAGE_SELF)
    return u.ru_utime + u.ru_stime


def packet(n: int, count: int, base: Events) -> EventPacket:
    t = base.t + n * 10_000  # a fresh array each time, as from a driver
    t[0] = n * 10_000
    return EventPacket(
        Events(t, base.x, base.y, base.p, base.width, base.height), TriggerEdges.empty(), (n + 1) * 10_000
    )


def produce(link: WorkerLink, payload: tuple[str, Load]) -> None:
    """Write one stream at its pace, then tell the cost."""
    kind, load = payload
    ring, count, period = (
        (load.frames, load.n_frames, 1 / load.fps)
        if kind == "frames"
        else (load.events, load.n_packets, PACKET_S)
    )
    writer, r = RingWriter(ring), np.random.default_rng(0)
    image = r.integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
    m = round(load.rate * PACKET_S)
    base = Events(
        np.sort(r.integers(0, 10_000, m)), r.integers(0, 1280, m).astype(np.uint16),
        r.integers(0, 720, m).astype(np.uint16), r.random(m) < 0.5, 1280, 720,
    )  # fmt: skip
    epoch = link.wait_start()
    if epoch is None:
        return
    began, late = cpu_s(), 0.0
    for n in range(count):
        due = epoch / 1e9 + n * period
        while (wait := due - time.monotonic()) > 0 and not link.stopping:
            time.sleep(wait)
        late = max(late, time.monotonic() - due)
        if kind == "frames":
            image.reshape(-1)[:8].view(np.int64)[0] = n
            writer.write_packet(Frame(image, PixelLayout.RGB, n, None, None, FrameClock.DEVICE))
        else:
            writer.write_packet(packet(n, m, base))
        link.beat(CameraState.RUNNING)
        if n % 8 == 0:
            link.poll()
        if link.stopping:
            return
    link.publish("cost", {"cpu_s": cpu_s() - began, "late_ms": 1e3 * late, "items": count})
    while not link.stopping:
        link.beat(CameraState.RUNNING)
        link.poll(0.05)


def consume(link: WorkerLink, payload: tuple[str, Load]) -> None:
    """Read both streams to their ends, then tell the cost and what was found."""
    name, load = payload
    readers = (RingReader(load.events, name), RingReader(load.frames, name))
    # The copying reader owns its buffers; fresh ones for every frame would measure the page faults.
    buffers: dict[tuple[int, int], np.ndarray[Any, Any]] = {}
    want, got, wrong, delays = (load.n_packets, load.n_frames), [0, 0], 0, []
    if link.wait_start() is None:
        return
    began = cpu_s()
    while not link.stopping and tuple(got) != want:
        for i, reader in enumerate(readers):
            while True:
                with reader.next() as item:
                    if item is None:
                        break
                    delays.append(time.monotonic_ns() - item.host_ns)
                    if name == "copies":
                        for j, a in enumerate(item.arrays):
                            size = buffers.get((i, j))
                            if size is None or size.nbytes < a.nbytes:
                                size = buffers[i, j] = np.empty(2 * a.nbytes, np.uint8)
                            size[: a.nbytes].view(a.dtype).reshape(a.shape)[...] = a
                        first = int(buffers[i, 0][:8].view(np.int64)[0])
                    else:
                        first = int(item.arrays[0].reshape(-1)[: 8 if i else 1].view(np.int64)[0])
                        for a in item.arrays:
                            if a.size:
                                a.max()
                    wrong += first != (item.sequence if i else item.sequence * 10_000)
                got[i] += 1
        link.beat(CameraState.RUNNING)
        link.poll()
        wait_any(readers, 0.05)
    d = np.array(delays) / 1e6
    link.publish(
        "cost",
        {
            "cpu_s": cpu_s() - began, "wrong": wrong, "items": sum(got),
            "lost": sum(r.stats().lost for r in readers),
            "p50_ms": float(np.percentile(d, 50)), "p99_ms": float(np.percentile(d, 99)),
        },
    )  # fmt: skip
    while not link.stopping:
        link.beat(CameraState.RUNNING)
        link.poll(0.05)


def copy_gb_s() -> float:
    """Bytes per second of CPU time of a bare copy of a frame between buffers too many for a cache."""
    a = [np.full(WIDTH * HEIGHT * 3, i, np.uint8) for i in range(16)]
    b = [np.zeros_like(x) for x in a]
    rates = []
    for _ in range(9):
        t = time.process_time()
        for x, y in zip(a, b, strict=True):
            np.copyto(y, x)
        rates.append(sum(x.nbytes for x in a) / (time.process_time() - t))
    return median(rates) / 1e9


def one_run(seconds: float, fps: float, rate: float) -> tuple[dict[str, dict[str, Any]], float, float, int]:
    """Costs of every process, the supervising one's CPU seconds, the span, items lost."""
    with Supervisor() as s:
        names = ("copies", "in place")
        load = Load(
            seconds, fps, rate,
            s.create_ring(RingLayout("events", 64 << 20, 1024, names)),
            s.create_ring(RingLayout("frames", 64 << 20, 64, names)),
        )  # fmt: skip
        for kind in ("events", "frames"):
            s.add(WorkerPlan(kind, produce, (kind, load), joins_epoch=True, budget=0))
        for name in names:
            s.add(WorkerPlan(name, consume, (name, load), joins_epoch=True, budget=0))
        s.start()
        while s.epoch_ns is None:
            time.sleep(0.01)
        began, at, cost = cpu_s(), time.monotonic(), {}
        while len(cost) < 4 and time.monotonic() - at < 3 * seconds + 30:
            cost |= {m.worker: m.body for m in s.poll() if m.topic == "cost"}
            s.statuses(), s.ring_stats()
            time.sleep(1 / 30)
        own, span = cpu_s() - began, time.monotonic() - at
        lost = sum(r.lost + r.aborted + r.waiting for ring in s.ring_stats() for r in ring.readers)
    if len(cost) < 4:
        sys.exit(f"only {sorted(cost)} came to an end: {[w.detail for w in s.statuses()]}")
    return cost, own, span, lost


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--fps", type=float, default=60.0)
    parser.add_argument("--rate", type=float, default=10e6, help="events a second")
    parser.add_argument("--write", action="store_true", help=f"put the table into {RESULT.name} as well")
    args = parser.parse_args()
    load_before = os.getloadavg()[0]
    bandwidth = copy_gb_s()
    cost, own, span, lost = one_run(args.seconds, args.fps, args.rate)
    frame_rate, event_rate = args.fps * WIDTH * HEIGHT * 3 / 1e9, args.rate * 13 / 1e9

    rows: list[tuple[str, ...]] = []
    for name in ("events", "frames"):
        c, data = cost[name], event_rate if name == "events" else frame_rate
        rows.append(
            (f"producer: {name}", f"{c['items']}", f"{100 * c['cpu_s'] / args.seconds:.1f} %",
             f"{100 * data / bandwidth:.1f} %", f"latest start {c['late_ms']:.1f} ms")
        )  # fmt: skip
    for name in ("copies", "in place"):
        c = cost[name]
        copy = f"{100 * (frame_rate + event_rate) / bandwidth:.1f} %" if name == "copies" else "–"
        rows.append(
            (f"reader: {name}", f"{c['items']}", f"{100 * c['cpu_s'] / args.seconds:.1f} %", copy,
             f"age p50 {c['p50_ms']:.2f}, p99 {c['p99_ms']:.2f} ms; lost {c['lost']}, wrong {c['wrong']}")
        )  # fmt: skip
    rows.append(("supervisor and poll", "–", f"{100 * own / span:.1f} %", "–", ""))
    beyond = sum(cost[n]["cpu_s"] for n in ("copies", "in place")) / args.seconds + own / span
    rows.append(
        ("beyond the producers", "–", f"{100 * beyond:.1f} %", "–", f"goal: at most 60 %; lost in all {lost}")
    )
    command = f"python -m benchmarks.bench_rings --seconds {args.seconds:g}"
    title = (
        f"Rings: {WIDTH}×{HEIGHT}×3 at {args.fps:g} fps and {args.rate / 1e6:g} Mev/s in packets of 10 ms, two "
        f"readers of both, {args.seconds:g} s"
    )
    about = (
        f"{platform.machine()}, {usable_cores()} cores, Python {platform.python_version()}; a shared machine "
        f"(load average before the run {load_before:.1f}); bare copy {bandwidth:.1f} GB per CPU second; one run"
    )
    head = ("process", "items", "CPU of one core", "bare copy", "remarks")
    table = Table(*head, title=title, caption=f"{command}\n{about}")
    for row in rows:
        table.add_row(*row)
    Console(width=120).print(table)
    if args.write:
        lines = [f"# {title}", "", f"`{command}`", "", about, "", "| " + " | ".join(head) + " |"]
        lines += ["|" + " --- |" * len(head), *("| " + " | ".join(r) + " |" for r in rows), ""]
        RESULT.parent.mkdir(exist_ok=True)
        RESULT.write_text("\n".join(lines))


if __name__ == "__main__":
    main()
