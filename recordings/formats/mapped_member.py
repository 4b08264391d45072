"""A stored member of a zip as it lies in the file: mapped, its checksum held, long values without a copy.

`zipfile` copies a value two or three times on its way; of events, which are most of such a file, that costs
more than everything else that is done with them. Deflated members cannot be had so.

The file must not become shorter meanwhile, which ends the process (SIGBUS): for the sandbox's child only.
"""

from __future__ import annotations

import io
import mmap
import struct
import zipfile
import zlib
from typing import BinaryIO

# Values up to this long come as bytes, longer ones as views of the file.
COPIED_BYTES = 4096
_LOCAL = struct.Struct("<4s22xHH")  # signature, …, lengths of the name and of the extra field


class MappedMember(io.RawIOBase):
    """Reads like a file; a long `read` gives a read-only `memoryview` in place of bytes.

    Args:
        file: the archive.
        info: the member in its directory, which is not encrypted and stored.

    Raises:
        zipfile.BadZipFile: its local header is damaged, or its checksum is not that of the directory.
        EOFError: the archive ends before it does.
        OSError: it cannot be read.
    """

    def __init__(self, file: BinaryIO, info: zipfile.ZipInfo) -> None:
        super().__init__()
        file.seek(info.header_offset)
        head = file.read(_LOCAL.size)
        if len(head) < _LOCAL.size or not head.startswith(b"PK\3\4"):
            raise zipfile.BadZipFile("its local header is none")
        _, name, extra = _LOCAL.unpack(head)
        begin = info.header_offset + _LOCAL.size + name + extra
        if begin + info.file_size > file.seek(0, io.SEEK_END):
            raise EOFError(f"{info.file_size} bytes are declared, the file is shorter")
        page = begin - begin % mmap.ALLOCATIONGRANULARITY
        self._at = begin - page
        self._end = self._at + info.file_size
        # Never closed by name: arrays of it may live longer than this object.
        self._map = mmap.mmap(file.fileno(), self._end, access=mmap.ACCESS_READ, offset=page)
        self._view = memoryview(self._map)
        if zlib.crc32(self._view[self._at : self._end]) != info.CRC:
            raise zipfile.BadZipFile("its checksum is wrong")

    def read(self, size: int = -1) -> bytes:
        """The next bytes; see the class for long ones."""
        at, end = self._at, self._end if size < 0 else min(self._end, self._at + size)
        self._at = end
        if end - at > COPIED_BYTES:
            return self._view[at:end]  # type: ignore[return-value]  # takes the place of bytes: no copy
        return self._map[at:end]

    def readline(self, size: int | None = -1, /) -> bytes:
        """A line, its end included; at most `size` bytes."""
        limit = self._end if size is None or size < 0 else min(self._end, self._at + size)
        found = self._map.find(b"\n", self._at, limit)
        at, self._at = self._at, limit if found < 0 else found + 1
        return self._map[at : self._at]

    def tell(self) -> int:
        """Place, counted from the beginning of a page at or before the member."""
        return int(self._at)

    def skip(self, size: int) -> None:
        """Go on behind so many bytes."""
        self._at = min(self._end, self._at + size)
