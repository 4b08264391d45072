"""Events as data sets keep them beside pictures: `.npz` files of columns, one an interval, or one text file.

`.npz`: x, y, time, polarity under any of their usual names, (N,) or (N, 1), never pickled. Text: a line an
event, time, column, row, polarity (the Event-Camera Dataset's order), or as a first line names them.

Neither tells the sensor's size. The unit of times is µs, or s where they have fractions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recordings.formats.aedat_header import Bytes
from recordings.formats.dataset_source import EVENTS_PER_PIECE, Found, first_at, piece, times
from recordings.formats.npy_members import Archive, column_length
from recordings.sandbox_child import Refused

_NAMES = {
    "x": ("x", "xs", "events_x"),
    "y": ("y", "ys", "events_y"),
    "t": ("t", "ts", "timestamp", "timestamps", "time", "events_t", "events_t_us"),
    "p": ("p", "ps", "polarity", "polarities", "pol", "events_p"),
}
TEXT_BLOCK = 4 << 20
MAX_FILES = 200_000


def event_columns(names: frozenset[str]) -> dict[str, str] | None:
    """Which arrays of a file are x, y, t and p; None when one of them is missing."""
    found = {k: next((n for n in known if n in names), None) for k, known in _NAMES.items()}
    return {k: n for k, n in found.items() if n is not None} if None not in found.values() else None


def unit_us(sample: NDArray[Any]) -> float:
    """µs of one unit of times whose files do not say it: fractions are of seconds, whole numbers µs."""
    fractions = sample.dtype.kind == "f" and bool((np.mod(sample[:10_000], 1) != 0).any())
    return 1e6 if fractions else 1.0


class NpzEvents:
    """Events in `.npz` files that follow one another in time.

    Args:
        paths: in order.
        exchanged: the files' x holds rows and their y columns (HighREV).

    Attributes:
        firsts: the first time of each file, µs (of an empty one: of the next).
        empty: which files hold no event.
        first_us, last_us: of all.
        reach: largest column and row of the first file and one in the middle, plus 1.
        note: how the unit of times was decided.
    """

    def __init__(self, paths: list[Path], *, exchanged: bool = False) -> None:
        if len(paths) > MAX_FILES:
            raise Refused(f"holds {len(paths)} files of events; at most {MAX_FILES} are read")
        self.paths = paths
        with Archive(paths[0], paths[0].name) as a:
            columns = event_columns(a.names)
            if columns is None:
                listed = ", ".join(sorted(a.names)[:8])
                raise Refused(
                    f"{paths[0].name} has the arrays {listed or '(none)'}; expected x, y, time, polarity"
                )
        self._columns, self.exchanged, self.divisor = columns, exchanged, 1
        filled = (t for k in range(len(paths)) if len(t := self._column(k, "t")))
        sample = next(filled, np.empty(0))
        self._scale = unit_us(sample)
        self.note = f"event files do not say their unit; it is taken as {'µs' if self._scale == 1 else 's'}"
        self.firsts = self._firsts()
        self.first_us = self.firsts[0]
        last = next((t for k in reversed(range(len(paths))) if len(t := self._column(k, "t"))), None)
        if last is None:
            raise Refused("holds no events; nothing can be read")
        self.last_us = max(self.first_us, int(times(last, self._scale).max()))
        self.reach = self._reach()

    def _column(self, k: int, name: str) -> NDArray[Any]:
        path = self.paths[k]
        with Archive(path, path.name) as a:
            return a.whole(self._columns[name]).reshape(-1)

    def _firsts(self) -> list[int]:
        found: list[int | None] = []
        for path in self.paths:
            with Archive(path, path.name) as a:
                one = next(iter(a.pieces(self._columns["t"], 1)), None)
            found.append(None if one is None else int(times(one, self._scale)[0]))
        self.empty = [v is None for v in found]
        following = 0
        for k in reversed(range(len(found))):
            if (here := found[k]) is not None:
                following = here
            found[k] = following
        return [v for v in found if v is not None]

    def _reach(self) -> tuple[int, int]:
        reach = [0, 0]
        for k in {0, len(self.paths) // 2}:
            for i, name in enumerate("yx" if self.exchanged else "xy"):
                values = self._column(k, name)
                reach[i] = max(reach[i], int(values.max()) + 1 if len(values) else 0)
        return reach[0], reach[1]

    def events(self, start_us: int | None, until: list[int] | None = None) -> Iterator[Found]:
        """Pieces in order.

        Args:
            start_us: from the file on that holds this time.
            until: for each file, the time from which on its events belong to a later one.
        """
        k0 = 0
        if start_us is not None:
            ordered = np.maximum.accumulate(np.array(self.firsts, np.int64))
            k0 = max(0, int(np.searchsorted(ordered, start_us, "right")) - 1)
        for k in range(k0, len(self.paths)):
            try:
                yield from self._file(k, None if until is None else until[k])
            except Refused as e:
                if len(self.paths) == 1:
                    raise
                yield f"{e}; its events are missing"

    def _file(self, k: int, until: int | None) -> Iterator[Found]:
        path = self.paths[k]
        with Archive(path, path.name) as a:
            lengths = {column_length(a.header(n).shape, f"{path.name}: {n}") for n in self._columns.values()}
            if len(lengths) != 1:
                raise Refused(f"{path.name}: its events are of different lengths")
            names = [self._columns[c] for c in ("tyxp" if self.exchanged else "txyp")]
            for t, x, y, p in zip(*(a.pieces(n, EVENTS_PER_PIECE) for n in names), strict=True):
                now = times(t, self._scale)
                cx, cy = (c / self.divisor if self.divisor != 1 else c for c in (x, y))
                if until is not None and len(now) and int(now.max()) >= until:
                    keep = now < until
                    yield piece(now[keep], cx[keep], cy[keep], p[keep])
                else:
                    yield piece(now, cx, cy, p)


class TextEvents:
    """Events in a text file; see the module. Attributes as of `NpzEvents`."""

    def __init__(self, path: Path) -> None:
        self.path, self._file = path, Bytes(path)
        self.divisor = 1
        self._cut = False
        head = self._file.read(0, 4096).decode("latin-1").split("\n")
        self._order = _order(head[0] if head else "")
        self._begin = 0
        while head and _row(head[0]) is None:
            self._begin += len(head.pop(0)) + 1
        row = _row(head[0]) if head else None
        if row is None or len(row) != 4:
            raise Refused(
                f"{path.name} is no list of events: expected time, column, row, polarity in each line"
            )
        block = self._block(self._begin)[0]
        fractions = bool((np.mod(block[:, self._order[0]], 1) != 0).any())
        self._scale = 1e6 if fractions else 1.0
        self.note = f"{path.name} does not say its unit; it is taken as {'s' if fractions else 'µs'}"
        self.first_us = self._time(block[0])
        tail = self._block(self._line_at(max(self._begin, self._file.size - 4096)))[0]
        self.last_us = max(self.first_us, self._time(tail[-1])) if len(tail) else self._time(block[-1])
        self.reach = tuple(int(block[:, self._order[i]].max(initial=-1)) + 1 for i in (1, 2))

    def _time(self, row: NDArray[np.float64]) -> int:
        return int(times(row[self._order[0] : self._order[0] + 1], self._scale)[0])

    def _line_at(self, at: int) -> int:
        """The first line that begins at `at` or later."""
        if at <= self._begin:
            return self._begin
        found = self._file.read(at - 1, 4096).find(b"\n")
        return self._file.size if found < 0 else at + found

    def _block(self, at: int) -> tuple[NDArray[np.float64], int]:
        """(n, 4) rows from a line on, and where the next line begins."""
        data = self._file.read(at, TEXT_BLOCK)
        end = data.rfind(b"\n") + 1
        if at + len(data) >= self._file.size:
            tail = data[end:].strip().decode("latin-1")
            self._cut = bool(tail) and len(_row(tail) or ()) != 4
            if not self._cut:
                end = len(data)
        elif data and end == 0:
            raise Refused(f"{self.path.name} has a line of more than {TEXT_BLOCK >> 20} MiB")
        text = data[:end].translate(bytes.maketrans(b",;\t\r\n", b"     "))
        try:
            values = np.array(text.split(), np.float64)
        except ValueError as e:
            raise Refused(f"{self.path.name} near byte {at}: {str(e)[:60]}") from e
        if len(values) % 4:
            raise Refused(f"{self.path.name} near byte {at}: a line has not four numbers")
        return values.reshape(-1, 4), self._file.size if self._cut else at + end

    def events(self, start_us: int | None) -> Iterator[Found]:
        """Pieces in order, from a little before `start_us` on."""
        at = self._begin
        if start_us is not None:

            def time_at(byte: int) -> int:
                line = self._file.read(self._line_at(byte), 200).split(b"\n")[0].decode("latin-1")
                row = _row(line)
                return 1 << 62 if row is None or len(row) != 4 else self._time(np.array(row))

            at = self._line_at(max(self._begin, first_at(time_at, self._file.size, start_us) - 256))
        while at < self._file.size:
            rows, at = self._block(at)
            t, x, y, p = (rows[:, k] for k in self._order)
            yield piece(times(t, self._scale), x, y, p)
        if self._cut:
            yield f"{self.path.name} ends in the middle of a line, which is left out"


def _row(line: str) -> list[float] | None:
    words = [w for w in re.split(r"[,;\s]+", line.strip()) if w]
    try:
        return [float(w) for w in words] if words else None
    except ValueError:
        return None


def _order(heading: str) -> list[int]:
    """Places of t, x, y, p in a line; as a heading names them."""
    words = [w.lower() for w in re.split(r"[,;\s#]+", heading.strip()) if w]
    found = [next((i for i, w in enumerate(words) if w in _NAMES[c]), None) for c in "txyp"]
    return [i for i in found if i is not None] if len(words) == 4 and None not in found else [0, 1, 2, 3]
