"""Arrays of an `.npz` file: headers, members within a limit, long ones in pieces. Nothing is unpickled.

An `.npz` is a zip of `.npy` members (NumPy's format versions 1 to 3). What a header declares is checked against
the member's own size before anything is allocated. Members may be stored or deflated.
"""

from __future__ import annotations

import lzma
import math
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from numpy.typing import NDArray

from recordings.formats.mapped_member import MappedMember
from recordings.pickle_steps import megabytes
from recordings.sandbox_child import Refused

# A member that is read at once: a picture, a table, the pickled events of two exposures.
WHOLE_BYTES = 1 << 30
MAX_MEMBERS = 100_000
_ZIP_FAULTS = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, NotImplementedError, RuntimeError, EOFError, ValueError,
    KeyError, OSError, SyntaxError, TypeError, OverflowError,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Header:
    """What a `.npy` member says of itself: dtype, shape, column-major order; `objects`: it holds a pickle."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    fortran: bool

    @property
    def objects(self) -> bool:
        """Its values are Python objects, pickled."""
        return self.dtype.hasobject

    @property
    def count(self) -> int:
        """Number of values."""
        return math.prod(self.shape)


class Archive:
    """One `.npz`. Errors (`Refused`) say which member and why, in one line.

    Args:
        path: the file.
        name: how messages call it; "" for the recording itself.
    """

    def __init__(self, path: Path, name: str = "") -> None:
        self.path = path
        self._name = f"{name}: " if name else ""
        with self._faults("its directory"):
            self._zip = zipfile.ZipFile(path)
        infos = self._zip.infolist()
        if len(infos) > MAX_MEMBERS:
            self._zip.close()
            raise Refused(f"{self._name}holds {len(infos)} members; at most {MAX_MEMBERS} are read")
        self._infos = {i.filename.removesuffix(".npy"): i for i in infos}

    @property
    def names(self) -> frozenset[str]:
        """Names of the arrays."""
        return frozenset(self._infos)

    def close(self) -> None:
        """Release the file."""
        self._zip.close()

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @contextmanager
    def _faults(self, what: str) -> Iterator[None]:
        try:
            yield
        except Refused:
            raise
        except MemoryError:
            raise Refused(f"{self._name}{what} asks for more memory than is allowed") from None
        except _ZIP_FAULTS as e:
            why = " ".join(str(e).split())[:100] or type(e).__name__
            raise Refused(f"{self._name}{what} is damaged or cut off ({why})") from e

    @contextmanager
    def member(self, name: str) -> Iterator[tuple[IO[bytes], Header, int]]:
        """The member behind its header, the header, and the bytes that follow."""
        info = self._infos.get(name)
        if info is None:
            raise Refused(f"{self._name}has no array {name!r}")
        if info.flag_bits & 1 or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise Refused(f"{self._name}array {name!r} is encrypted or packed in a way that NumPy does not use")
        with self._faults(f"array {name!r}"), self._zip.open(info) as f:
            header = _header(f)
            yield f, header, info.file_size - f.tell()

    @contextmanager
    def mapped(self, name: str) -> Iterator[tuple[IO[bytes], Header, int]]:
        """As `member`, a stored one without copies; see `MappedMember`. For the sandbox's child only."""
        with self.member(name) as (f, header, rest):
            info = self._infos[name]
            if info.compress_type != zipfile.ZIP_STORED or rest > WHOLE_BYTES:
                yield f, header, rest
                return
            with self._faults(f"array {name!r}"), self.path.open("rb") as file:
                whole = MappedMember(file, info)
                whole.skip(info.file_size - rest)
                yield cast(IO[bytes], whole), header, rest

    def header(self, name: str) -> Header:
        """The header of a member alone."""
        with self.member(name) as (_, header, _rest):
            return header

    def whole(self, name: str, limit: int = WHOLE_BYTES, *, mapped: bool = False) -> NDArray[Any]:
        """A numeric array, all of it; `mapped`: as the file has it where it can be, see `mapped`.

        Raises:
            Refused: objects or text in it, larger than `limit`, or its header lies.
        """
        with (self.mapped if mapped else self.member)(name) as (f, header, rest):
            size = self._checked(name, header, rest)
            if size > limit:
                raise Refused(
                    f"{self._name}array {name!r} takes {megabytes(size)} of memory; "
                    f"at most {megabytes(limit)} are read at once"
                )
            values = np.frombuffer(_exactly(f, size), header.dtype)
            return values.reshape(header.shape, order="F" if header.fortran else "C")

    def scalar(self, name: str) -> float | int:
        """A single number (0-d, or one value in any shape)."""
        values = self.whole(name, 1 << 16)
        if values.size != 1:
            raise Refused(f"{self._name}array {name!r} holds {values.size} values where one is expected")
        value = values.reshape(())[()]
        if values.dtype.kind == "f" and not math.isfinite(value):
            raise Refused(f"{self._name}array {name!r} is {value}, which is no number")
        return float(value) if values.dtype.kind == "f" else int(value)

    def pieces(self, name: str, length: int) -> Iterator[NDArray[Any]]:
        """A one-dimensional array (or (N, 1)) in pieces of `length` values, in constant memory."""
        with self.member(name) as (f, header, rest):
            self._checked(name, header, rest)
            left = column_length(header.shape, f"{self._name}array {name!r}")
            while left:
                n = min(left, length)
                yield np.frombuffer(_exactly(f, n * header.dtype.itemsize), header.dtype)
                left -= n

    def layers(self, name: str, count: int) -> Iterator[NDArray[Any]]:
        """An array of three dimensions, `count` of the first at a time, in constant memory.

        Raises:
            Refused: of another shape, or stored column by column.
        """
        with self.member(name) as (f, header, rest):
            self._checked(name, header, rest)
            if len(header.shape) != 3 or header.fortran:
                raise Refused(
                    f"{self._name}array {name!r} has the shape {str(header.shape)[:60]}, not (T, h, w)"
                )
            one = header.dtype.itemsize * header.shape[1] * header.shape[2]
            if one * count > WHOLE_BYTES:
                raise Refused(
                    f"{self._name}array {name!r} takes {megabytes(one * count)} for {count} layers; "
                    f"at most {megabytes(WHOLE_BYTES)} are read at once"
                )
            for first in range(0, header.shape[0], count):
                n = min(count, header.shape[0] - first)
                values = np.frombuffer(_exactly(f, n * one), header.dtype)
                yield values.reshape(n, *header.shape[1:])

    def _checked(self, name: str, header: Header, rest: int) -> int:
        """Bytes of a numeric member, when its header and its size agree."""
        if header.dtype.kind not in "biuf":
            kind = "Python objects" if header.objects else f"values of type {header.dtype}"
            raise Refused(f"{self._name}array {name!r} holds {kind[:60]}, which are not read")
        if len(header.shape) > 8 or any(n < 0 for n in header.shape):
            raise Refused(f"{self._name}array {name!r} has the shape {str(header.shape)[:60]}, which is none")
        size = header.count * header.dtype.itemsize
        if size > rest:
            raise Refused(
                f"{self._name}array {name!r} declares {megabytes(size)} and {megabytes(max(0, rest))} are there"
            )
        return size


def column_length(shape: tuple[int, ...], what: str) -> int:
    """Values of an array of shape (N,) or (N, 1).

    Raises:
        Refused: another shape.
    """
    if len(shape) == 1 or (len(shape) == 2 and shape[1] == 1):
        return shape[0]
    raise Refused(f"{what} has the shape {str(shape)[:60]} where a list of values is expected")


def _header(f: IO[bytes]) -> Header:
    version = np.lib.format.read_magic(f)
    read: Any = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
        (3, 0): np.lib.format.read_array_header_2_0,
    }.get(version)
    if read is None:
        raise ValueError(f"format version {version} is not known")
    shape, fortran, dtype = read(f)
    return Header(dtype, shape, fortran)


def _exactly(f: IO[bytes], size: int) -> bytes:
    data = f.read(size)
    if len(data) != size:
        raise EOFError(f"{len(data)} of {size} bytes are there")
    return data
