"""Event cameras on the wire: AEDAT4 over TCP through the DAVIS's code, EVT3 bytes into rings.

    python -m benchmarks.bench_wire --seconds 60
    python -m benchmarks.bench_wire --only evt3

Latency is from the moment a server process hands a packet to its socket to the moment the camera gives it
(one clock). On a busy machine it is the scheduler's; `chrt -r 5 python -m …` shows the driver's.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import time
from typing import Any

import numpy as np

from capture import registry
from capture.inivation.stream_source import wait_for
from capture.packets import Events
from capture.prophesee.stream import Evt3Stream
from capture.ring import RingLayout, RingMemory, RingReader, RingRef, RingWriter
from capture.simulated import aedat4_wire as wire
from recordings.export.evt3 import Evt3Encoder

WIDTH, HEIGHT = 346, 260
PACKET_US = 2000


def noise(n: int, seed: int = 0) -> Events:
    """`n` events within one packet."""
    rng = np.random.default_rng(seed)
    t = np.sort(rng.integers(0, PACKET_US, n))
    x, y = rng.integers(0, WIDTH, n).astype(np.uint16), rng.integers(0, HEIGHT, n).astype(np.uint16)
    return Events(t, x, y, rng.random(n) < 0.5, WIDTH, HEIGHT)


def serve(port: int, rate: float, seconds: float, sent: Any) -> None:
    """A server process: packets at a steady rate, stamped with the time they leave (`time.monotonic_ns`)."""
    from capture.simulated.stream_server import StreamServer

    server = StreamServer(("127.0.0.1", port), wire.head("EVTS", "DAVIS346_BENCH", (WIDTH, HEIGHT)))
    batch = noise(round(rate * PACKET_US / 1e6))
    while sent.value == 0:  # the reader says when it has connected
        time.sleep(0.01)
    sent.value = 0
    begin = time.monotonic_ns() // 1000 + 50_000
    before = begin - PACKET_US
    for k in range(round(seconds * 1e6 / PACKET_US)):
        while (wait := begin + k * PACKET_US - time.monotonic_ns() // 1000) > 0:
            time.sleep(wait / 1e6)
        # The last event's time is when the packet leaves; a server that is held up sends its packets later.
        now = time.monotonic_ns() // 1000
        t = before + 1 + batch.t * (now - before - 1) // PACKET_US
        t[-1] = before = now
        server.send(wire.events(Events(t, batch.x, batch.y, batch.p, WIDTH, HEIGHT)))
        sent.value += len(batch)
    while server.waiting and server.clients:
        time.sleep(0.05)
    time.sleep(2.0)
    os._exit(0)


def aedat4(rate: float, seconds: float) -> None:
    """Events over TCP through the DAVIS's code path, counted and timed."""
    context = multiprocessing.get_context("spawn")
    sent = context.Value("q", 0)
    port = 17_801
    process = context.Process(target=serve, args=(port, rate, seconds, sent), daemon=True)
    process.start()
    wait_for("bench", ("127.0.0.1", port), "EVTS", 60.0)
    d, config = registry.open_driver(f"aedat4-tcp:127.0.0.1:{port}", {})
    camera = d.event_camera(config)
    camera.open()
    camera.start()
    sent.value = 1
    got, latency = 0, []
    expected = round(seconds * 1e6 / PACKET_US) * round(rate * PACKET_US / 1e6)
    began, cpu = time.monotonic(), time.process_time()
    while got < expected and time.monotonic() - began < 2 * seconds + 20:
        p = camera.read(0.05)
        if p is not None and len(p.events):
            got += len(p.events)
            latency.append(p.host_ns / 1e6 - p.events.t[-1] / 1e3)
    cpu, wall = time.process_time() - cpu, time.monotonic() - began
    camera.close()
    process.kill()
    q = np.percentile(latency, [50, 95, 99])
    print(
        f"AEDAT4 over TCP, {rate / 1e6:g} Mev/s for {seconds:g} s: {got / 1e6:.1f} of {expected / 1e6:.1f} Mev"
    )
    print(f"  lost {expected - got}; latency p50 {q[0]:.1f}, p95 {q[1]:.1f}, p99 {q[2]:.1f} ms", end="")
    print(f"; {100 * cpu / wall:.0f} % of a core in the reader; load {os.getloadavg()[0]:.1f}")


def evt3(events: int) -> None:
    """EVT3 bytes, in pieces as USB brings them, decoded and written into a ring."""
    encoder = Evt3Encoder(1280, 720)
    rng = np.random.default_rng(1)
    t = np.sort(rng.integers(0, 400_000, events))
    x, y = rng.integers(0, 1280, events).astype(np.uint16), rng.integers(0, 720, events).astype(np.uint16)
    singles = Events(t, x, y, rng.random(events) < 0.5, 1280, 720)
    # As edges give them: runs of pixels of one row at one time.
    run = 8
    n = events // run
    rt = np.repeat(np.sort(rng.integers(0, 400_000, n)), run)
    rx = (np.repeat(rng.integers(0, 1280 - run, n), run) + np.tile(np.arange(run), n)).astype(np.uint16)
    ry, rp = np.repeat(rng.integers(0, 720, n), run).astype(np.uint16), np.repeat(rng.random(n) < 0.5, run)
    runs = Events(rt, rx, ry, rp, 1280, 720)
    memory = RingMemory.create(RingLayout("bench", 64 << 20, 2048, ("r",)))
    ref = RingRef(memory.name, "bench")
    writer, reader = RingWriter(ref), RingReader(ref, "r")
    try:
        for name, e in (("scattered events", singles), ("runs of 8 pixels", runs)):
            data = Evt3Encoder(1280, 720).encode(e) if name else encoder.encode(e)
            best = []
            for _ in range(5):
                stream = Evt3Stream(f"bench {name} {len(best)}", 1280, 720)
                got, cpu = 0, time.process_time()
                for at in range(0, len(data), 131_072):
                    for p in stream.feed(data[at : at + 131_072], time.monotonic_ns()):
                        writer.write_packet(p, timeout_s=0.0)
                        got += len(p.events)
                best.append(got / (time.process_time() - cpu) / 1e6)
                assert got == len(e)
            print(
                f"EVT3 → ring, {name}: median {np.median(best):.0f} Mev per CPU second (best {max(best):.0f}), "
                f"{len(data) / len(e):.1f} bytes an event; load {os.getloadavg()[0]:.1f}"
            )
    finally:
        reader.close()
        writer.close()
        memory.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rate", type=float, default=5e6)
    parser.add_argument("--only", choices=("aedat4", "evt3"))
    a = parser.parse_args()
    if a.only in (None, "evt3"):
        evt3(4_000_000)
    if a.only in (None, "aedat4"):
        aedat4(a.rate, a.seconds)


if __name__ == "__main__":
    main()
