"""AEDAT4 as it travels over a socket, written without dv-processing: a head, then packets.

Head and packets are flatbuffers (FlatBuffers' own binary format: offsets and vtables, little endian), each
behind its length; a packet also behind the number of its stream. Nothing is compressed. Identifiers: `IOHE` the
head, `EVTS`, `FRME`, `TRIG`, `IMUS` the packets. What is written here reads back through dv-processing.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from capture.packets import Events, TriggerEdges

RISING, FALLING = 1, 2
TICK = 5
"""A falling edge of the camera's own signal generator."""
_EVENT = np.dtype(
    {"names": ["t", "x", "y", "p"], "formats": ["<i8", "<i2", "<i2", "u1"], "offsets": [0, 8, 10, 12],
     "itemsize": 16}
)  # fmt: skip
_NAMES = {"EVTS": "events", "FRME": "frames", "TRIG": "triggers", "IMUS": "imu"}


def head(kind: str, source: str, size: tuple[int, int] | None = None) -> bytes:
    """What a stream begins with.

    Args:
        kind: EVTS, FRME, TRIG or IMUS.
        source: the camera's name and serial, e.g. "DAVIS346_00000001".
        size: (width, height) of events and frames.
    """
    area = "" if size is None else "".join(
        f'<attr key="size{k}" type="int">{v}</attr>' for k, v in zip("XY", size, strict=True)
    )  # fmt: skip
    xml = (
        '<dv version="2.0"><node name="outInfo" path="/outInfo/"><node name="0" path="/outInfo/0/">'
        '<attr key="compression" type="string">NONE</attr>'
        '<attr key="originalModuleName" type="string">halfmirror</attr>'
        f'<attr key="originalOutputName" type="string">{_NAMES[kind]}</attr>'
        f'<attr key="typeIdentifier" type="string">{kind}</attr>'
        f'<node name="info" path="/outInfo/0/info/">{area}'
        f'<attr key="source" type="string">{source}</attr></node></node></node></dv>\n'
    ).encode()
    # Table: compression (absent: none), position of the index (-1: none), offset of the text.
    vtable = struct.pack("<5H", 10, 24, 4, 12, 8)
    table = struct.pack("<iiiq4x", 10, 0, 16, -1)
    body = struct.pack("<I4s6x", 24, b"IOHE") + vtable + table + struct.pack("<I", len(xml)) + xml + b"\0"
    return _sized(body)


def _sized(body: bytes) -> bytes:
    body += bytes(-(4 + len(body)) % 8)
    return struct.pack("<I", len(body)) + body


def _packet(kind: str, body: bytes) -> bytes:
    whole = _sized(body)
    return struct.pack("<iI", 0, len(whole)) + whole


def events(e: Events, shift_us: int = 0) -> bytes:
    """A packet of events; `shift_us` is added to their times."""
    rows = np.zeros(len(e), _EVENT)
    rows["t"], rows["x"], rows["y"], rows["p"] = e.t + shift_us, e.x, e.y, e.p
    start = struct.pack("<I4s2x3Hi2I", 16, b"EVTS", 6, 8, 4, 6, 4, len(e))
    return _packet("EVTS", start + rows.tobytes())


def triggers(edges: TriggerEdges, shift_us: int = 0, tick_us: int | None = None) -> bytes:
    """A packet of edges of the external input, and a tick of the camera's generator at the end of it.

    A tick tells the reader how far the stream of triggers has come where there is no edge.
    """
    rows = [
        struct.pack("<qb", t + shift_us, RISING if up else FALLING)
        for t, up in zip(edges.t.tolist(), edges.rising.tolist(), strict=True)
    ]
    if tick_us is not None:
        rows.append(struct.pack("<qb", tick_us + shift_us, TICK))
    return _tables("TRIG", rows, (8, 16))


def imu(samples: Sequence[tuple[int, Sequence[float]]]) -> bytes:
    """A packet of inertial samples: (t µs, ten values: temperature °C, acceleration g, turn °/s, field µT)."""
    rows = [struct.pack("<q10f", t, *values) for t, values in samples]
    return _tables("IMUS", rows, (8, *range(16, 56, 4)))


def _tables(kind: str, rows: Sequence[bytes], fields: tuple[int, ...]) -> bytes:
    """A vector of tables that share one vtable; `fields`: where each field lies in a table."""
    n, length = len(rows), -(-(8 + len(rows[0])) // 8) * 8
    vtable = struct.pack(f"<{2 + len(fields)}H", 4 + 2 * len(fields), length, *fields)
    first = struct.pack("<I4s2x3Hi2I", 16, kind.encode(), 6, 8, 4, 6, 4, n)
    at_vtable = len(first) + 4 * n
    # Tables hold int64, which lies at multiples of 8 counted from behind the length in front (4 bytes).
    at = -(-(at_vtable + len(vtable)) // 8) * 8 + 4
    offsets = [at + k * length - (len(first) + 4 * k) for k in range(n)]
    body = first + struct.pack(f"<{n}I", *offsets) + vtable
    body += bytes(at - len(body))
    for k, row in enumerate(rows):
        table = struct.pack("<i4x", at + k * length - at_vtable) + row
        body += table.ljust(length, b"\0")
    return _packet(kind, body)


def frame(image: NDArray[np.uint8], start_us: int, exposure_us: int) -> bytes:
    """A packet of one frame: (H, W) gray or (H, W, 3) RGB."""
    height, width = image.shape[:2]
    colour = image.ndim == 3
    pixels = np.ascontiguousarray(image[:, :, ::-1] if colour else image).tobytes()
    # timestamp, frame start and end (absent), exposure start and end, format, size x y, position x y, pixels,
    # exposure, source.
    fields = (20, 0, 0, 28, 36, 6, 8, 10, 12, 14, 16, 44, 7)
    vtable = struct.pack("<15H", 30, 56, *fields)
    kind = 16 if colour else 0  # OpenCV's 8UC3 and 8UC1
    table = struct.pack(
        "<i2xbb4hI4q4x", 30, kind, 1, width, height, 0, 0, 40, start_us, start_us, start_us + exposure_us,
        exposure_us,
    )  # fmt: skip
    start = struct.pack("<I4s2x", 40, b"FRME") + vtable
    return _packet("FRME", start + table + struct.pack("<I", len(pixels)) + pixels)
