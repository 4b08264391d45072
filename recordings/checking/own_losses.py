"""What was once in one of our own recordings and is not there any more, as exactly as its files can tell.

Chunks are numbered, so a hole has a size. What lay in it tells the index, whose every row repeats a chunk's
header with its checksum; how many were written tells `health.json`, at most a second late.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recordings.formats.own_about import INDEX_FILE
from recordings.formats.own_chunks import END, EVENTS, FRAME, INDEX, MAGIC, READ
from recordings.formats.own_index import Rows

_LARGEST = 1 << 30
_HIGHEST = 1 << 40


@dataclass(slots=True)
class Losses:
    """What is known to be missing.

    Attributes:
        packets, events, edges, frames: of which kind and amount are known.
        unknown: chunks that nothing is known of but that they were written.
        rows: number → header of those that are known, as a row of the index.
    """

    packets: int = 0
    events: int = 0
    edges: int = 0
    frames: int = 0
    unknown: int = 0
    rows: dict[int, np.void] = field(default_factory=dict)

    @property
    def any(self) -> bool:
        """Something is missing."""
        return bool(self.packets or self.frames or self.unknown)

    def text(self) -> str:
        """In words, "" for nothing."""
        parts = [
            f"{self.packets} event packets with {self.events} events and {self.edges} edges"
            if self.packets else "",
            f"{self.frames} frames" if self.frames else "",
            f"{self.unknown} items of unknown kind" if self.unknown else "",
        ]  # fmt: skip
        return ", ".join(p for p in parts if p)


def known_losses(folder: Path, good: Rows, bad: Rows, health: Mapping[str, Any] | None) -> Losses:
    """Compare what is readable with what there was.

    Args:
        folder: the recording.
        good: rows of the chunks that can be read, in order.
        bad: headers of others, whose data are damaged or cut.
        health: of `read_health`.
    """
    numbers = np.unique(good["number"].astype(np.int64))
    told = {int(r["number"]): r for r in bad if int(r["number"]) < _HIGHEST}
    told = {**_told(folder, numbers), **{n: r for n, r in told.items() if n not in numbers}}
    last = int(numbers[-1]) if len(numbers) else -1
    written = int(health["disk"]["chunks"]) if health is not None else 0
    # Holes by arithmetic, not one by one: numbers come from a file and may be anything.
    missing = max([last + 1, written, *(n + 1 for n in told)]) - len(numbers)
    losses = Losses(rows=told, unknown=max(0, missing - len(told)))
    for row in told.values():
        if row["kind"] == EVENTS:
            losses.packets += 1
            losses.events += int(row["amount"])
            losses.edges += int(row["edges"])
        elif row["kind"] == FRAME:
            losses.frames += 1
    if health is not None and not health["losses"].get("disk items"):
        _by_health(losses, good, health)
    return losses


def _by_health(losses: Losses, good: Rows, health: Mapping[str, Any]) -> None:
    """Items that the recorder counted and that are in no file: what waited for the disk, or a lost end."""
    events = good[good["kind"] == EVENTS]
    packets = max(0, health["event_packets"] - len(events) - losses.packets)
    frames = max(0, health["frames"] - int(np.count_nonzero(good["kind"] == FRAME)) - losses.frames)
    losses.unknown = max(0, losses.unknown - packets - frames)
    losses.packets += packets
    losses.frames += frames
    for name, column in (("events", "amount"), ("edges", "edges")):
        missing = health[name] - int(events[column].sum(dtype=np.int64)) - getattr(losses, name)
        setattr(losses, name, getattr(losses, name) + max(0, missing))


def _told(folder: Path, there: NDArray[np.int64]) -> dict[int, np.void]:
    """Rows of the index about chunks that are not there, if the row's own checksum is right; by number."""
    try:
        with (folder / INDEX_FILE).open("rb") as f:
            data = f.read(_LARGEST)
    except OSError:
        return {}
    data = data[: len(data) // INDEX.itemsize * INDEX.itemsize]
    rows = np.frombuffer(data, INDEX)
    good = (rows["magic"] == MAGIC) & np.isin(rows["version"], READ)
    good &= np.isin(rows["kind"], (EVENTS, FRAME, END)) & (rows["number"] < _HIGHEST)
    good &= ~np.isin(rows["number"].astype(np.int64), there)
    out: dict[int, np.void] = {}
    for i in np.flatnonzero(good).tolist():
        head = data[i * INDEX.itemsize + 8 : (i + 1) * INDEX.itemsize]
        if zlib.crc32(head[:-4]) == int(rows["head_check"][i]):
            out[int(rows["number"][i])] = rows[i]
    return out
