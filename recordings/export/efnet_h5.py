"""Writes EFNet's HDF5 layout with raw events (L. Sun et al., ECCV 2022), one file a sequence.

Events and pictures on one grid; `events/ts` in seconds, as GoPro's files have it, and with them `timestamp`
(the middle of the exposure), `exposure_start`, `exposure_end` and `exposure_time` of each image. Beside them
stand `exposure_start_us` and `exposure_end_us`, whole microseconds on the same axis. Read back directly: a
reader has to guess the unit.
"""

from __future__ import annotations

from collections import deque
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from capture.packets import Events, TriggerEdges
from recordings.export.content import Content
from recordings.export.hdf5_lists import CHUNK, GrowingList, create, disk_errors
from recordings.export.writers import rgb

# An exposure ends no longer before the newest events than this.
RECENT_US = 5_000_000


class EfnetH5Writer:
    """See `Writer`. `size` is that of both grids."""

    def __init__(self, path: Path, size: tuple[int, int], source: str) -> None:
        self.content, self.notes = Content(), ["EFNet's files hold no trigger edges"]
        self._file = create(path)
        self._file.attrs["sensor_resolution"] = np.array([size[1], size[0]])
        self._file.attrs["source"] = source
        self._file.attrs["time_unit"] = "s"
        kinds = {"xs": np.int16, "ys": np.int16, "ts": np.float64, "ps": np.bool_}
        self._lists = {k: GrowingList(self._file, f"events/{k}", v) for k, v in kinds.items()}
        self._file.create_group("images")
        self._recent: deque[tuple[NDArray[np.int64], int]] = deque()  # times, and how many events before them

    def add(self, events: Events, edges: TriggerEdges) -> None:
        """See `Writer.add`."""
        for name, values in (("xs", events.x), ("ys", events.y), ("ts", events.t / 1e6), ("ps", events.p)):
            self._lists[name].append(values)
        if len(events):
            self._recent.append((events.t, self.content.events))
            while int(self._recent[0][0][-1]) < int(events.t[-1]) - RECENT_US:
                self._recent.popleft()
        self.content.add_events(events)

    def add_frame(self, image: NDArray[np.uint8], start_us: int, end_us: int) -> None:
        """See `Writer.add_frame`."""
        picture = rgb(image)
        with disk_errors():
            data = self._file["images"].create_dataset(
                f"image{self.content.frames:09d}", data=np.ascontiguousarray(picture[..., ::-1]),
                compression="gzip", compression_opts=1,
            )  # fmt: skip
            middle = (start_us + end_us) / 2e6
            for name, value in (
                ("timestamp", middle), ("exposure_start", start_us / 1e6), ("exposure_end", end_us / 1e6),
                ("exposure_time", (end_us - start_us) / 1e6),
            ):  # fmt: skip
                data.attrs[name] = value
            data.attrs["exposure_start_us"], data.attrs["exposure_end_us"] = start_us, end_us
            data.attrs["size"] = np.array(picture.shape)
            data.attrs["event_idx"] = self._index((start_us + end_us) // 2)
        self.content.add_frame(picture, start_us, end_us)

    def _index(self, at_us: int) -> int:
        """The first event at this time or later; those up to the exposure's end are there already."""
        for t, before in self._recent:
            if at_us <= int(t[-1]):
                return before + int(np.searchsorted(t, at_us))
        return self.content.events

    def finish(self) -> None:
        """See `Writer.finish`."""
        for values in self._lists.values():
            values.flush()
        with disk_errors():
            self._file.attrs["num_events"] = self.content.events
            self._file.attrs["num_imgs"] = self.content.frames
            self._file.close()

    def abandon(self) -> None:
        """See `Writer.abandon`."""
        try:
            with disk_errors():
                self._file.close()
        except OSError:
            pass  # what is thrown away may fail to close


def read_back(path: Path, size: tuple[int, int]) -> Content:
    """The content of a written file, straight from it."""
    content = Content()
    with h5py.File(path, "r", locking=False) as f:
        for name in sorted(f["images"]):
            data = f["images"][name]
            span = [int(data.attrs[f"exposure_{k}_us"]) for k in ("start", "end")]
            content.add_frame(np.asarray(data[()])[..., ::-1], *span)
        lists = [f[f"events/{k}"] for k in ("ts", "xs", "ys", "ps")]
        for k in range(0, len(lists[0]), CHUNK):
            t, x, y, p = (np.asarray(v[k : k + CHUNK]) for v in lists)
            us = np.round(t * 1e6).astype(np.int64)
            content.add_events(Events(us, x.astype(np.uint16), y.astype(np.uint16), p, *size))
    return content
