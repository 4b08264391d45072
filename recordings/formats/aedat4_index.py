"""The data table at the end of an AEDAT4 file: when the events of each packet lie, and how many they are.

A size-prefixed FlatBuffer "FTAB", packed as the packets are. Field 0 of its table is a vector of tables, one a
packet: 0 place of its payload in the file (int64), 1 a structure of stream and packed size (two int32), 2 its
number of elements, 3 and 4 times of the first and the last (int64 µs; iniVation, AEDAT 4.0).
"""

from __future__ import annotations

import os
import struct
from pathlib import Path

import lz4.frame
import numpy as np
from numpy.typing import NDArray

from recordings.formats.aedat4_container import Container
from recordings.formats.aedat4_frame_heads import LZ4, LZ4_HIGH, NONE, NotSo, unpacked_head

# A packet takes some fifty bytes of the table, of cameras a hundred packets a second.
TABLE_BYTES = 256 << 20
_FIELDS = 5


def event_packets_listed(path: Path, container: Container) -> NDArray[np.int64]:
    """(n, 3) rows of first time, last time and number of events of each packet of events, by the table.

    Raises:
        NotSo: there is no table, it is packed with ZSTD, damaged, or of two streams of events.
        OSError: it cannot be read.
    """
    if not container.finished or container.table is None:
        raise NotSo
    with path.open("rb") as f:
        fd = f.fileno()
        data = _unpacked(
            os.pread(fd, min(container.size - container.table, TABLE_BYTES), container.table), container
        )
        rows = _rows(data)
        events: list[NDArray[np.int64]] = []
        for stream in np.unique(rows[:, 1]):
            of_stream = rows[rows[:, 1] == stream]
            at = int(of_stream[0, 0])
            if not container.data_start < at < container.table:
                raise NotSo
            if unpacked_head(os.pread(fd, 512, at), container.compression)[8:12] == b"EVTS":
                events.append(of_stream[:, [3, 4, 2]])
    if len(events) != 1:
        raise NotSo
    first, last, count = events[0].T
    if (first > last).any() or (count < 0).any() or int(count.sum()) * 16 > container.size * 256:
        raise NotSo
    return events[0]


def _unpacked(data: bytes, container: Container) -> bytes:
    if container.compression == NONE:
        return data
    if container.compression not in (LZ4, LZ4_HIGH):
        raise NotSo
    try:
        return bytes(lz4.frame.LZ4FrameDecompressor().decompress(data, max_length=TABLE_BYTES))
    except RuntimeError as e:
        raise NotSo from e


def _rows(data: bytes) -> NDArray[np.int64]:
    """(n, 5): place, stream, number of elements, first and last time."""
    try:
        if data[8:12] != b"FTAB":
            raise NotSo
        (root,) = struct.unpack_from("<I", data, 4)
        table = 4 + root
        (back,) = struct.unpack_from("<i", data, table)
        (size, _, place) = struct.unpack_from("<3H", data, table - back)
        if size < 6 or not place:
            raise NotSo
        (to,) = struct.unpack_from("<I", data, table + place)
        (n,) = struct.unpack_from("<I", data, table + place + to)
        begin = table + place + to + 4
        tables = begin + 4 * np.arange(n) + np.frombuffer(data, "<u4", n, begin)
    except (struct.error, ValueError) as e:
        raise NotSo from e
    if not n:
        raise NotSo
    held = np.frombuffer(data, np.uint8)
    vtables = tables - _numbers(held, tables, "<i4")
    out = np.zeros((n, _FIELDS), np.int64)
    for vtable in np.unique(vtables):  # a writer makes a handful of them
        of = vtables == vtable
        entries = _vtable(data, int(vtable))
        at = tables[of]
        # A field that is not there is 0, but each packet has a place and a stream.
        if not entries[0] or not entries[1]:
            raise NotSo
        out[of, 0] = _numbers(held, at + entries[0], "<i8")
        out[of, 1] = _numbers(held, at + entries[1], "<i4")
        for k in (2, 3, 4):
            if entries[k]:
                out[of, k] = _numbers(held, at + entries[k], "<i8")
    return out


def _vtable(data: bytes, at: int) -> tuple[int, ...]:
    """Places of the fields in a table, 0 for those that it has not."""
    try:
        (size,) = struct.unpack_from("<H", data, at)
        found = struct.unpack_from(f"<{max(0, size - 4) // 2}H", data, at + 4)
    except struct.error as e:
        raise NotSo from e
    return (*found, *(0,) * _FIELDS)[:_FIELDS]


def _numbers(held: NDArray[np.uint8], at: NDArray[np.int64], dtype: str) -> NDArray[np.int64]:
    """Numbers at any places of the bytes."""
    width = np.dtype(dtype).itemsize
    if int(at.min()) < 0 or int(at.max()) + width > len(held):
        raise NotSo
    return np.asarray(held[at[:, None] + np.arange(width)].view(dtype)[:, 0], np.int64)
