"""Writes DSEC's layout (M. Gehrig et al., RA-L 2021): `events.h5`, a folder of images, their exposures.

`events/t` counts µs from `t_offset`, which lies on the pictures' clock; `ms_to_idx[k]` is the first event at
`k` ms or later. Width and height stand as attributes, which DSEC's own files lack. Coordinates are the sensor's
own: there is no `rectify_map.h5`.
"""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from capture.packets import Events, TriggerEdges
from recordings.export.content import Content
from recordings.export.hdf5_lists import CHUNK, GrowingList, create, disk_errors
from recordings.export.writers import read_png, write_png
from recordings.recording import RecordingError

EVENTS, IMAGES, EXPOSURES = "events.h5", "images", "image_exposure_timestamps_us.txt"
HEADING = "# exposure_start_timestamp_us, exposure_end_timestamp_us"


class DsecWriter:
    """See `Writer`; fills `folder`."""

    def __init__(self, folder: Path, size: tuple[int, int]) -> None:
        self.content, self.notes = Content(), ["DSEC's files hold no trigger edges"]
        self._folder = folder
        self._file = create(folder / EVENTS)
        self._file.attrs["width"], self._file.attrs["height"] = size
        kinds = {"x": np.uint16, "y": np.uint16, "t": np.uint32, "p": np.uint8}
        self._lists = {k: GrowingList(self._file, f"events/{k}", v) for k, v in kinds.items()}
        self._zero: int | None = None
        self._index: list[int] = []
        self._exposures: list[tuple[int, int]] = []
        (folder / IMAGES).mkdir()

    def add(self, events: Events, edges: TriggerEdges) -> None:
        """See `Writer.add`.

        Raises:
            RecordingError: longer than 71 minutes, which 32 bits of µs do not hold.
        """
        if not len(events):
            return
        self._zero = int(events.t[0]) if self._zero is None else self._zero
        t = events.t - self._zero
        if int(t[-1]) >= 1 << 32:
            raise RecordingError("DSEC's times have 32 bits, 71 minutes; export a part with --from and --until")
        known = len(self._index)
        ms = np.arange(known, int(t[-1]) // 1000 + 1) * 1000
        # Those before this packet's first event have it as their next one.
        self._index += (self.content.events + np.searchsorted(t, ms)).tolist()
        for name, values in (("x", events.x), ("y", events.y), ("t", t), ("p", events.p)):
            self._lists[name].append(values)
        self.content.add_events(events)

    def add_frame(self, image: NDArray[np.uint8], start_us: int, end_us: int) -> None:
        """See `Writer.add_frame`."""
        write_png(self._folder / IMAGES / f"{self.content.frames:06d}.png", image)
        self._exposures.append((start_us, end_us))
        self.content.add_frame(image, start_us, end_us)

    def finish(self) -> None:
        """See `Writer.finish`."""
        for values in self._lists.values():
            values.flush()
        with disk_errors():
            self._file.create_dataset("ms_to_idx", data=np.array(self._index, np.uint64))
            self._file.create_dataset("t_offset", data=np.int64(self._zero or 0))
            self._file.close()
        lines = [HEADING, *(f"{a}, {b}" for a, b in self._exposures)]
        (self._folder / EXPOSURES).write_text("\n".join(lines) + "\n", encoding="ascii")

    def abandon(self) -> None:
        """See `Writer.abandon`."""
        try:
            with disk_errors():
                self._file.close()
        except OSError:
            pass  # what is thrown away may fail to close


def read_back(folder: Path, size: tuple[int, int]) -> Content:
    """The content of a written folder, straight from its files."""
    content = Content()
    lines = (folder / EXPOSURES).read_text(encoding="ascii").splitlines()[1:]
    images = sorted((folder / IMAGES).iterdir())
    for line, image in zip(lines, images, strict=True):
        start, end = (int(v) for v in line.split(","))
        content.add_frame(read_png(image), start, end)
    with h5py.File(folder / EVENTS, "r", locking=False) as f:
        zero = int(f["t_offset"][()])
        lists = [f[f"events/{k}"] for k in "txyp"]
        for k in range(0, len(lists[0]), CHUNK):
            t, x, y, p = (np.asarray(v[k : k + CHUNK]) for v in lists)
            content.add_events(Events(t.astype(np.int64) + zero, x, y, p != 0, *size))
    return content
