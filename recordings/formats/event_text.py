"""Events in one text file: a line an event, time, column, row, polarity (the Event-Camera Dataset's order).

A heading may name another order, and the unit of times; without it that is µs, or s where they have fractions.
What a heading says and is not understood is refused, and so are numbers that are not in this order. The
sensor's size is not told.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recordings.formats.aedat_header import Bytes
from recordings.formats.dataset_source import Found, first_at, piece, times
from recordings.formats.units import UNITS, is_unit, unit_told, words_in
from recordings.sandbox_child import Refused

TEXT_BLOCK = 4 << 20
_HEAD_BYTES = 4096
_WORDS = {
    "t": {"t", "ts", "time", "times", "timestamp", "timestamps", "stamp"},
    "x": {"x", "xs", "col", "column"},
    "y": {"y", "ys", "row"},
    "p": {"p", "ps", "pol", "polarity", "polarities"},
}
# Beside a column's name they say nothing: event_x, x_pos, x coordinate.
_BESIDE = {"event", "events", "ev", "pos", "position", "coord", "coordinate"}
# A line of four words with one of these is a title, not a heading.
_PROSE = {"an", "and", "at", "by", "for", "from", "is", "my", "of", "our", "the", "was", "with"}
# Times of which more than this part lie before the one in front of them are another column.
RUNS_BACK = 0.02
_SAY = "write a first line that names them, such as: x y p t"


class TextEvents:
    """Events in a text file; see the module. Attributes as of `event_files.NpzEvents`."""

    def __init__(self, path: Path) -> None:
        self.path, self._file = path, Bytes(path)
        self.divisor = 1
        self._cut = False
        start = self._file.read(0, _HEAD_BYTES)
        self._begin = len(codecs.BOM_UTF8) if start.startswith(codecs.BOM_UTF8) else 0
        head, above = start[self._begin :].decode("latin-1").split("\n"), list[str]()
        while head and _row(head[0]) is None:
            self._begin += len(head[0]) + 1
            above.append(head.pop(0))
        self._order, unit = heading_of([_utf8(line) for line in above], path.name)
        row = _row(head[0]) if head else None
        if row is None or len(row) != 4:
            raise Refused(
                f"{path.name} is no list of events: expected time, column, row, polarity in each line"
            )
        block = self._block(self._begin)[0]
        check_rows(block, self._order, path.name)
        fractions = bool((np.mod(block[:, self._order[0]], 1) != 0).any())
        taken = unit or ("s" if fractions else "µs")
        self._scale = UNITS[taken]
        self.note = "" if unit else f"{path.name} does not say its unit; it is taken as {taken}"
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


def _utf8(line: str) -> str:
    return line.encode("latin-1").decode("utf-8", errors="replace")


def heading_of(lines: list[str], name: str) -> tuple[list[int], str]:
    """Places of t, x, y, p in a row, and the unit of t ("" where none is told), by the lines above the rows.

    Lines that name none of the columns are comments.

    Raises:
        Refused: a heading that is not understood.
    """
    order, unit, sure = [0, 1, 2, 3], "", ""
    for line in lines:
        bare = line.strip().lstrip("#").strip()
        words = [w.strip('"') for w in re.split(r"[,;\s]+", re.sub(r"[\[(].*?[\])]", " ", bare)) if w]
        named = [
            w for w in words if not is_unit(w) and w.lower() != "in" and not _BESIDE.issuperset(words_in(w))
        ]
        columns = [_column(w) for w in named]
        known = {c for c in columns if c}
        runs = [columns[k : k + 4] for k in range(len(columns) - 3) if set(columns[k : k + 4]) == set(_WORDS)]
        if runs:
            order = [runs[0].index(c) for c in "txyp"]
            sure = _unit_of(bare) or sure
        elif len(known) > 2 or (len(words) == 4 and (len(known) == 2 or not _is_title(line, columns))):
            raise Refused(
                f"{name}: its heading {bare[:60]!r} is not known; name the columns t x y p, in their order"
            )
        if "t" in known or (words and not columns):
            unit = _unit_of(bare) or unit
    return order, sure or unit


def _unit_of(line: str) -> str:
    """The unit of times, where the line names it; that of a heading of all columns may stand behind them."""
    return unit_told(line, _WORDS["t"]) or unit_told(line, set().union(*_WORDS.values()))


def _is_title(line: str, columns: list[str]) -> bool:
    """A comment, or words that name no column and are prose."""
    if line.lstrip().startswith("#"):
        return True
    return not any(columns) and not _PROSE.isdisjoint(line.lower().split())


def _column(word: str) -> str:
    """t, x, y or p; "" for any other word."""
    found = [w for w in words_in(word) if w not in _BESIDE]
    return next((c for c, known in _WORDS.items() if len(found) == 1 and found[0] in known), "")


def check_rows(rows: NDArray[np.float64], order: list[int], name: str) -> None:
    """Whether the columns can be what they are taken for.

    Args:
        rows: (n, 4) from the beginning of the file.
        order: places of t, x, y, p.
        name: of the file, for messages.

    Raises:
        Refused: times run back where another column does not, or polarities are none.
    """
    if len(rows) < 2:
        return
    time = order[0]
    back = [float((np.diff(column) < 0).mean()) for column in rows.T]
    rises = [k for k in range(4) if k != time and not back[k] and np.ptp(rows[:, k]) > 0]
    rises = [k for k in rises if not np.isin(rows[:, k], (-1, 0, 1)).all()]
    if back[time] > RUNS_BACK and rises:
        other = f"column {rises[0] + 1} does not"
        raise Refused(f"{name}: column {time + 1} should be the time and runs back, {other}; {_SAY}")
    p = np.unique(rows[:, order[3]])
    if not np.isin(p, (-1, 0, 1)).all() and (len(p) > 2 or p[0] > 0):
        raise Refused(f"{name}: column {order[3] + 1} should be the polarity and holds {p[-1]:g}; {_SAY}")
