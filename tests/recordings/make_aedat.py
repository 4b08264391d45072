"""Small AEDAT 2.0 and 3.1 files, written word by word."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from capture.packets import Events, TriggerEdges
from tests.recordings.make_datasets import exposure, made_image

PACKET = struct.Struct("<hhiiiiii")
IMU_WORD = 0x80000C00


def write_aedat2(
    path: Path, e: Events, *, chip: str = "DAVIS346", imu: int = 0, size: tuple[int, int] = (346, 260)
) -> Path:
    """Events in jAER's addresses; `imu` words of the inertial sensor among them."""
    w, h = size
    a = ((h - 1 - e.y.astype(np.uint32)) << 22) | ((w - 1 - e.x.astype(np.uint32)) << 12)
    a |= e.p.astype(np.uint32) << 11
    rows = np.stack([a, (e.t & 0xFFFFFFFF).astype(np.uint32)], 1)
    if imu:
        at = np.linspace(1, len(rows) - 1, imu).astype(int)
        words = np.stack([np.full(imu, IMU_WORD, np.uint32), rows[at - 1, 1]], 1)
        rows = np.insert(rows, at, words, 0)
    lines = ["#!AER-DAT2.0", "# This is a raw AE data file - do not edit"]
    lines += [f"# AEChip: eu.seebetter.ini.chips.davis.{chip}"] if chip else []
    path.write_bytes("".join(f"{line}\r\n" for line in lines).encode() + rows.astype(">u4").tobytes())
    return path


def packet(kind: int, items: bytes, number: int, *, source: int = 1, overflow: int = 0) -> bytes:
    """A packet of `number` items."""
    size = len(items) // max(1, number)
    return PACKET.pack(kind, source, size, 4, overflow, number, number, number) + items


def polarity(e: Events) -> bytes:
    """Items of polarity events."""
    a = 1 | (e.p.astype(np.uint32) << 1) | (e.y.astype(np.uint32) << 2) | (e.x.astype(np.uint32) << 17)
    return np.stack([a, (e.t & 0x7FFFFFFF).astype(np.uint32)], 1).astype("<u4").tobytes()


def special(edges: TriggerEdges) -> bytes:
    """Items of edges of the external input."""
    a = 1 | (np.where(edges.rising, 2, 3).astype(np.uint32) << 1)
    return np.stack([a, (edges.t & 0x7FFFFFFF).astype(np.uint32)], 1).astype("<u4").tobytes()


def frame(k: int, size: tuple[int, int], *, start: int | None = None, end: int | None = None) -> bytes:
    """One gray frame, 16 bits a pixel, exposed as `exposure(k)`."""
    a, b = exposure(k)
    a, b = a if start is None else start, b if end is None else end
    head = struct.pack("<Iiiiiiiii", 1 | (1 << 1), a, b, a, b, *size, 0, 0)
    return head + (gray(k, size).astype("<u2") << 8).tobytes()


def gray(k: int, size: tuple[int, int]) -> np.ndarray:
    """The picture of frame k."""
    return made_image(k, size)[:, :, 0]


def write_aedat3(
    path: Path,
    e: Events,
    *,
    edges: TriggerEdges | None = None,
    frames: int = 0,
    name: str = "DAVIS346",
    size: tuple[int, int] = (346, 260),
    more: bytes = b"",
    form: str = "RAW",
) -> Path:
    """Packets of 1000 events, then edges, frames and `more`."""
    out = f"#!AER-DAT3.1\r\n#Format: {form}\r\n#Source 1: {name}\r\n#!END-HEADER\r\n".encode()
    for k in range(0, len(e), 1000):
        part = e[k : k + 1000]
        # A packet has one overflow: cut where it changes.
        high = part.t >> 31
        for o in np.unique(high).tolist():
            now = Events(
                part.t[high == o], part.x[high == o], part.y[high == o], part.p[high == o], e.width, e.height
            )
            out += packet(1, polarity(now), len(now), overflow=o)
    if edges is not None:
        out += packet(0, special(edges), len(edges.t))
    for k in range(frames):
        out += packet(2, frame(k, size), 1)
    path.write_bytes(out + more)
    return path
