"""Writes HighREV's layout, as the NTIRE 2025 single-image set has it: one picture, its event files beside.

`blur/NAME_00001.png`; `event/NAME_00001_00.npz` holds the events of the exposure, the last file of a frame
those behind it up to the next exposure (published code leaves it out). Arrays are (n, 1): `timestamp` in µs,
`polarity` 0 or 1, and `x` and `y` with their names exchanged as in the published files: the column is in `y`.
What these files do not tell stands in `exposures.csv`.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capture.packets import Events, TriggerEdges
from recordings.export.content import Content
from recordings.export.writers import read_png, rgb, write_png

BLUR, EVENT, TABLE = "blur", "event", "exposures.csv"
COLUMNS = ("file", "exposure_start_us", "exposure_end_us")


class HighRevWriter:
    """See `Writer`; fills `folder`. `size` is that of both grids."""

    def __init__(self, folder: Path, size: tuple[int, int], name: str) -> None:
        self.content = Content()
        self.notes = ["HighREV's files hold no trigger edges, and no events before the first exposure"]
        self._folder, self._size, self._name = folder, size, name
        self._held: list[Events] = []
        self._rows: list[tuple[str, int, int]] = []
        for sub in (BLUR, EVENT):
            (folder / sub).mkdir()

    def add(self, events: Events, edges: TriggerEdges) -> None:
        """See `Writer.add`."""
        self._held.append(events)

    def add_frame(self, image: NDArray[np.uint8], start_us: int, end_us: int) -> None:
        """See `Writer.add_frame`."""
        self._close_last(start_us)
        stem = f"{self._name}_{len(self._rows) + 1:05d}"
        picture = rgb(image)
        write_png(self._folder / BLUR / f"{stem}.png", picture)
        self._rows.append((f"{stem}.png", start_us, end_us))
        self.content.add_frame(picture, start_us, end_us)

    def _close_last(self, until_us: int) -> None:
        """The events of the last frame, up to where the next one begins."""
        held = Events.concatenate(self._held) if self._held else Events.empty(*self._size)
        if self._rows:
            name, start, end = self._rows[-1]
            end, stem = min(end, until_us), name.removesuffix(".png")
            self._events(f"{stem}_00", held.between(start, end))
            self._events(f"{stem}_01", held.between(end, until_us))
        self._held = [held[int(np.searchsorted(held.t, until_us)) :]]

    def _events(self, stem: str, e: Events) -> None:
        columns: dict[str, NDArray[Any]] = {
            "x": e.y,
            "y": e.x,
            "timestamp": e.t,
            "polarity": e.p.astype(np.uint8),
        }
        arrays: dict[str, NDArray[Any]] = {k: np.reshape(v, (-1, 1)) for k, v in columns.items()}
        # Without `allow_pickle`, which NumPy 2.0 would store as one more array.
        np.savez_compressed(self._folder / EVENT / f"{stem}.npz", **arrays)  # type: ignore[arg-type]
        self.content.add_events(e)

    def finish(self) -> None:
        """See `Writer.finish`."""
        self._close_last(1 << 62)
        with (self._folder / TABLE).open("w", encoding="utf-8", newline="") as f:
            csv.writer(f, lineterminator="\n").writerows([COLUMNS, *self._rows])

    def abandon(self) -> None:
        """Nothing is open."""


def read_back(folder: Path, size: tuple[int, int]) -> Content:
    """The content of a written folder, straight from its files."""
    content = Content()
    with (folder / TABLE).open(encoding="utf-8", newline="") as f:
        rows = list(csv.reader(f))[1:]
    for name, start, end in rows:
        content.add_frame(read_png(folder / BLUR / name), int(start), int(end))
    # In the order of the rows: names no longer sort as their numbers from the 100,000th frame on.
    for stem in (f"{row[0].removesuffix('.png')}_{part}" for row in rows for part in ("00", "01")):
        with np.load(folder / EVENT / f"{stem}.npz", allow_pickle=False) as a:
            y, x, t, p = (a[k][:, 0] for k in ("x", "y", "timestamp", "polarity"))
            content.add_events(Events(t, x, y, p != 0, *size))
    return content
