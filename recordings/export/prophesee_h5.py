"""Writes Prophesee's HDF5 layout, packed with gzip: `CD/events`, `EXT_TRIGGER/events`; times are µs.

Names are the layout's own. `CD/indexes`, which this program's reader does not need, is not written.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from capture.packets import Events, TriggerEdges
from recordings.export.content import Content
from recordings.export.hdf5_lists import GrowingList, create, disk_errors

EVENT = np.dtype([("x", "<u2"), ("y", "<u2"), ("p", "<i2"), ("t", "<i8")])
EDGE = np.dtype([("p", "<i2"), ("t", "<i8"), ("id", "<i2")])


class PropheseeH5Writer:
    """See `Writer`."""

    def __init__(self, path: Path, size: tuple[int, int], camera: str) -> None:
        self.content, self.notes = Content(), ["Prophesee's HDF5 holds no pictures"]
        self._path = path
        self._file = create(path)
        self._file.attrs["geometry"] = f"{size[0]}x{size[1]}"
        self._file.attrs["time_unit"] = "us"
        if camera:
            self._file.attrs["camera"] = camera
        self._events = GrowingList(self._file, "CD/events", EVENT)
        self._edges = GrowingList(self._file, "EXT_TRIGGER/events", EDGE)

    def add(self, events: Events, edges: TriggerEdges) -> None:
        """See `Writer.add`."""
        rows = np.empty(len(events), EVENT)
        for name, values in (("x", events.x), ("y", events.y), ("p", events.p), ("t", events.t)):
            rows[name] = values
        self._events.append(rows)
        marks = np.zeros(len(edges), EDGE)
        marks["p"], marks["t"] = edges.rising, edges.t
        self._edges.append(marks)
        self.content.add_events(events)
        self.content.add_edges(edges)

    def add_frame(self, image: NDArray[np.uint8], start_us: int, end_us: int) -> None:
        """Left out."""

    def finish(self) -> None:
        """See `Writer.finish`."""
        self._events.flush()
        self._edges.flush()
        with disk_errors():
            self._file.close()

    def abandon(self) -> None:
        """See `Writer.abandon`."""
        try:
            with disk_errors():
                self._file.close()
        except OSError:
            pass  # what is thrown away may fail to close
