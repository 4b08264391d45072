"""Spike cameras' files: `.dat` (bits, no header) and `.npz` with (T, h, w) spikes of 0 and 1.

They hold no events, no clock and no pictures. What is replayed are pictures drawn from the spikes, the mean of
`DRAWN` frames each, marked as drawn: nothing was exposed for them, so nothing is restored from them. The spikes
themselves come from `DatasetRecording.spikes`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from recordings.formats.aedat_header import Bytes
from recordings.formats.dataset_source import Found, FrameRefused, FrameTime, SourceFacts, side
from recordings.formats.npy_members import Archive
from recordings.formats.spike_bits import unpacked
from recordings.recording import Remark
from recordings.sandbox_child import Refused

SPIKE_NAMES = ("spk", "spikes", "spike")
# Spike frames of one drawn picture, and of one message.
DRAWN = 40
# The published cameras read out 20 000 times a second; files do not say.
PERIOD_US = 50
MAX_PICTURES = 1_000_000


class _Spikes(Protocol):
    """Spike frames in order.

    Attributes:
        shape: (T, h, w).
    """

    shape: tuple[int, int, int]

    def read(self, first: int, count: int) -> NDArray[np.uint8]:
        """(n, h, w) 0 or 1, from frame `first` on, fewer at the end."""


class _Dat:
    def __init__(self, path: Path, size: tuple[int, int]) -> None:
        w, h = size
        if w * h % 8:
            raise Refused(
                f"spike frames of {w}×{h}: the number of pixels must be a multiple of 8; check --geometry"
            )
        self._file, self._bytes = Bytes(path), w * h // 8
        count, over = divmod(self._file.size, self._bytes)
        if over or not count:
            raise Refused(
                f"its {self._file.size} bytes are no whole spike frames of {w}×{h} ({self._bytes} bytes each, "
                f"{over} over); check --geometry"
            )
        self.shape = (count, h, w)

    def read(self, first: int, count: int) -> NDArray[np.uint8]:
        _, h, w = self.shape
        return unpacked(self._file.read(first * self._bytes, count * self._bytes), h, w)


class _Npz:
    """A deflated member is read from its beginning on; going back begins anew."""

    def __init__(self, path: Path, name: str) -> None:
        self._path, self._name = path, name
        with Archive(path) as a:
            header = a.header(name)
        if len(header.shape) != 3 or header.dtype.kind not in "biu" or not header.shape[0]:
            raise Refused(
                f"array {name!r} has the shape {str(header.shape)[:60]}; expected (T, h, w) of 0 and 1"
            )
        t, h, w = header.shape
        self.shape = (t, side(h, "a sensor's height"), side(w, "a sensor's width"))
        self._at, self._layers = t, iter(())  # type: tuple[int, Iterator[NDArray[np.uint8]]]

    def _from_start(self) -> Iterator[NDArray[np.uint8]]:
        with Archive(self._path) as a:
            for layers in a.layers(self._name, DRAWN):
                yield (layers != 0).view(np.uint8)

    def read(self, first: int, count: int) -> NDArray[np.uint8]:
        parts: list[NDArray[np.uint8]] = []
        while count > 0 and first < self.shape[0]:
            if first < self._at:
                self._at, self._layers = 0, self._from_start()
            block = next(self._layers, None)
            if block is None:
                break
            begin, self._at = self._at, self._at + len(block)
            if self._at <= first:
                continue
            part = block[first - begin : first - begin + count]
            parts.append(part)
            first, count = first + len(part), count - len(part)
        return np.concatenate(parts) if parts else np.empty((0, *self.shape[1:]), np.uint8)


class SpikeSource:
    """One file; see `Source` and the module.

    Args:
        spikes: its frames.
        kind: "dat" or "npz".
    """

    def __init__(self, spikes: _Spikes, kind: str) -> None:
        self._spikes = spikes
        t, h, w = spikes.shape
        count = max(1, t // DRAWN)
        if count > MAX_PICTURES:
            raise Refused(f"holds {t} spike frames; at most {MAX_PICTURES * DRAWN} are read")
        self.frames = [FrameTime(k * DRAWN * PERIOD_US, k * DRAWN * PERIOD_US) for k in range(count)]
        self.facts = SourceFacts(
            format=f"spikes-{kind}", event_size=None, image_size=(w, h), start_us=0, end_us=t * PERIOD_US,
            camera="spike camera", drawn=True,
            problems=list(map(Remark, [
                f"{t} frames of spikes, not events: what is shown are means of {min(DRAWN, t)} of them; no "
                "network here restores from a spike camera's own spikes",
                f"the file has no clock: a spike frame counts as {PERIOD_US} µs",
            ])),
        )  # fmt: skip

    @classmethod
    def of_dat(cls, path: Path, size: tuple[int, int] | None) -> SpikeSource:
        """A `.dat` file.

        Raises:
            Refused: no size is stated, or it does not fit the file.
        """
        if size is None:
            raise Refused(
                "has no header: if it is a spike camera's, state the sensor's size (--geometry 400x250); a "
                "Prophesee file without its header cannot be read"
            )
        return cls(_Dat(path, size), "dat")

    @classmethod
    def of_npz(cls, path: Path, name: str) -> SpikeSource:
        """An `.npz` file with the spikes under a name."""
        return cls(_Npz(path, name), "npz")

    def spikes(self, first: int, count: int) -> Iterator[NDArray[np.uint8]]:
        """Spike frames in pieces, (n, h, w) uint8 0 or 1."""
        end = min(first + count, self._spikes.shape[0])
        for at in range(first, end, DRAWN):
            yield self._spikes.read(at, min(DRAWN, end - at))

    def image(self, index: int) -> NDArray[np.uint8]:
        """See `Source.image`: the mean of the spikes of its time, 255 = a spike in every frame."""
        part = self._spikes.read(index * DRAWN, DRAWN)
        if not len(part):
            raise FrameRefused("its spikes are cut off")
        mean = np.asarray(part.mean(0, dtype=np.float64), np.float64)
        return np.asarray(np.rint(mean * 255), np.uint8)

    def events(self, start_us: int | None) -> Iterator[Found]:
        """None."""
        return iter(())
