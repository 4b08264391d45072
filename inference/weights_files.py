"""The kinds of file that weights come in, told apart by their first bytes, and what each declares.

PyTorch's zip file (`data.pkl` and one member for each storage), its older form (pickles in a row, then the
storages), a plain pickle, safetensors. Nothing is allocated for values here; see `weights_pickle`.
"""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any

from inference.weights_limits import Limits, WeightsError, megabytes
from inference.weights_pickle import FindStorage, Structure
from inference.weights_tree import StorageRef

# The number that PyTorch puts first into its older files, so that they can be told from a plain pickle.
_MAGIC = 0x1950A86A20F9469CFC6C
_ARCHIVES = {
    b"\x1f\x8b": "a gzip archive", b"BZh": "a bzip2 archive", b"\xfd7zXZ": "an xz archive",
    b"7z\xbc\xaf": "a 7z archive", b"Rar!": "a RAR archive", b"(\xb5/\xfd": "a zstd archive",
}  # fmt: skip
_OTHERS = {
    b"\x89HDF": "an HDF5 file", b"\x93NUMPY": "a NumPy array", b"<!DO": "a web page, not the download itself",
    b"<htm": "a web page, not the download itself", b"version https://git-lfs": "a Git LFS pointer",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Scan:
    """A checkpoint's structure.

    Attributes:
        tree: containers, numbers, `TensorRef`, `ArrayRef`, `Inert`.
        inert: names of classes that were left out.
        by_torch: PyTorch knows this kind of file, so that it may read the values itself.
    """

    tree: Any
    inert: frozenset[str]
    by_torch: bool


def scan(file: IO[bytes], limits: Limits) -> Scan:
    """The structure of a pickled checkpoint, whose file is open at its beginning.

    Raises:
        WeightsError: another kind of file, damaged, hostile, or beyond the limits.
    """
    size = os.fstat(file.fileno()).st_size
    head = file.read(512)
    file.seek(0)
    if head.startswith(b"PK\x03\x04"):
        return _zip(file, size, limits)
    _refuse_others(head)
    seen: set[str] = set()
    tree, storages = _pickles(file, size, limits, seen)
    return Scan(tree, frozenset(seen), by_torch=storages)


def _refuse_others(head: bytes) -> None:
    if not head:
        raise WeightsError("the file is empty")
    for start, kind in _ARCHIVES.items():
        if head.startswith(start):
            raise WeightsError(f"this is {kind}: unpack it and give the checkpoint inside")
    for start, kind in _OTHERS.items():
        if head.startswith(start):
            raise WeightsError(f"this is {kind}, no checkpoint")
    if head[257:262] == b"ustar":
        raise WeightsError("this is a tar archive: unpack it and give the checkpoint inside")
    if head[0] != 0x80 and head[:1] not in b"(}]c":
        raise WeightsError("this is no checkpoint: neither PyTorch's formats, nor a pickle, nor safetensors")


# --- PyTorch's zip file -----------------------------------------------------------------------------------


def _zip(file: IO[bytes], size: int, limits: Limits) -> Scan:
    with _sound():
        # Left open: values are read from it later, and closing it would not close the file.
        return _read_zip(zipfile.ZipFile(file), size, limits)


@contextmanager
def _sound() -> Iterator[None]:
    """Turn what `zipfile` raises on damaged archives into one line."""
    try:
        yield
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise WeightsError(f"its archive is damaged or cut off ({error})") from error


def _read_zip(archive: zipfile.ZipFile, size: int, limits: Limits) -> Scan:
    members = {m.filename: m for m in archive.infolist()}
    if len(members) != len(archive.infolist()) or len(members) > limits.entries:
        raise WeightsError("its archive holds the same name twice, or too many")
    packed = [m for m in members.values() if m.compress_type != zipfile.ZIP_STORED or m.flag_bits & 1]
    structures = [n for n in members if n.endswith("/data.pkl") and n.count("/") == 1]
    if len(structures) != 1:
        names = ", ".join(n[:40] for n in list(members)[:3]) or "nothing"
        raise WeightsError(
            f"this is a zip archive with {names}, no checkpoint; if there is one inside, unpack it first"
        )
    root = structures[0].split("/")[0]
    if any(n.startswith(f"{root}/code/") for n in members):
        raise WeightsError("this is a TorchScript program, not a file of weights; ask for the state dict")
    if packed:
        whole = sum(m.file_size for m in members.values())
        raise WeightsError(
            f"its archive unpacks to {megabytes(whole)} from {megabytes(size)}: checkpoints are not compressed"
        )
    # With nothing compressed, members together larger than the file overlap each other (a zip bomb).
    if sum(m.file_size for m in members.values()) > size:
        raise WeightsError("its archive declares more bytes than the file has")
    order = members.get(f"{root}/byteorder")
    if order is not None and (order.file_size > 16 or archive.read(order).strip() == b"big"):
        raise WeightsError("its values are in big-endian order, which is not read")
    return _zip_structure(archive, members, structures[0], limits)


def _zip_structure(
    archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo], name: str, limits: Limits
) -> Scan:
    root = name.split("/")[0]

    def find(dtype: str, itemsize: int, key: str, numel: int) -> StorageRef:
        member = members.get(f"{root}/data/{key}")
        if member is None or member.file_size != numel * itemsize:
            there = "none" if member is None else megabytes(member.file_size)
            raise WeightsError(f"declares values of {megabytes(numel * itemsize)} and holds {there}")

        def fetch() -> bytes:
            with _sound():
                return archive.read(member)

        return StorageRef(key, dtype, itemsize, numel, fetch)

    if members[name].file_size > limits.pickle_bytes:
        raise WeightsError(f"its structure has {megabytes(members[name].file_size)}")
    seen: set[str] = set()
    machine = Structure(find, _nested(limits, seen), limits)
    raw = archive.read(members[name])
    tree = machine.read(io.BytesIO(raw), len(raw))
    return Scan(tree, frozenset(machine.inert | seen), by_torch=True)


