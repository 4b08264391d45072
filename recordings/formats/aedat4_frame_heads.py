"""When the frames of an AEDAT4 file were exposed, from the heads of their packets: no picture is decoded.

dv-processing tells a frame's times only with its pixels, so a list of all frames costs the decoding of a whole
recording. A frame's packet is a size-prefixed FlatBuffer "FRME" whose table lies in its first bytes; of a
packet that LZ4 has packed only these are unpacked. What is not just so is left to the library: ZSTD, damage,
two streams of frames.

Fields of the table (iniVation, AEDAT 4.0), times in µs: 0 time, 3 and 4 start and end of the exposure, 11 its
length (in newer files).
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path

from recordings.formats.aedat4_container import Container

NONE, LZ4, LZ4_HIGH = 0, 1, 2
_HEAD = 256  # unpacked bytes in which the table lies
_READ = 8 + 2 * _HEAD
_TIME, _START, _END, _LENGTH = 0, 3, 4, 11


_U16, _I32, _U32, _I64 = (struct.Struct(f) for f in ("<H", "<i", "<I", "<q"))
_PACKET = struct.Struct("<ii")
_VTABLE = 4 + 2 * (_LENGTH + 1)  # bytes of it that matter
_Layouts = dict[bytes, tuple[int, ...]]


class NotSo(Exception):
    """The file is not as this reader knows it; ask the library."""


def frame_heads(path: Path, container: Container) -> Iterator[tuple[int, int] | None]:
    """(start, length of the exposure) of each frame in µs, in the file's order; a length ≤ 0 is not known.

    None now and then: only that it goes on.

    Raises:
        NotSo: before the end, or in the middle of it.
        OSError: it cannot be read.
    """
    if not container.finished or container.table is None or container.compression not in (NONE, LZ4, LZ4_HIGH):
        raise NotSo
    frames: int | None = None
    layouts: _Layouts = {}
    known: dict[int, bool] = {}  # stream → it is one of frames
    with path.open("rb") as f:
        fd, at, n = f.fileno(), container.data_start, 0
        while at < container.table:
            data = os.pread(fd, _READ, at)
            if len(data) < 8:
                raise NotSo
            stream, size = _PACKET.unpack_from(data)
            if stream < 0 or size < 0:
                raise NotSo
            if known.get(stream, True):
                head = unpacked_head(data[8 : 8 + size], container.compression)
                is_frames = known[stream] = head[8:12] == b"FRME"
                if is_frames:
                    if frames not in (None, stream):
                        raise NotSo
                    frames = stream
                    yield _times(head, layouts)
            at += 8 + size
            n += 1
            if n % 1024 == 0:
                yield None
    if at != container.table:
        raise NotSo


def _times(head: bytes, layouts: _Layouts) -> tuple[int, int]:
    try:
        (root,) = _U32.unpack_from(head, 4)
        table = 4 + root
        (back,) = _I32.unpack_from(head, table)
        vtable = table - back
        if vtable < 12:
            raise NotSo
        (vtable_size,) = _U16.unpack_from(head, vtable)
        # The vtable is the same in all frames of a writer: what its fields' places are is found out once.
        entries = head[vtable : vtable + min(vtable_size, _VTABLE)]
        places = layouts.get(entries)
        if places is None:
            if len(layouts) > 1000:  # damage
                raise NotSo
            places = layouts[entries] = tuple(_place(entries, k) for k in (_TIME, _START, _END, _LENGTH))
        time, start, end, length = (_I64.unpack_from(head, table + p)[0] if p else 0 for p in places)
    except struct.error as e:
        raise NotSo from e
    if start > 0 and end >= start:
        return start, length or end - start
    return time, length


def _place(vtable: bytes, k: int) -> int:
    """Where field `k` lies in a table of this vtable; 0: it has none."""
    at = 4 + 2 * k
    if at >= _U16.unpack_from(vtable, 0)[0]:
        return 0
    return int(_U16.unpack_from(vtable, at)[0])


def unpacked_head(data: bytes, compression: int) -> bytes:
    """The first bytes of a payload, of whose own first bytes 512 suffice.

    Raises:
        NotSo: LZ4 would not have packed it so.
    """
    return data[:_HEAD] if compression == NONE else _lz4(data)


def _lz4(data: bytes) -> bytes:
    """The first bytes of an LZ4 frame (its first block; format: LZ4 Frame 1.6, LZ4 Block)."""
    if len(data) < 11 or data[:4] != b"\x04\x22\x4d\x18":
        raise NotSo
    flags = data[4]
    at = 7 + (8 if flags & 8 else 0) + (4 if flags & 1 else 0)
    (size,) = struct.unpack_from("<I", data.ljust(at + 4, b"\0"), at)
    at += 4
    if size >> 31:
        return data[at : at + _HEAD]
    end, out = at + size, bytearray()
    try:
        while len(out) < _HEAD and at < end:
            token = data[at]
            at += 1
            literals, at = _length(data, at, token >> 4)
            out += data[at : at + literals]
            at += literals
            if len(out) >= _HEAD or at >= end:
                break
            back = data[at] | data[at + 1] << 8
            match, at = _length(data, at + 2, token & 15)
            if not 0 < back <= len(out):
                raise NotSo
            for _ in range(min(match + 4, _HEAD)):
                out.append(out[-back])
    except IndexError as e:
        raise NotSo from e
    return bytes(out[:_HEAD])


def _length(data: bytes, at: int, nibble: int) -> tuple[int, int]:
    """A length that goes on in further bytes when its nibble is full; and the place behind it."""
    if nibble == 15:
        while True:
            more = data[at]
            nibble, at = nibble + more, at + 1
            if more != 255:
                break
    return nibble, at
