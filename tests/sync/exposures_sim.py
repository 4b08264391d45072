"""Simulated exposures with the truth known: edges and frames as two imperfect records of them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from capture.packets import EventPacket, Events, Frame, FrameClock, PixelLayout, TriggerEdges
from sync.rig import Clock, EventEntry, ImageEntry, Rig

WIDTH, HEIGHT = 16, 12
IMAGE = np.zeros((HEIGHT, WIDTH), np.uint8)


def small_rig(**clock: object) -> Rig:
    return Rig(
        events=EventEntry(camera="test", width=WIDTH, height=HEIGHT),
        image=ImageEntry(camera="test", width=WIDTH, height=HEIGHT),
        clock=Clock(**clock),  # type: ignore[arg-type]
    )


@dataclass
class Setup:
    """What is to be simulated; times in µs, on the event clock where not said otherwise."""

    frames: int = 60
    period_us: float = 16_667.0
    exposure_us: float = 8_000.0
    vary_exposure: float = 0.0  # share, uniform ±
    vary_period: float = 0.0
    first_us: int = 200_000  # start of the first exposure; the event stream begins at 0
    jitter_us: float = 5.0  # of each edge
    edge_loss: float = 0.0
    frame_loss: float = 0.0  # lost on the way: the counter shows it
    silent_loss: float = 0.0  # lost before counting
    extra_edges: int = 0
    bounce: float = 0.0
    offset_us: float = 37_000.0  # device time of event time 0
    drift_ppm: float = 40.0  # the device clock is slow by this against the event clock
    packet_us: int = 2_000
    frame_latency_us: tuple[float, float] = (3_000.0, 6_000.0)
    event_latency_us: tuple[float, float] = (300.0, 900.0)
    host: bool = True
    active_high: bool = True
    stalls: dict[int, float] = field(default_factory=dict)  # before exposure k: a pause, µs
    device_jump: tuple[int, float] | None = None  # from exposure k on, µs
    event_rate: float = 20_000.0
    tail_us: int = 60_000
    seed: int = 1


@dataclass
class Simulated:
    """Items in order of arrival, and the truth by sequence number."""

    items: list[EventPacket | Frame]
    truth: dict[int, tuple[float, float]]
    device_of: dict[int, int]
    edges: int


def simulate(s: Setup) -> Simulated:
    rng = np.random.default_rng(s.seed)
    step = s.period_us * (1 + s.vary_period * rng.uniform(-1, 1, s.frames))
    for k, pause in s.stalls.items():
        step[k] += pause
    start = s.first_us + np.concatenate([[0.0], np.cumsum(step[1:])])
    length = s.exposure_us * (1 + s.vary_exposure * rng.uniform(-1, 1, s.frames))
    end = start + length
    assert (start[1:] > end[:-1]).all()
    edges: list[tuple[int, bool]] = []
    for a, b in zip(start, end, strict=True):
        for t, opened in ((a, True), (b, False)):
            if rng.random() < s.edge_loss:
                continue
            t = t + rng.normal(0, s.jitter_us)
            edges.append((round(t), opened == s.active_high))
            if rng.random() < s.bounce:
                edges.append((round(t + 8), opened != s.active_high))
                edges.append((round(t + 20), opened == s.active_high))
    total = int(end[-1]) + s.tail_us
    edges += [(int(t), bool(rng.integers(2))) for t in rng.uniform(0, total, s.extra_edges)]
    edges.sort()

    stream: list[tuple[float, int, EventPacket | Frame]] = []
    host0 = 10**12
    n_events = int(total * s.event_rate / 1e6)
    t = np.sort(rng.integers(0, total, n_events)) if n_events else np.empty(0, np.int64)
    et = np.array([e[0] for e in edges], np.int64)
    er = np.array([e[1] for e in edges], np.bool_)
    for until in range(s.packet_us, total + s.packet_us, s.packet_us):
        i, j = np.searchsorted(t, [until - s.packet_us, until])
        a, b = np.searchsorted(et, [until - s.packet_us, until])
        arrived = until + rng.uniform(*s.event_latency_us)
        # Offline a frame comes after the packet that holds the events before its end.
        stream.append(
            (
                arrived if s.host else until - s.packet_us,
                0,
                packet(t[i:j], et[a:b], er[a:b], until, host0 + int(arrived * 1000) if s.host else 0),
            )
        )
    truth, device_of = {}, {}
    sequence = 0
    for k, (a, b) in enumerate(zip(start, end, strict=True)):
        if k and rng.random() < s.silent_loss:  # a counter at its first value lost nothing before
            continue
        q = sequence
        sequence += 1
        if rng.random() < s.frame_loss:
            continue
        jump = s.device_jump[1] if s.device_jump and k >= s.device_jump[0] else 0.0
        to_device = lambda x, jump=jump: round(1000 * (s.offset_us + jump + x * (1 - s.drift_ppm * 1e-6)))  # noqa: E731
        arrived = b + rng.uniform(*s.frame_latency_us)
        frame = Frame(
            IMAGE, PixelLayout.GRAY, q, to_device(a), to_device(b), FrameClock.DEVICE,
            host0 + int(arrived * 1000) if s.host else 0,
        )  # fmt: skip
        truth[q] = (a, b)
        device_of[q] = to_device(a)
        stream.append((arrived if s.host else b, 1, frame))
    stream.sort(key=lambda x: x[:2])
    return Simulated([x[2] for x in stream], truth, device_of, len(edges))


def packet(
    t: NDArray[np.int64],
    et: NDArray[np.int64],
    er: NDArray[np.bool_],
    until: int,
    host_ns: int = 0,
    **more: object,
) -> EventPacket:
    n = len(t)
    x = (np.arange(n) % WIDTH).astype(np.uint16)
    y = (np.arange(n) % HEIGHT).astype(np.uint16)
    events = Events(np.asarray(t, np.int64), x, y, np.arange(n) % 2 == 0, WIDTH, HEIGHT)
    return EventPacket(events, TriggerEdges(et, er), until, host_ns, **more)  # type: ignore[arg-type]