# --- pickles in a row -------------------------------------------------------------------------------------


def _nested(limits: Limits, seen: set[str]) -> Callable[[bytes], Any]:
    """Reads a tensor's values that were pickled as a checkpoint of their own; no deeper."""

    # One run of bytes may be referred to any number of times; it is read once.
    done: dict[int, tuple[bytes, Any]] = {}

    def read(raw: bytes) -> Any:
        if raw[:4] == b"PK\x03\x04":
            raise WeightsError("holds an archive inside the checkpoint")
        if id(raw) not in done:
            found = _pickles(io.BytesIO(raw), len(raw), limits, seen, nested=False)[0]
            done[id(raw)] = (raw, found)
        return done[id(raw)][1]

    return read


def _no_nested(_: bytes) -> Any:
    raise WeightsError("holds checkpoints inside each other")


def _pickles(
    file: IO[bytes], size: int, limits: Limits, seen: set[str], nested: bool = True
) -> tuple[Any, bool]:
    """(structure, whether storages follow it): PyTorch's older form, or a plain pickle."""
    wanted: dict[str, tuple[int, int]] = {}
    places: dict[str, int] = {}

    def find(dtype: str, itemsize: int, key: str, numel: int) -> StorageRef:
        # The same storage is named once for each of its tensors, and always alike.
        if wanted.setdefault(key, (numel, itemsize)) != (numel, itemsize):
            raise WeightsError("declares the same values in two sizes")

        def fetch() -> bytes:
            file.seek(places[key])
            return file.read(numel * itemsize)

        return StorageRef(key, dtype, itemsize, numel, fetch)

    inside = _nested(limits, seen) if nested else _no_nested

    def follow(find_storage: FindStorage) -> Any:
        machine = Structure(find_storage, inside, limits)
        tree = machine.read(file, size - file.tell())
        seen.update(machine.inert)
        return tree

    first = follow(_no_storage)
    if first != _MAGIC or type(first) is not int:
        if file.tell() != size:
            raise WeightsError(f"{megabytes(size - file.tell())} follow the end of its structure")
        return first, False
    follow(_no_storage)  # the version of the form
    system = follow(_no_storage)
    if isinstance(system, dict) and system.get("little_endian") is False:
        raise WeightsError("its values are in big-endian order, which is not read")
    tree = follow(find)
    keys = follow(_no_storage)
    if not isinstance(keys, list) or not all(isinstance(k, str) and k in wanted for k in keys):
        raise WeightsError("its list of values does not fit its structure")
    _find_places(file, size, keys, wanted, places)
    return tree, True


def _find_places(
    file: IO[bytes], size: int, keys: list[str], wanted: dict[str, tuple[int, int]], places: dict[str, int]
) -> None:
    for key in keys:
        numel, itemsize = wanted[key]
        if int.from_bytes(file.read(8), "little") != numel:
            raise WeightsError("its values are damaged or cut off")
        places[key] = file.tell()
        end = places[key] + numel * itemsize
        if end > size:
            raise WeightsError(f"declares values up to byte {end} of a file of {size}: it is cut off")
        file.seek(end)
    if set(keys) != set(wanted) or file.tell() != size:
        raise WeightsError("its values are damaged or cut off")


def _no_storage(dtype: str, itemsize: int, key: str, numel: int) -> StorageRef:
    raise WeightsError("refers to values that are not in the file")
