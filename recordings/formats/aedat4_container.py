"""The outside of an AEDAT4 file: header and packet frames, read in plain Python without native code.

Layout (iniVation, AEDAT 4.0): 14 bytes ``#!AER-DAT4.0\\r\\n``; a size-prefixed FlatBuffer "IOHE" whose
fields are compression, position of the data table (int64, -1 while the file is being written) and an XML
description; then packets of [int32 stream, int32 size, payload]; then the data table (the index). All little
endian. Payloads are compressed and left alone here.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

MAGIC = b"#!AER-DAT4.0\r\n"
_HEADER_LIMIT = 64 << 20
_FICLONE = 0x40049409


class Malformed(Exception):
    """The header does not follow the format; the text says where."""


@dataclass(frozen=True)
class Container:
    """What the header says.

    Attributes:
        data_start: offset of the first packet.
        table: offset of the data table, None when the file was never finished.
        table_field: where in the file the 64-bit position of the table is stored, None when it is not.
        size: bytes of the file.
        compression: of the payloads: 0 none, 1 and 2 LZ4, 3 and 4 ZSTD.
    """

    data_start: int
    table: int | None
    table_field: int | None
    size: int
    compression: int = 0

    @property
    def cut(self) -> bool:
        """The file was finished once and has lost its end since (a partial copy)."""
        return self.table is not None and self.table >= self.size

    @property
    def finished(self) -> bool:
        """The index is there."""
        return self.table is not None and not self.cut


def read_container(path: Path) -> Container:
    """Parse the header.

    Raises:
        Malformed: it is none, or it is cut.
        OSError: the file cannot be read.
    """
    with path.open("rb") as f:
        size = os.fstat(f.fileno()).st_size
        start = f.read(len(MAGIC) + 4)
        if not start.startswith(MAGIC):
            raise Malformed("does not begin with the AEDAT 4.0 signature")
        if len(start) < len(MAGIC) + 4:
            raise Malformed("ends inside its header")
        (n,) = struct.unpack_from("<I", start, len(MAGIC))
        data_start = len(start) + n
        if n > _HEADER_LIMIT or data_start > size:
            raise Malformed(f"ends inside its header (which should be {n} bytes long)")
        header = f.read(n)
    try:
        (root,) = struct.unpack_from("<I", header, 0)
        (back,) = struct.unpack_from("<i", header, root)
        vtable = root - back
        if vtable < 0:
            raise Malformed("has a damaged header")
        (vtable_size,) = struct.unpack_from("<H", header, vtable)
        packed = struct.unpack_from("<H", header, vtable + 4)[0] if vtable_size >= 6 else 0
        compression = struct.unpack_from("<i", header, root + packed)[0] if packed else 0
        field = struct.unpack_from("<H", header, vtable + 6)[0] if vtable_size >= 8 else 0
        if not field:
            return Container(data_start, None, None, size, compression)
        (table,) = struct.unpack_from("<q", header, root + field)
    except struct.error as e:
        raise Malformed("has a damaged header") from e
    place = len(start) + root + field
    return Container(data_start, table if table >= data_start else None, place, size, compression)


def complete_packets_end(path: Path, container: Container) -> Iterator[int]:
    """Walk the packets of an unfinished or cut file.

    Yields the offset behind the last complete packet so far, now and then; the last value is the end of what
    can be read. Reads eight bytes a packet.
    """
    with path.open("rb") as f:
        at, n = container.data_start, 0
        yield at
        while at + 8 <= container.size:
            f.seek(at)
            stream, size = struct.unpack("<ii", f.read(8))
            # A disk that lost power leaves zeros behind; a packet of nothing is none.
            if stream < 0 or size <= 0 or at + 8 + size > container.size:
                break
            at += 8 + size
            n += 1
            if n % 4096 == 0:
                yield at
    yield at


def without_index(path: Path, container: Container, end: int, folder: Path) -> Iterator[int]:
    """Make `folder/without-index.aedat4`: the file up to `end`, its header saying that it has no index.

    The reader then scans the packets instead of refusing the file. The original is not touched. The copy
    shares the original's blocks where the file system can (FICLONE: Btrfs, XFS) and has no name of its own:
    what stands in `folder` is a link to this process's open file, so nothing remains when the process ends.

    Yields bytes copied so far, for progress.
    """
    out = _nameless(path.parent, folder)
    with path.open("rb") as src:
        try:
            fcntl.ioctl(out, _FICLONE, src.fileno())
            os.ftruncate(out, end)
        except OSError:
            yield from _copy(src, out, end)
    if container.table_field is not None:
        os.pwrite(out, struct.pack("<q", -1), container.table_field)
    # The descriptor stays open for the life of this (child) process: the link leads to it.
    (folder / "without-index.aedat4").symlink_to(f"/proc/{os.getpid()}/fd/{out}")


def _nameless(beside: Path, fallback: Path) -> int:
    """A writable file without a name, on the same file system as the recording if that can be written."""
    for where in (beside, fallback):
        with contextlib.suppress(OSError, AttributeError):
            return os.open(where, os.O_TMPFILE | os.O_RDWR, 0o600)
    name = fallback / "copy.aedat4"
    fd = os.open(name, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
    name.unlink()
    return fd


def _copy(src: BinaryIO, out: int, end: int) -> Iterator[int]:
    src.seek(0)
    done = 0
    while done < end:
        chunk = src.read(min(8 << 20, end - done))
        if not chunk:
            break
        view = memoryview(chunk)
        while view:
            view = view[os.write(out, view) :]
        done += len(chunk)
        yield done
