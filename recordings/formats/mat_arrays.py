"""Arrays of a MATLAB `.mat` file: numeric ones of format 5 (version 6 and 7 files) and of 7.3 (HDF5).

Format 5, as its publisher's "MAT-File Format" describes it: a header of 128 bytes, then elements, each a tag
(type, bytes) and data; a variable is a matrix element of flags, dimensions, name and values, plain or as one
zlib stream. Structures, cells, text and sparse matrices are named and not read. What a file declares is held
against what is there, and a stream is never unpacked beyond a limit.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from recordings.pickle_steps import megabytes
from recordings.sandbox_child import Refused

SUFFIX = ".mat"
FILE_BYTES, WHOLE_BYTES = 1 << 30, 1 << 30
MAX_VARIABLES = 10_000
_HEADER = 128
_HEAD_BYTES = 4096  # of a variable: flags, dimensions, name
_MATRIX, _COMPRESSED = 14, 15
# Types of stored values, and classes of arrays that hold real numbers.
_TYPES = {
    1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8",
}  # fmt: skip
_CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
_COMPLEX = 0x08


@dataclass(frozen=True, slots=True)
class _Variable:
    """One variable: where its element lies, and what its head says."""

    start: int
    end: int
    packed: bool
    kind: int
    complex: bool
    shape: tuple[int, ...]
    name: str
    values_at: int


class MatFile:
    """One file. Errors (`Refused`) say which variable and why, in one line.

    Args:
        path: the file.
        name: how messages call it; "" for the recording itself.
    """

    def __init__(self, path: Path, name: str = "") -> None:
        self._name = f"{name}: " if name else ""
        try:
            size = path.stat().st_size
            with path.open("rb") as file:
                head = file.read(_HEADER)
                if size > FILE_BYTES:
                    raise Refused(
                        f"{self._name}takes {megabytes(size)}; at most {megabytes(FILE_BYTES)} are read"
                    )
                if not head.startswith(b"MATLAB 7.3"):
                    self._data = head + file.read()
        except OSError as e:
            raise Refused(f"{self._name}cannot be read ({e.strerror or e})") from e
        self._hdf5: Any = None
        self._variables: dict[str, _Variable] = {}
        if head.startswith(b"MATLAB 7.3"):
            self._hdf5 = self._opened(path)
            return
        if len(head) < _HEADER or head[126:128] not in (b"IM", b"MI"):
            raise Refused(f"{self._name}is no MATLAB file of version 5, 6, 7 or 7.3, or it is damaged")
        self._order: Literal["<", ">"] = "<" if head[126:128] == b"IM" else ">"
        for k, variable in enumerate(self._scan()):
            if k >= MAX_VARIABLES:
                raise Refused(f"{self._name}holds more than {MAX_VARIABLES} variables")
            self._variables[variable.name] = variable

    @property
    def names(self) -> frozenset[str]:
        """Names of the variables."""
        return frozenset(self._variables if self._hdf5 is None else (str(n) for n in self._hdf5))

    def vector(self, name: str) -> NDArray[Any]:
        """The values of a row, a column or a single number, (n,).

        Raises:
            Refused: not there, of another shape, not numbers, or damaged.
        """
        values = self._values(name)
        if values.size and values.size != max(values.shape, default=1):
            raise Refused(
                f"{self._name}{name} has the shape {str(values.shape)[:60]} where a list of values is expected"
            )
        return values.reshape(-1)

    def scalar(self, name: str) -> float:
        """A single number.

        Raises:
            Refused: as `vector`; more than one value, or not finite.
        """
        values = self._values(name)
        if values.size != 1 or not np.isfinite(values).all():
            raise Refused(f"{self._name}{name} is no single number")
        return float(values.reshape(()))

    # -- 7.3

    def _opened(self, path: Path) -> Any:
        from recordings.formats.hdf5_arrays import opened

        try:
            return opened(str(path))
        except (OSError, RuntimeError) as e:
            raise Refused(f"{self._name}is damaged ({' '.join(str(e).split())[:80]})") from e

    def _values(self, name: str) -> NDArray[Any]:
        if self._hdf5 is not None:
            from recordings.formats.dataset_source import FrameRefused
            from recordings.formats.hdf5_arrays import array, attribute, whole

            try:
                found = array(self._hdf5, name)
                if attribute(found.attrs, "MATLAB_empty", name):  # its values are its dimensions
                    return np.empty(0, found.dtype)
                return whole(found, WHOLE_BYTES)
            except (Refused, FrameRefused) as e:
                raise Refused(f"{self._name}{e}") from e
        return self._of_format_5(name)

    # -- format 5

    def _tag(self, data: bytes, at: int) -> tuple[int, int, int, int]:
        """Type, bytes, where the data begin, where the next element begins."""
        if at + 8 > len(data):
            raise Refused(f"{self._name}is cut off or damaged near byte {at}")
        kind, count = struct.unpack_from(f"{self._order}II", data, at)
        if kind >> 16:  # a small one: its data stand in the tag
            small = kind >> 16
            if small > 4:
                raise Refused(f"{self._name}is damaged near byte {at}")
            return kind & 0xFFFF, small, at + 4, at + 8
        return kind, count, at + 8, at + 8 + count + (-count % 8 if kind != _COMPRESSED else 0)

    def _scan(self) -> Iterator[_Variable]:
        at = _HEADER
        while at < len(self._data):
            kind, count, begin, following = self._tag(self._data, at)
            if begin + count > len(self._data):
                raise Refused(
                    f"{self._name}is cut off: an element of {megabytes(count)} reaches beyond its end"
                )
            if kind == _COMPRESSED:
                head = self._unpacked(begin, begin + count, _HEAD_BYTES)
                _, _, inner, _ = self._tag(head, 0)
                yield self._head(head, inner, begin, begin + count, packed=True)
            elif kind == _MATRIX:
                yield self._head(self._data, begin, begin, begin + count, packed=False)
            at = max(following, at + 8)

    def _head(self, data: bytes, at: int, start: int, end: int, *, packed: bool) -> _Variable:
        _, count, begin, at = self._tag(data, at)
        if count != 8 or begin + 8 > len(data):
            raise Refused(f"{self._name}holds a variable without flags; it is damaged")
        (flags,) = struct.unpack_from(f"{self._order}I", data, begin)
        _, count, begin, at = self._tag(data, at)
        if count % 4 or count > 32 or begin + count > len(data):
            raise Refused(f"{self._name}holds a variable of {count // 4} dimensions, or it is damaged")
        shape = struct.unpack_from(f"{self._order}{count // 4}i", data, begin)
        _, count, begin, at = self._tag(data, at)
        if count > 512 or begin + count > len(data):
            raise Refused(f"{self._name}holds a variable with a name of {count} bytes; it is damaged")
        name = data[begin : begin + count].decode("latin-1")
        return _Variable(start, end, packed, flags & 0xFF, bool(flags >> 8 & _COMPLEX), shape, name, at)

    def _of_format_5(self, name: str) -> NDArray[Any]:
        v = self._variables.get(name)
        if v is None:
            raise Refused(f"{self._name}has no {name}")
        if v.kind not in _CLASSES or v.complex:
            raise Refused(
                f"{self._name}{name} holds no real numbers (a structure, text, cells …), which is not read"
            )
        wanted = np.dtype(_CLASSES[v.kind])
        if any(n < 0 for n in v.shape) or math.prod(v.shape) * wanted.itemsize > WHOLE_BYTES:
            raise Refused(f"{self._name}{name} has the shape {str(v.shape)[:60]}, which is not read")
        most = v.values_at + 8 + math.prod(v.shape) * 8 + 8
        data = self._unpacked(v.start, v.end, most) if v.packed else self._data[: v.end]
        stored, count, begin, _ = self._tag(data, v.values_at)
        if stored not in _TYPES:
            raise Refused(f"{self._name}{name} holds values of the type {stored}, which is none of numbers")
        kind = np.dtype(_TYPES[stored]).newbyteorder(self._order)
        if count != math.prod(v.shape) * kind.itemsize or begin + count > len(data):
            raise Refused(f"{self._name}{name} declares {str(v.shape)[:60]} values, others are there")
        values = np.frombuffer(data, kind, math.prod(v.shape), begin)
        return values.astype(kind.newbyteorder("=")).reshape(v.shape, order="F")

    def _unpacked(self, start: int, end: int, most: int) -> bytes:
        try:
            return zlib.decompressobj().decompress(self._data[start:end], most)
        except zlib.error as e:
            raise Refused(f"{self._name}a packed variable is damaged ({str(e)[:60]})") from e
