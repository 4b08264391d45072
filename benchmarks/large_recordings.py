"""Recordings of some gigabytes, made for a measurement and removed after it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np

from capture.packets import EventPacket, Events, Frame, FrameClock, PixelLayout, TriggerEdges
from recordings.export.evt3 import Evt3Encoder, header
from recordings.formats.own_about import About, RecordedCamera
from recordings.formats.own_chunks import draft
from recordings.recorder.take import Limits, Take
from sync.rig import Rig

PACKET_US, PERIOD_US, EXPOSURE_US = 10_000, 40_000, 30_000


def noise(rng: np.random.Generator, n: int, size: tuple[int, int], first_us: int, span_us: int) -> Events:
    """Random events: the worst case for any packing."""
    w, h = size
    t = np.sort(rng.integers(0, span_us, n)) + first_us
    x, y = rng.integers(0, w, n).astype(np.uint16), rng.integers(0, h, n).astype(np.uint16)
    return Events(t, x, y, rng.random(n) < 0.5, w, h)


def large_evt3(path: Path, size: int) -> Path:
    """Events alone, 1280×720, ten million a second."""
    rng = np.random.default_rng(0)
    encoder = Evt3Encoder(1280, 720)
    with path.open("wb") as f:
        f.write(header(1280, 720))
        parts = [noise(rng, 1_000_000, (1280, 720), 0, 100_000) for _ in range(4)]
        k = 0
        while f.tell() < size:
            e = parts[k % len(parts)]
            f.write(encoder.encode(Events(e.t + k * 100_000, e.x, e.y, e.p, e.width, e.height)))
            k += 1
    return path


def large_own(folder: Path, size: int) -> Path:
    """Our own format: 1152×768 Bayer frames at 25 a second with a million events a second."""
    rng = np.random.default_rng(0)
    rig = Rig.from_facts("made", _facts())
    about = About(
        started="2026-01-01T00:00:00+00:00", program="halfmirror 0", rig=rig,
        events=RecordedCamera(name="made", width=rig.events.width), frames=RecordedCamera(name="made"),
    )  # fmt: skip
    take = Take(folder, about, Limits(reserve=0))
    image = rng.integers(0, 256, (768, 1152), np.uint8)
    noises = [noise(rng, 10_000, (288, 192), 0, PACKET_US) for _ in range(PERIOD_US // PACKET_US)]
    k = bytes_written = 0
    while bytes_written < size:
        start = k * PERIOD_US
        for part in range(PERIOD_US // PACKET_US):
            begin = start + part * PACKET_US
            e = Events(noises[part].t + begin, noises[part].x, noises[part].y, noises[part].p, 288, 192)
            item = EventPacket(e, TriggerEdges.empty(), begin + PACKET_US)
            take.add(item, draft(item, take.watermark_us), 0)
        frame = Frame(
            image=np.roll(image, k, 0), layout=PixelLayout.BAYER_RGGB, sequence=k, device_start_ns=start * 1000,
            device_end_ns=(start + EXPOSURE_US) * 1000, clock=FrameClock.EVENT,
        )  # fmt: skip
        take.add(frame, draft(frame, take.watermark_us), 0)
        take.tick()
        bytes_written += image.nbytes + PERIOD_US // PACKET_US * 10_000 * 9
        k += 1
    take.finish()
    return folder


def _facts() -> object:
    from capture.simulated import presets
    from capture.simulated.rig import SimulatedRig

    return SimulatedRig(presets.configure("handheld", {})).facts()


def large_aedat4(path: Path, size: int) -> Path:
    """A DAVIS346's: frames at 25 a second, some 30 thousand events a second, not compressed."""
    subprocess.run([sys.executable, "-m", "benchmarks.large_recordings", str(path), str(size)], check=True)
    return path


def _write_aedat4(path: str, size: int) -> None:
    # In a process of its own: the library may abort.
    import os

    import dv_processing as dv

    rng = np.random.default_rng(0)
    config = dv.io.MonoCameraWriter.Config("DAVIS346_MADE", dv.CompressionType.NONE)
    config.addEventStream((346, 260))
    config.addFrameStream((346, 260))
    w = dv.io.MonoCameraWriter(path, config)
    image = rng.integers(0, 256, (260, 346), np.uint8)
    events = 1_200
    for k in range(size // (image.nbytes + events * 16)):
        start = 1_600_000_000_000_000 + k * PERIOD_US
        e = noise(rng, events, (346, 260), start, PERIOD_US)
        store = dv.EventStore()
        for row in zip(*(a.tolist() for a in (e.t, e.x, e.y, e.p)), strict=True):
            store.push_back(row)
        w.writeEvents(store)
        w.writeFrame(dv.Frame(start, EXPOSURE_US, 0, 0, np.roll(image, k, 0), dv.FrameSource.SENSOR))
    del w
    os._exit(0)


if __name__ == "__main__":
    _write_aedat4(sys.argv[1], int(sys.argv[2]))
