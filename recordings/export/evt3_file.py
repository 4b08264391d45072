"""Writes a Prophesee RAW file in EVT3: events and trigger edges; pictures have no place in it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from capture.packets import Events, TriggerEdges
from recordings.export.content import Content, read_back
from recordings.export.evt3 import WRAP_US, Evt3Encoder, header


class Evt3Writer:
    """See `Writer`. Times beyond the first wrap at their beginning are counted from the first one.

    Attributes:
        zero_us: what was subtracted.
    """

    def __init__(self, path: Path, size: tuple[int, int], camera: str) -> None:
        self.content, self.notes, self.zero_us = Content(), ["EVT3 holds no pictures"], 0
        self._path, self._size, self._camera = path, size, camera
        self._encoder: Evt3Encoder | None = None
        self._file = path.open("wb")

    def _begin(self, first_us: int) -> Evt3Encoder:
        self.zero_us = 0 if 0 <= first_us < WRAP_US else first_us
        if self.zero_us:
            self.notes.append(
                f"its times are counted from {self.zero_us} µs on (time_zero_us in its header, which other "
                "programs pass over)"
            )
        encoder = Evt3Encoder(*self._size, zero_us=self.zero_us)
        self._file.write(header(*self._size, camera=self._camera, zero_us=self.zero_us))
        return encoder

    def add(self, events: Events, edges: TriggerEdges) -> None:
        """See `Writer.add`."""
        if not len(events) + len(edges):
            return
        if self._encoder is None:
            self._encoder = self._begin(int(min(a.t[0] for a in (events, edges) if len(a))))
        self._file.write(self._encoder.encode(events, edges))
        self.content.add_events(events)
        self.content.add_edges(edges)

    def add_frame(self, image: NDArray[np.uint8], start_us: int, end_us: int) -> None:
        """Left out."""

    def finish(self) -> None:
        """See `Writer.finish`."""
        self._file.close()

    def abandon(self) -> None:
        """See `Writer.abandon`."""
        self._file.close()

    def read_back(self) -> Content:
        """Through this program's reader."""
        return read_back(self._path)
