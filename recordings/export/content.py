"""What a file holds in few values, to compare what was to be written with what is read back."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capture.packets import EventPacket, Events, TriggerEdges
from recordings.open import open_recording
from recordings.recording import RecordingError


@dataclass(frozen=True, slots=True)
class Facts:
    """What a `Content` comes to: it can be sent and compared.

    Attributes:
        frames, events, edges, imu, first_us, last_us, checksum: as there.
    """

    frames: int = 0
    events: int = 0
    edges: int = 0
    imu: int = 0
    first_us: int | None = None
    last_us: int | None = None
    checksum: str = ""

    @classmethod
    def of(cls, c: Content | Facts) -> Facts:
        """Of a content as it is now."""
        return cls(c.frames, c.events, c.edges, c.imu, c.first_us, c.last_us, c.checksum)


@dataclass(slots=True)
class Content:
    """A sequence in few values: counts, first and last time (µs), a checksum over all but IMU samples."""

    frames: int = 0
    events: int = 0
    edges: int = 0
    imu: int = 0
    first_us: int | None = None
    last_us: int | None = None
    _hashes: dict[str, Any] = field(default_factory=lambda: {k: hashlib.sha256() for k in ("f", *"txyp", "e")})

    def add_frame(self, image: NDArray[np.uint8], start_us: int, end_us: int) -> None:
        """One frame (H, W, 3) RGB or (H, W) gray, and its exposure."""
        self.frames += 1
        self._hashes["f"].update(np.array([start_us, end_us, *image.shape], np.int64).tobytes())
        self._hashes["f"].update(np.ascontiguousarray(image).tobytes())
        self._times(start_us, end_us)

    def add_events(self, e: Events) -> None:
        """Events that follow those before, however they are cut."""
        self.events += len(e)
        for k in "txyp":
            self._hashes[k].update(np.ascontiguousarray(getattr(e, k)).tobytes())
        if len(e):
            self._times(int(e.t[0]), int(e.t[-1]))

    def add_edges(self, e: TriggerEdges) -> None:
        """Trigger edges that follow those before."""
        self.edges += len(e)
        if len(e):
            self._hashes["e"].update((e.t * 2 + e.rising).tobytes())
            self._times(int(e.t[0]), int(e.t[-1]))

    def _times(self, first: int, last: int) -> None:
        self.first_us = first if self.first_us is None else min(first, self.first_us)
        self.last_us = last if self.last_us is None else max(last, self.last_us)

    @property
    def checksum(self) -> str:
        """The first 16 digits of a SHA-256 over all of it."""
        hashes = [h.digest() for k, h in self._hashes.items() if k != "e" or self.edges]
        return hashlib.sha256(b"".join(hashes)).hexdigest()[:16]


def read_back(path: Path) -> Content:
    """The content of a written file or folder, through the program's reader of such files.

    Raises:
        RecordingError: it cannot be read.
    """
    content = Content()
    with open_recording(path, deadline_s=60.0) as r:
        for item in r.items():
            if isinstance(item, EventPacket):
                content.add_events(item.events)
                content.add_edges(item.triggers)
            else:
                start, end = item.device_start_ns or 0, item.device_end_ns or 0
                content.add_frame(item.image, start // 1000, end // 1000)
        content.imu = r.report.ignored.get("imu", 0)
    return content


def compare(path: Path, found: Content, written: Content | Facts) -> None:
    """Refuse what does not read back as it was to be written.

    Raises:
        RecordingError: with both contents.
    """
    a, b = Facts.of(found), Facts.of(written)
    if a != b:
        raise RecordingError(f"{path}: reads back as {a} and {b} was written; the output was removed")
