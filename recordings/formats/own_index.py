"""Finding the chunks of a recording: by the index beside them, and past its end, or without it, one by one."""

from __future__ import annotations

import os
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recordings.formats.own_about import INDEX_FILE, STREAMS
from recordings.formats.own_chunks import HEADER, INDEX, MAGIC, Damaged, Head, read_head

_BLOCK = 1 << 20
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
        rows = np.concatenate([rows, more])
    return Found(rows, tuple(problems), unread, torn)


def _end(rows: Rows) -> int:
    return int(rows["offset"][-1] + HEADER.size + rows["meta"][-1] + rows["body"][-1]) if len(rows) else 0


def _trusted(fd: int, path: Path, size: int) -> Rows:
    """The rows of the index that describe one chunk behind the other within the file."""
    try:
        with path.open("rb") as f:
            data = f.read()
    except OSError:
        return np.empty(0, INDEX)
    rows = np.frombuffer(data[: len(data) // INDEX.itemsize * INDEX.itemsize], INDEX)
    if not len(rows):
        return rows
    ends = rows["offset"] + np.uint64(HEADER.size) + rows["meta"] + rows["body"]
    good = (rows["magic"] == MAGIC) & (ends <= size) & (ends >= rows["offset"])
    good[0] &= rows["offset"][0] == 0
    good[1:] &= rows["offset"][1:] == ends[:-1]
    n = len(rows) if bool(good.all()) else int(np.argmin(good))
    # One at the end stands for all: an index of another file would not fit there.
    while n and not _fits(fd, rows[n - 1]):
        n = 0
    return rows[:n]


def _fits(fd: int, row: np.void) -> bool:
    try:
        head = read_head(os.pread(fd, HEADER.size, int(row["offset"])))
    except Damaged:
        return False
    return (head.number, head.body) == (int(row["number"]), int(row["body"]))


def _walk(fd: int, at: int, size: int) -> tuple[Rows, Rows, list[str], int]:
    """Look at every header from a place on."""
    found: list[bytes] = []
    torn: list[bytes] = []
    problems: list[str] = []
    unread = 0
    while at < size:
        data = os.pread(fd, HEADER.size, at)
        try:
            head = read_head(data)
            if at + head.size > size:
                torn.append(at.to_bytes(8, "little") + data)
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
        found.append(at.to_bytes(8, "little") + data)
        at += head.size
    return (
        np.frombuffer(b"".join(found), INDEX), np.frombuffer(b"".join(torn), INDEX), problems, unread,
    )  # fmt: skip


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
