"""Files inside a Qt resource file (.rcc), the container in which GCompris ships its photos.

Format as Qt's `rcc --binary` writes it: a header ("qres", version, three offsets), a tree of nodes, names as
length, hash and UTF-16BE, data as length and bytes, zlib-compressed when flag 1 is set; all big-endian. Read
here and not through QtCore, which maps such a file into the process and trusts every offset in it.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable

from training.photos.decode import MAX_BYTES

_COMPRESSED, _FOLDER, _ZSTD = 1, 2, 4


class ResourceFileError(Exception):
    """The container is damaged or of a kind that is not read. The message is a clause."""


def files(data: bytes, wanted: Iterable[str]) -> dict[str, bytes]:
    """The wanted files by their paths in the tree ("a/b/c.webp"); those that are not there are left out.

    Raises:
        ResourceFileError: damaged, another version, compressed with zstd, a file too large.
    """
    try:
        return _Tree(data).files(set(wanted))
    except (struct.error, IndexError, UnicodeDecodeError, zlib.error) as e:
        raise ResourceFileError("is damaged") from e


class _Tree:
    def __init__(self, data: bytes) -> None:
        magic, version, self.nodes, self.payload, self.names = struct.unpack_from(">4s4I", data)
        if magic != b"qres" or not 1 <= version <= 3:
            raise ResourceFileError("is not a Qt resource file of version 1 to 3")
        self.data = data
        self.node_size = 14 if version == 1 else 22

    def files(self, wanted: set[str]) -> dict[str, bytes]:
        """Only branches on the way to a wanted file are walked, so that a loop in the tree cannot trap us."""
        found = {}
        for path in wanted:
            node: int | None = 0
            for part in path.split("/"):
                node = self._child(node, part) if node is not None else None
            if node is not None and not self._flags(node) & _FOLDER:
                found[path] = self._content(node)
        return found

    def _flags(self, node: int) -> int:
        return int(struct.unpack_from(">H", self.data, self.nodes + node * self.node_size + 4)[0])

    def _child(self, node: int, name: str) -> int | None:
        if not self._flags(node) & _FOLDER:
            return None
        count, first = struct.unpack_from(">II", self.data, self.nodes + node * self.node_size + 6)
        return next((c for c in range(first, first + count) if self._name(c) == name), None)

    def _name(self, node: int) -> str:
        at = self.names + struct.unpack_from(">I", self.data, self.nodes + node * self.node_size)[0]
        length = struct.unpack_from(">H", self.data, at)[0]
        return self.data[at + 6 : at + 6 + 2 * length].decode("utf-16-be")

    def _content(self, node: int) -> bytes:
        at = self.payload + struct.unpack_from(">I", self.data, self.nodes + node * self.node_size + 10)[0]
        length = struct.unpack_from(">I", self.data, at)[0]
        content = self.data[at + 4 : at + 4 + length]
        if len(content) < length:
            raise ResourceFileError("is truncated")
        if self._flags(node) & _ZSTD:
            raise ResourceFileError("is compressed with zstd, which is not read")
        if self._flags(node) & _COMPRESSED:  # the first four bytes are the size, which need not be true
            inflate = zlib.decompressobj()
            content = inflate.decompress(content[4:], MAX_BYTES)
            if inflate.unconsumed_tail:
                raise ResourceFileError(f"holds a file of more than {MAX_BYTES / 1e6:.0f} MB")
        return content
