"""Serves one recording of a data set from the sandbox's child, whatever its layout."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recordings.formats.dataset_layouts import open_source
from recordings.formats.dataset_source import Edges, FrameRefused, FrameTime, Ignored, Piece, Source, merged
from recordings.formats.spike_files import SpikeSource
from recordings.merging import SPAN_MARGIN_US
from recordings.recording import Remark
from recordings.sandbox_child import Refused, Reply

# What reads some of the files and is imported then; see `recordings.sandbox_nursery`.
ALSO = tuple(
    f"recordings.formats.{name}"
    for name in (
        "aedat2",
        "aedat3",
        "dsec_h5",
        "efnet_h5",
        "highrev",
        "picture_folder",
        "prophesee_h5",
        "ros_bag",
    )
)

Keyed = tuple[int, Reply]
_BATCH = 1 << 16
LIMIT_US = 1 << 60


class DatasetServer:
    """Serves `describe` and `items`.

    Args:
        path: file or folder.
        geometry: (width, height) of the event sensor where the person gave it.
        exposure_us: length of exposures that the file does not tell, where the person gave it.
    """

    def __init__(self, path: str, geometry: list[int] | None, exposure_us: int | None) -> None:
        self._source: Source = open_source(Path(path), None if geometry is None else tuple(geometry))
        self._events_from: int | None = None
        self._frames = [self._stated(f, exposure_us) for f in self._source.frames]

    def _stated(self, f: FrameTime, exposure_us: int | None) -> FrameTime:
        facts = self._source.facts
        if f.known or exposure_us is None or facts.drawn:
            return f
        start = f.start_us - (exposure_us // 2 if facts.stamp_in_middle else 0)
        return FrameTime(start, start + exposure_us)

    def do_describe(self) -> Iterator[Reply]:
        """Replies `times` (rows of start, end, exposure known), then one `description`."""
        facts = self._source.facts
        start = min([facts.start_us, *(f.start_us for f in self._frames)])
        end = max([facts.end_us, *(f.end_us for f in self._frames)])
        if not -LIMIT_US < start <= end < LIMIT_US:
            raise Refused(f"claims to last from {start} to {end} µs; its times are damaged")
        rows = np.array([(f.start_us, f.end_us, f.known) for f in self._frames], np.int64).reshape(-1, 3)
        for a in range(0, len(rows), _BATCH):
            yield Reply("times", {}, {"times": rows[a : a + _BATCH]})
        remarks = [k for k, p in enumerate(facts.problems) if isinstance(p, Remark)]
        told = {**asdict(facts), "problems": [str(p) for p in facts.problems], "remarks": remarks}
        yield Reply("description", {**told, "start_us": start, "end_us": end}, {})

    def do_items(self, start_us: int | None, first_index: int) -> Iterator[Reply]:
        """Raw messages of both streams in order of time (frames: the end of exposure)."""
        if start_us is not None and self._source.facts.event_size is not None:
            if self._events_from is None:
                self._events_from = self._first_event_us()
            yield Reply("events_begin", {"time_us": self._events_from, "key": -LIMIT_US}, {})
        for _, reply in merged(self._event_messages(start_us), self._frame_messages(first_index)):
            yield reply

    def _first_event_us(self) -> int:
        """Time of the first event or edge; behind everything where there is none."""
        facts = self._source.facts
        low, high = facts.start_us - SPAN_MARGIN_US, facts.end_us + SPAN_MARGIN_US
        for p in self._source.events(None):
            if isinstance(p, Piece | Edges) and len(sound := p.t[(p.t >= low) & (p.t <= high)]):
                return int(sound[0])
        return LIMIT_US

    def do_spikes(self, first: int, count: int) -> Iterator[Reply]:
        """Replies `spikes` with the spike frames themselves.

        Raises:
            Refused: it is no recording of a spike camera.
        """
        if not isinstance(self._source, SpikeSource):
            raise Refused("is no recording of a spike camera")
        for frames in self._source.spikes(first, count):
            yield Reply("spikes", {}, {"spikes": frames})

    def _event_messages(self, start_us: int | None) -> Iterator[Keyed]:
        facts = self._source.facts
        if facts.event_size is None:
            return
        key, any_events = -LIMIT_US, False
        for p in self._source.events(start_us):
            if isinstance(p, str):
                yield key, Reply("damage", {"text": p, "key": key}, {})
                continue
            if isinstance(p, Ignored):
                yield key, Reply("ignored", {"counts": p.counts, "key": key}, {})
                continue
            p = _from(p, start_us)
            if not len(p.t):
                continue
            first = int(p.t[0])
            if facts.start_us <= first <= facts.end_us:  # a wild stamp must not put off the other stream
                key = max(key, first)
            if isinstance(p, Edges):
                yield key, Reply("edges", {"key": key}, {"t": p.t, "rising": p.rising.view(np.uint8)})
            else:
                any_events = True
                arrays: dict[str, NDArray[Any]] = {"t": p.t, "x": p.x, "y": p.y, "p": p.p.view(np.uint8)}
                yield key, Reply("events", {"key": key}, arrays)
        if any_events:
            yield key, Reply("events_ended", {"key": key}, {})

    def _frame_messages(self, first_index: int) -> Iterator[Keyed]:
        key = -LIMIT_US
        for index in range(first_index, len(self._frames)):
            f = self._frames[index]
            key = max(key, f.end_us)
            header: dict[str, Any] = {
                "index": index, "start_us": f.start_us, "exposure_us": f.end_us - f.start_us,
                "drawn": self._source.facts.drawn, "key": key, "text": "",
            }  # fmt: skip
            # Decoded only when its turn comes: the merge asks for one frame ahead, not for more.
            try:
                arrays = {"image": self._source.image(index)}
            except (FrameRefused, Refused) as e:
                header["text"], arrays = str(e), {}
            yield key, Reply("frame", header, arrays)


def _from(p: Piece | Edges, start_us: int | None) -> Piece | Edges:
    """What of a piece lies at `start_us` or later."""
    if start_us is None or not len(p.t) or p.t[0] >= start_us:
        return p
    keep = p.t >= start_us
    if isinstance(p, Edges):
        return Edges(p.t[keep], p.rising[keep])
    return Piece(p.t[keep], p.x[keep], p.y[keep], p.p[keep])
