"""Finding the chunks of a recording: by the index beside them, and past its end, or without it, one by one."""

from __future__ import annotations

import contextlib
import mmap
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recordings.formats.own_about import INDEX_FILE, STREAMS
from recordings.formats.own_chunks import HEADER, INDEX, MAGIC, Damaged, Head, read_head

_BLOCK = 1 << 20
BLOCK_ROWS = 1 << 16
MAP_FROM = 64 << 20
"""Bytes from which on an index is mapped, one copy for all processes that read it, given back when memory is
short. A smaller one is read: a disk that goes away then costs no more than an error at the next chunk, where
a page of a mapped file that cannot be read any more ends the process."""
Rows = NDArray[np.void]


@dataclass(frozen=True, slots=True)
class Found:
    """All whole chunks of a file.

    Attributes:
        rows: of `INDEX`, in order of the file.
        problems: one line each.
        bytes_unread: what is no whole chunk.
        torn: headers, as rows, of chunks that the end of the file cuts short.
    """

    rows: Rows
    problems: tuple[str, ...]
    bytes_unread: int
    torn: Rows


def read_index(fd: int, folder: Path, *, trust: bool = True) -> Found:
    """Find the chunks of an open file.

    With `trust` the index is taken at its word as far as it fits (a chunk is verified when it is read);
    without, or where it does not fit, every header is looked at. Bytes that are no chunk are passed over up to
    the next one, and named.

    Raises:
        OSError: the file cannot be read.
    """
    size = os.fstat(fd).st_size
    rows = _trusted(fd, folder / INDEX_FILE, size) if trust else np.empty(0, INDEX)
    end = _end(rows)
    more, torn, problems, unread = _walk(fd, end, size)
    if len(more):
        rows = np.concatenate([rows, more]) if len(rows) else more
    return Found(rows, tuple(problems), unread, torn)


def _end(rows: Rows) -> int:
    return int(rows["offset"][-1] + HEADER.size + rows["meta"][-1] + rows["body"][-1]) if len(rows) else 0


def _trusted(fd: int, path: Path, size: int) -> Rows:
    """The rows of the index that describe one chunk behind the other within the file."""
    try:
        rows = _rows_of(path)
    except OSError:
        return np.empty(0, INDEX)
    n, end = 0, np.uint64(0)
    for _, some in blocks(rows):
        ends = some["offset"] + np.uint64(HEADER.size) + some["meta"] + some["body"]
        good = (some["magic"] == MAGIC) & (ends <= size) & (ends >= some["offset"])
        good &= some["offset"] == np.concatenate([[end], ends[:-1]])
        if not bool(good.all()):
            n += int(np.argmin(good))
            break
        n, end = n + len(some), ends[-1]
    # One at the end stands for all: an index of another file would not fit there.
    while n and not _fits(fd, rows[n - 1]):
        n = 0
    return rows[:n]


def _rows_of(path: Path) -> Rows:
    """The whole rows of an index, not to be written to. Raises `OSError`."""
    with path.open("rb") as f:
        n = os.fstat(f.fileno()).st_size // INDEX.itemsize
        length = n * INDEX.itemsize
        if length >= MAP_FROM:
            # Where a disk cannot be mapped it is read.
            with contextlib.suppress(OSError, ValueError):
                return np.frombuffer(mmap.mmap(f.fileno(), length, access=mmap.ACCESS_READ), INDEX)
        data = f.read(length)
    return np.frombuffer(data, INDEX, len(data) // INDEX.itemsize) if data else np.empty(0, INDEX)


def blocks(rows: Rows) -> Iterator[tuple[int, Rows]]:
    """The rows in stretches, each with the number of its first: what is worked out of them stays small."""
    for at in range(0, len(rows), BLOCK_ROWS):
        yield at, rows[at : at + BLOCK_ROWS]


def _fits(fd: int, row: np.void) -> bool:
    try:
        head = read_head(os.pread(fd, HEADER.size, int(row["offset"])))
    except Damaged:
        return False
    return (head.number, head.body) == (int(row["number"]), int(row["body"]))


def _walk(fd: int, at: int, size: int) -> tuple[Rows, Rows, list[str], int]:
    """Look at every header from a place on."""
    found, torn = bytearray(), bytearray()
    problems: list[str] = []
    unread = 0
    while at < size:
        data = os.pread(fd, HEADER.size, at)
        try:
            head = read_head(data)
            if at + head.size > size:
                torn += at.to_bytes(8, "little") + data
                raise Damaged("cut short")
        except Damaged as e:
            to = _next(fd, at + 1, size)
            if to >= size:
                problems.append(f"{STREAMS}: its last {size - at} bytes are no whole chunk ({e})")
            else:
                problems.append(f"{STREAMS}: {to - at} bytes at {at} are damaged ({e})")
            unread += to - at
            at = to
            continue
        found += at.to_bytes(8, "little") + data
        at += head.size
    return np.frombuffer(found, INDEX), np.frombuffer(torn, INDEX), problems, unread


def _next(fd: int, at: int, size: int) -> int:
    """Where the next sound header begins; the file's size when there is none."""
    while at < size:
        data = os.pread(fd, _BLOCK + HEADER.size, at)
        i = data.find(MAGIC)
        while i >= 0:
            try:
                head = read_head(data[i : i + HEADER.size])
                if at + i + head.size <= size:
                    return at + i
            except Damaged:
                pass
            i = data.find(MAGIC, i + 1)
        at += max(1, len(data) - HEADER.size + 1)
    return size


def whole(fd: int, row: np.void) -> bool:
    """A chunk's data has the bytes that were written."""
    data = os.pread(fd, HEADER.size + int(row["meta"]) + int(row["body"]), int(row["offset"]))
    try:
        head: Head = read_head(data)
    except Damaged:
        return False
    return len(data) == head.size and zlib.crc32(memoryview(data)[HEADER.size :]) == head.check
