"""A file of Prophesee words: read block by block, with an index of time for seeking.

Blocks are read, not mapped: a disk that goes away, or a file that is cut while it is read, is then an error and
not the end of the process.

The index holds, for places about evenly spread, the time from there on. Small files are followed word by
word, so that the index is what a decoder would find. In large ones a sample per mebibyte is looked at; where
time passes so fast that a wrap could hide between two samples, more are taken, in the end every word.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capture.evt3 import SMALL_EVT3, evt3
from capture.evt_time import (
    BASE,
    EDGES,
    HIGH,
    I64,
    LOW,
    ROW,
    doubtful,
    new_state,
    next_high,
    scan,
    scan_dat,
)
from recordings.formats import evt_decoders as d
from recordings.formats.prophesee_header import Header
from recordings.recording import RecordingError

BLOCK = 1 << 16  # words
# Words behind a block that are looked at to judge a high word, more where one is in doubt and no other follows:
# an EVT3 file need not tell its time but every 4 ms, which are a hundred thousand words from a busy sensor.
_AHEAD = (1 << 12, 1 << 15, 1 << 18, 1 << 21)
EXACT_BYTES = 64 << 20
SAMPLE_BYTES = 1 << 20
# A first look at a sample, in words; more where it finds no time.
_LOOK = 8192
# How far row and vector base are looked for before a place in the middle, in words.
_CONTEXT = (1 << 14, 1 << 18, 1 << 22)


@dataclass(frozen=True)
class Encoding:
    """One encoding.

    Attributes:
        name: as in `Header.encoding`.
        word_bytes: size of a word (DAT: of an item).
        unit_us: one step of the high part.
        bits: width of the high part in the file.
        small: steps of it that are never doubted.
        decode: see `evt_decoders`.
        scan: see `capture.evt_time`.
    """

    name: str
    word_bytes: int
    unit_us: int
    bits: int
    small: int
    decode: Callable[..., tuple[int, int, int]]
    scan: Callable[..., tuple[int, int]]


ENCODINGS = {
    e.name: e
    for e in (
        Encoding("evt3", 2, 4096, 12, SMALL_EVT3, evt3, scan),
        Encoding("evt2", 4, 64, 28, d.SMALL_EVT2, d.evt2, scan),
        Encoding("evt2.1", 8, 64, 28, d.SMALL_EVT2, d.evt2, scan),
        Encoding("dat", 8, 1, 32, d.SMALL_DAT, d.dat, scan_dat),
    )
}

Words = tuple[NDArray[Any], NDArray[Any]]


class EvtFile:
    """The words behind a header.

    Args:
        path: the file.
        header: its header.

    Raises:
        RecordingError: it cannot be opened.
    """

    def __init__(self, path: Path, header: Header) -> None:
        self._path, self._header = path, header
        self.encoding = ENCODINGS[header.encoding]
        try:
            self._fd = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
            self.bytes = os.fstat(self._fd).st_size
        except OSError as e:
            raise RecordingError(f"{path}: cannot be read ({e.strerror or e})") from e
        data = max(0, self.bytes - header.data_at)
        self.words, self.left_over = divmod(data, self.encoding.word_bytes)
        self.exact = data <= EXACT_BYTES
        self._index: tuple[I64, I64] | None = None
        self.has_edges = False

    def close(self) -> None:
        """Release the file."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def read(self, start: int, count: int) -> Words:
        """`heads` and `tails` of words from `start` on, fewer where the file ends.

        Raises:
            RecordingError: closed, or the disk does not give them.
        """
        e = self.encoding
        at = self._header.data_at + start * e.word_bytes
        if self._fd < 0:
            raise RecordingError(f"{self._path}: is closed; open it again")
        try:
            data = os.pread(self._fd, min(count, max(0, self.words - start)) * e.word_bytes, at)
        except OSError as error:
            raise RecordingError(
                f"{self._path}: cannot be read at byte {at} ({error.strerror or error})"
            ) from error
        n = len(data) // e.word_bytes
        if e.word_bytes == 2:
            return np.frombuffer(data, "<u2", n), _NO_WORDS16
        halves = np.frombuffer(data, "<u4", n * e.word_bytes // 4)
        if e.word_bytes == 4:
            return halves, _NO_WORDS32
        # DAT: time first. EVT2.1: a little-endian word has its upper half second; legacy files, first.
        first = e.name == "dat" or self._header.swapped
        heads, tails = halves[1 - first :: 2], halves[int(first) :: 2]
        return np.ascontiguousarray(heads), np.ascontiguousarray(tails)

    def read_block(self, start: int, count: int, high: int) -> tuple[NDArray[Any], NDArray[Any], int]:
        """`read`, and as many words more as it takes to judge the last high word among them.

        Args:
            start, count: of the block.
            high: the high part before it, -1 when it is not known.

        Returns:
            heads, tails, and how many of them are the block's own: `count`, or fewer where the file ends.

        Raises:
            RecordingError: as `read`.
        """
        e = self.encoding
        for ahead in _AHEAD:
            heads, tails = self.read(start, count + ahead)
            if (
                len(heads) < count + ahead  # the file ends
                or e.scan is not scan  # every word tells the time
                or not doubtful(heads, count, high, e.bits, e.small)
                or next_high(heads, count, e.bits) >= 0
            ):
                break
        return heads, tails, min(count, len(heads))

    def new_state(self) -> I64:
        """The state of a decoder at the first word."""
        return new_state(self._header.version)

    def index(self) -> tuple[I64, I64]:
        """Places of words, ascending, and the high part of time from there on. Made at the first call.

        For a file of which nothing carries a time both are empty.
        """
        if self._index is None:
            found = self._followed(0, self.words, self.new_state()) if self.exact else self._sampled()
            places, highs = zip(*found, strict=True) if found else ((), ())
            self._index = np.array(places, np.int64), np.array(highs, np.int64)
        return self._index

    def place_before(self, time_us: int) -> tuple[int, I64]:
        """Where to begin to decode everything from `time_us` on, and the state there."""
        places, highs = self.index()
        # Two steps earlier: whatever lies at `time_us` then has its low part from behind the place.
        latest = np.maximum.accumulate(highs) if len(highs) else highs
        k = (
            int(np.searchsorted(latest * self.encoding.unit_us, time_us - 2 * self.encoding.unit_us, "right"))
            - 1
        )
        state = self.new_state()
        if k <= 0:
            return 0, state
        place = int(places[k])
        state[HIGH] = highs[k]
        if self.encoding.name == "evt3":
            for reach in _CONTEXT:
                begin = max(0, place - reach)
                state[[ROW, BASE]] = -1
                if d.evt3_context(self.read(begin, place - begin)[0], place - begin, state) or begin == 0:
                    break
            state[LOW] = 0  # too early by less than a step, and all of that lies before `time_us`
        return place, state

    def _followed(self, begin: int, end: int, state: I64) -> list[tuple[int, int]]:
        """Every word looked at: one place a block."""
        e = self.encoding
        found: list[tuple[int, int]] = []
        for at in range(begin, end, BLOCK):
            stop = min(BLOCK, end - at)
            heads, _, own = self.read_block(at, stop, int(state[HIGH]))
            first, high = e.scan(heads, own, state, e.bits, e.small)
            if first >= 0:
                found.append((at + first, int(high)))
        self.has_edges |= bool(state[EDGES])
        return found

    def _sampled(self) -> list[tuple[int, int]]:
        """A sample per mebibyte, more where time passes fast."""
        step = max(1, SAMPLE_BYTES // (self.encoding.word_bytes * BLOCK)) * BLOCK
        found: list[tuple[int, int]] = []
        for at in range(0, self.words, step):
            self._extend(found, at)
        # Triggers are rare; the beginning shows best whether there are any.
        self.has_edges |= bool(self._count_edges(EXACT_BYTES // 4 // self.encoding.word_bytes))
        return found

    def _extend(self, found: list[tuple[int, int]], at: int) -> None:
        """Append the sample at `at`; before it, as many between the last and this one as it takes."""
        sample = self._sample(at)
        if sample is None:
            return
        place, value = sample
        if not found:
            found.append((place, value))
            return
        last, high = found[-1]
        if place <= last:
            return
        period = 1 << self.encoding.bits
        step = (value - high) % period
        if step > period // 4:
            middle = (last + at) // 2
            middle -= middle % BLOCK
            if middle > last:
                self._extend(found, middle)
                if found[-1][0] > last:
                    self._extend(found, at)
                    return
            state = self.new_state()
            state[HIGH] = found[-1][1]
            found += self._followed(last, place + 1, state)[1:]
            step, high = 0, int(state[HIGH])
        found.append((place, high + step))

    def _sample(self, at: int) -> tuple[int, int] | None:
        """Place and value of the first sound high word from `at` on; None when there is none nearby."""
        e = self.encoding
        for look in (_LOOK, 16 * _LOOK, 256 * _LOOK):
            heads, _ = self.read(at, look)
            first, value = e.scan(heads, max(0, len(heads) - 1), self.new_state(), e.bits, e.small)
            if first >= 0:
                return at + first, int(value)
        return None

    def _count_edges(self, words: int) -> int:
        state = self.new_state()
        for at in range(0, min(words, self.words), BLOCK):
            heads, _ = self.read(at, BLOCK)
            self.encoding.scan(heads, len(heads), state, self.encoding.bits, self.encoding.small)
        return int(state[EDGES])


_NO_WORDS16 = np.empty(0, np.uint16)
_NO_WORDS32 = np.empty(0, np.uint32)
