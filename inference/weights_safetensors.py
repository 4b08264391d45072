"""The header of a safetensors file, read without PyTorch and without the values behind it.

Format: 8 bytes little-endian length n; n bytes of JSON, {name: {dtype, shape, data_offsets}} and optionally
`__metadata__` with texts; the values. https://github.com/huggingface/safetensors
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from inference.weights_limits import LIMITS, Limits, WeightsError, megabytes
from inference.weights_tree import product

_LENGTH = 8
_ITEMSIZE = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}


@dataclass(frozen=True, slots=True)
class Header:
    """What a file declares.

    Attributes:
        shapes: of each tensor, by name.
        metadata: texts that the writer added.
    """

    shapes: dict[str, tuple[int, ...]]
    metadata: dict[str, str]


def looks_like(path: Path) -> bool:
    """Whether a file is meant as safetensors, by its name or its first bytes.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(_LENGTH + 1)
    # A pickle may have the brace in the same place by chance; its first bytes are then a senseless length.
    return path.suffix == ".safetensors" or (head[_LENGTH:] == b"{" and head[4:_LENGTH] == bytes(4))


def read_header(path: Path, limits: Limits = LIMITS) -> Header:
    """The header, checked against the size of the file.

    Raises:
        WeightsError: damaged, cut off, or it declares more than the file or the limits hold.
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        return _parse(file, os.fstat(file.fileno()).st_size, limits)


def _parse(file: IO[bytes], size: int, limits: Limits) -> Header:
    length = int.from_bytes(file.read(_LENGTH), "little")
    if size < _LENGTH or length > size - _LENGTH:
        raise WeightsError(f"declares a header of {megabytes(length)} in a file of {megabytes(size)}")
    if length > limits.header_bytes:
        raise WeightsError(
            f"its header has {megabytes(length)}; at most {megabytes(limits.header_bytes)} are read"
        )
    try:
        fields = json.loads(file.read(length))
    except (ValueError, RecursionError) as error:
        raise WeightsError("its header is not JSON: the file is damaged") from error
    if not isinstance(fields, dict) or len(fields) > limits.entries:
        raise WeightsError("its header is not a table of tensors")
    metadata = fields.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise WeightsError("its header has metadata that is not text")
    room = size - _LENGTH - length
    return Header({name: _entry(name, entry, room, limits) for name, entry in fields.items()}, metadata)


def _entry(name: str, entry: Any, room: int, limits: Limits) -> tuple[int, ...]:
    """The shape of one tensor, whose declared bytes must be what it needs and lie in the file."""
    where = f"its header's entry {name[:60]!r}"
    if not isinstance(entry, dict) or entry.get("dtype") not in _ITEMSIZE:
        kind = str(entry.get("dtype"))[:20] if isinstance(entry, dict) else "nothing"
        raise WeightsError(f"{where} is of type {kind}, which no weight has")
    shape, place = entry.get("shape"), entry.get("data_offsets")
    counts = (
        [*shape, *place] if isinstance(shape, list) and isinstance(place, list) and len(place) == 2 else [-1]
    )
    if not all(type(n) is int and n >= 0 for n in counts) or len(counts) > limits.dimensions + 2:
        raise WeightsError(f"{where} has no proper shape")
    *_, begin, end = counts
    need = product(tuple(counts[:-2])) * _ITEMSIZE[entry["dtype"]]
    if begin > end or end - begin != need or end > room or need > limits.total_bytes:
        raise WeightsError(f"{where} declares {megabytes(need)}, which are not there")
    return tuple(counts[:-2])
