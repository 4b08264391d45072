"""Prophesee's HDF5 files: `CD/events` with rows of x, y, p, t, and `EXT_TRIGGER/events` with p, t, id.

Times are the camera's own, µs since it was started. The attributes of the file are the lines of a RAW file's
header. The maker's own files are packed with ECF, whose codec not everybody has; others are plain or gzip.
A place in time is found by halving, between two rows of `CD/indexes` (`id`, the number of the first event of
each 2 ms, `ts`) where that is there. It is a hint: what it says is held against the events' own times.

Of several trigger channels the first that occurs is given, the others are counted as ignored.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recordings.formats.dataset_source import (
    EVENTS_PER_PIECE,
    Edges,
    Found,
    FrameRefused,
    FrameTime,
    Ignored,
    Piece,
    SourceFacts,
    first_at,
    merged,
    piece,
    remark,
    side,
    times,
)
from recordings.formats.hdf5_arrays import inside, slices, table, text_attribute
from recordings.formats.prophesee_header import Header
from recordings.formats.trigger_channel import TriggerChannel
from recordings.sandbox_child import Refused

EVENTS, INDEXES, TRIGGERS = "CD/events", "CD/indexes", "EXT_TRIGGER/events"


class PropheseeH5Source:
    """One file; see `Source`. It has no frames.

    Args:
        file: open.
        stated: size of the sensor where the person gave it; it wins over the file's.
    """

    frames: list[FrameTime]

    def __init__(self, file: Any, stated: tuple[int, int] | None) -> None:
        self.frames = []
        self._file = file
        self._events = table(file, EVENTS, ("x", "y", "p", "t"))
        self._count = len(self._events)
        self._index: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None
        edges = table(file, TRIGGERS, ("p", "t", "id")) if inside(file, TRIGGERS) else None
        self._edges = edges if edges is not None and len(edges) else None
        if not self._count and self._edges is None:
            raise Refused("holds no events; nothing can be read")
        problems: list[str] = []
        header = _header(file.attrs, problems)
        size = _size(header, stated, problems)
        ends = [d[k]["t"] for d in (self._events, self._edges) if d is not None and len(d) for k in (0, -1)]
        stamps = times(np.asarray(ends, np.int64))
        self.facts = SourceFacts(
            format="prophesee-hdf5", event_size=size, image_size=None, start_us=int(stamps.min()),
            end_us=int(stamps.max()), camera=header.camera, problems=problems,
            has_triggers=self._edges is not None,
        )  # fmt: skip

    def image(self, index: int) -> NDArray[np.uint8]:
        """None."""
        raise FrameRefused("there are no frames")

    def events(self, start_us: int | None) -> Iterator[Found]:
        """See `Source.events`."""
        for _, found in merged(self._pieces(start_us), self._edge_pieces(start_us)):
            yield found

    def _pieces(self, start_us: int | None) -> Iterator[tuple[int, Found]]:
        key = -(1 << 62)
        first = 0 if start_us is None else self._first_event(start_us)
        for part in slices({"rows": self._events}, first, self._count, EVENTS_PER_PIECE):
            if isinstance(part, str):
                yield key, part
                continue
            (rows,) = part
            p: Piece = piece(times(rows["t"]), rows["x"], rows["y"], rows["p"])
            key = max(key, int(p.t[0]))
            yield key, p

    def _first_event(self, start_us: int) -> int:
        """Number of the first event at a time or later."""
        low, high = self._by_index(start_us)

        def time_of(k: int) -> int:
            return int(self._events[k]["t"])

        if (low and time_of(low - 1) >= start_us) or (high < self._count and time_of(high) < start_us):
            low, high = 0, self._count
        return low + first_at(lambda k: time_of(low + k), high - low, start_us)

    def _by_index(self, start_us: int) -> tuple[int, int]:
        """Between which numbers the index says that it lies; all of them where it says nothing of use."""
        whole = (0, self._count)
        with contextlib.suppress(Refused, OSError, RuntimeError, ValueError):
            if self._index is None and inside(self._file, INDEXES):
                rows = table(self._file, INDEXES, ("id", "ts"))[:]
                self._index = rows["ts"].astype(np.int64), rows["id"].astype(np.int64)
            if self._index is not None:
                ts, ids = self._index
                k = int(np.searchsorted(ts, start_us))
                # One row further each way: of an event at the very time of a row both sides have been seen.
                low = int(ids[k - 2]) if k > 1 else 0
                high = int(ids[k + 1]) if k + 1 < len(ids) else self._count
                if 0 <= low <= high <= self._count:
                    return low, high
        return whole

    def _edge_pieces(self, start_us: int | None) -> Iterator[tuple[int, Found]]:
        if self._edges is None:
            return
        key, channel = -(1 << 62), TriggerChannel(int(self._edges[0]["id"]) if len(self._edges) else None)
        first = _first(self._edges, start_us)
        for part in slices({"rows": self._edges}, first, len(self._edges), EVENTS_PER_PIECE):
            if isinstance(part, str):
                yield key, part.replace("events", "trigger edges", 1)
                continue
            (rows,) = part
            ours = channel.ours(rows["id"])
            if counts := channel.passed_over():
                yield key, Ignored(counts)
            t = times(rows["t"][ours])
            if len(t):
                key = max(key, int(t[0]))
                yield key, Edges(t, np.asarray(rows["p"][ours] > 0, np.bool_))


def _first(rows: Any, start_us: int | None) -> int:
    return 0 if start_us is None else first_at(lambda k: int(rows[k]["t"]), len(rows), start_us)


def _header(attributes: Any, problems: list[str]) -> Header:
    """The attributes as the header of a RAW file, which they are."""
    fields = {str(k).lower()[:80]: text_attribute(attributes, k) for k in list(attributes)[:100]}
    size = None
    if fields.get("geometry"):
        found = re.fullmatch(r"(\d{1,6})\s*[xX×]\s*(\d{1,6})", fields["geometry"].strip())
        if found is None:
            said = fields["geometry"][:80]
            problems.append(f"the file's geometry {said!r} is not of the form 1280x720; it was left out")
        else:
            size = side(int(found[1]), "a sensor's width"), side(int(found[2]), "a sensor's height")
    return Header("hdf5", fields, 0, size=size)


def _size(header: Header, stated: tuple[int, int] | None, problems: list[str]) -> tuple[int, int]:
    if stated is not None:
        if header.size is not None and header.size != stated:
            w, h = header.size
            remark(problems, f"the file says {w}×{h}; read as {stated[0]}×{stated[1]}, as was asked")
        return stated
    if header.size is not None:
        return header.size
    found = header.inferred_size()
    if found is None:
        raise Refused("nothing in it tells the sensor's size; state it: --geometry 1280x720")
    (w, h), by = found
    remark(problems, f"the file has no sensor size; {w}×{h} follows from {by}")
    return w, h
