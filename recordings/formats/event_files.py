"""Events as data sets keep them beside pictures, in `.npz` files of columns, one an interval.

x, y, time, polarity under any of their usual names, (N,) or (N, 1), never pickled. They do not tell the
sensor's size. The unit of times is µs, or s where they have fractions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recordings.formats.dataset_source import EVENTS_PER_PIECE, Found, piece, times
from recordings.formats.npy_members import Archive, column_length
from recordings.sandbox_child import Refused

_NAMES = {
    "x": ("x", "xs", "events_x"),
    "y": ("y", "ys", "events_y"),
    "t": ("t", "ts", "timestamp", "timestamps", "time", "events_t", "events_t_us"),
    "p": ("p", "ps", "polarity", "polarities", "pol", "events_p"),
}
MAX_FILES = 200_000
# An interval that lasts so much longer than the others lacks files.
LONGER = 1.5


def event_columns(names: frozenset[str]) -> dict[str, str] | None:
    """Which arrays of a file are x, y, t and p; None when one of them is missing."""
    found = {k: next((n for n in known if n in names), None) for k, known in _NAMES.items()}
    return {k: n for k, n in found.items() if n is not None} if None not in found.values() else None


def unit_us(sample: NDArray[Any]) -> float:
    """µs of one unit of times whose files do not say it: fractions are of seconds, whole numbers µs."""
    fractions = sample.dtype.kind == "f" and bool((np.mod(sample[:10_000], 1) != 0).any())
    return 1e6 if fractions else 1.0


def _missing(why: Refused) -> str:
    return f"{why}; its events are missing"


def _columns_of(paths: list[Path]) -> dict[str, str]:
    """Names of the arrays, by the first file that can be opened."""
    for path in paths:
        try:
            with Archive(path, path.name) as a:
                names = a.names
        except Refused:
            if path == paths[-1]:
                raise
            continue
        if (columns := event_columns(names)) is not None:
            return columns
        listed = ", ".join(sorted(names)[:8])
        raise Refused(f"{path.name} has the arrays {listed or '(none)'}; expected x, y, time, polarity")
    raise Refused("holds no files of events")


class NpzEvents:
    """Events in `.npz` files that follow one another in time.

    Args:
        paths: in order.
        exchanged: the files' x holds rows and their y columns (HighREV).

    Attributes:
        firsts: the first time of each file, µs (of an empty or damaged one: of the next).
        empty: which files hold no event, or none that can be read.
        damaged: files that cannot be read, by their place, and why; one alone is refused.
        missing: by the place of a file, what is not there before it; set by whom knows.
        first_us, last_us: of all.
        reach: largest column and row of the first file with events and one in the middle, plus 1.
        note: how the unit of times was decided.
    """

    def __init__(self, paths: list[Path], *, exchanged: bool = False) -> None:
        if len(paths) > MAX_FILES:
            raise Refused(f"holds {len(paths)} files of events; at most {MAX_FILES} are read")
        self.paths, self.damaged, self.missing = paths, dict[int, str](), dict[int, str]()
        self._columns, self.exchanged, self.divisor = _columns_of(paths), exchanged, 1
        sample, last = self._filled(range(len(paths))), self._filled(reversed(range(len(paths))))
        if sample is None or last is None:
            raise Refused("holds no events; nothing can be read")
        self._scale = unit_us(sample)
        self.note = f"event files do not say their unit; it is taken as {'µs' if self._scale == 1 else 's'}"
        self.last_us = int(times(last, self._scale).max())
        self.firsts = self._firsts()
        self.first_us = self.firsts[0]
        self.last_us = max(self.first_us, self.last_us)
        self.reach = self._reach()

    def _filled(self, order: Iterable[int]) -> NDArray[Any] | None:
        """Times of the first file of an order that holds some; None: none does."""
        for k in order:
            try:
                t = self._column(k, "t")
            except Refused:
                if len(self.paths) == 1:
                    raise
                continue  # told by `_firsts`, or where its events are read
            if len(t):
                return t
        return None

    def _column(self, k: int, name: str) -> NDArray[Any]:
        path = self.paths[k]
        with Archive(path, path.name) as a:
            return a.whole(self._columns[name]).reshape(-1)

    def _firsts(self) -> list[int]:
        found: list[int | None] = []
        for k, path in enumerate(self.paths):
            one = None
            try:
                with Archive(path, path.name) as a:
                    one = next(iter(a.pieces(self._columns["t"], 1)), None)
            except Refused as e:
                self.damaged[k] = _missing(e)
            found.append(None if one is None else int(times(one, self._scale)[0]))
        self.empty = [v is None for v in found]
        following = self.last_us + 1
        for k in reversed(range(len(found))):
            if (here := found[k]) is not None:
                following = here
            found[k] = following
        return [v for v in found if v is not None]

    def _reach(self) -> tuple[int, int]:
        reach, first = [0, 0], self.empty.index(False)
        middle = next((k for k in range(len(self.paths) // 2, len(self.paths)) if not self.empty[k]), first)
        for k in {first, middle}:
            for i, name in enumerate("yx" if self.exchanged else "xy"):
                try:
                    values = self._column(k, name)
                except Refused:
                    if first == middle:
                        raise
                    continue  # told where its events are read
                reach[i] = max(reach[i], int(values.max()) + 1 if len(values) else 0)
        return reach[0], reach[1]

    def lack(self, skipped: dict[int, int]) -> None:
        """Take numbers that are left out in the files' names for files that are missing.

        Where times go on all the same nothing is: then the files are only numbered so.

        Args:
            skipped: see `names.skipped`.
        """
        lasts = np.diff(np.array(self.firsts, np.int64))
        others = [v for k, v in enumerate(lasts.tolist(), 1) if k not in skipped]
        usual = float(np.median(others)) if others else 0.0
        for k, n in skipped.items():
            if lasts[k - 1] >= LONGER * usual:
                files = "1 file is" if n == 1 else f"{n} files are"
                a, b = self.paths[k - 1].name, self.paths[k].name
                self.missing[k] = f"{files} missing between {a} and {b}, and their events"

    def losses(self) -> list[str]:
        """A line for each file that is damaged or missing."""
        return [*self.damaged.values(), *self.missing.values()]

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
            if k in self.missing and k > k0:
                yield self.missing[k]
            if k in self.damaged:
                yield self.damaged[k]
                continue
            try:
                yield from self._file(k, None if until is None else until[k])
            except Refused as e:
                if len(self.paths) == 1:
                    raise
                yield _missing(e)

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
