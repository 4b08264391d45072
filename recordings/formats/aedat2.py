"""AEDAT 2.0 of DAVIS cameras (jAER): big-endian records of a 32-bit address and a 32-bit time in µs.

An address: bit 31 set = a sample of the image converter or the inertial sensor; else an event: row in bits
30:22, column in 21:12, polarity in bit 11 (1 = brighter), bit 10 set = a mark of the external input. Rows count
upwards and columns to the left, as jAER displays them; here (0, 0) is the top left.

Times wrap round at 32 bits; the distance between neighbours tells a wrap from a step back, and a clock that was
set back from damage (see `aedat2_times`). Frames lie in such a
file as single samples before and after reset, without their exposures: they are counted, not put together. The
external input's marks do not tell the edge, so they are counted too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recordings.formats.aedat2_times import Counted, count_on, count_over, first_sound
from recordings.formats.aedat_header import Bytes, read_header, sensor_size
from recordings.formats.aedat_stretches import RESTARTED_US, STEP_BACK_US, began_anew
from recordings.formats.dataset_source import (
    Found,
    FrameRefused,
    FrameTime,
    Ignored,
    Piece,
    SourceFacts,
    remark,
)
from recordings.sandbox_child import Refused

RECORD = 8
BLOCK = 1 << 17  # records: a mebibyte
# In larger files not every stamp is looked at when they are opened.
EXACT_BYTES = 1 << 28
# But where two blocks begin further apart: something is damaged, or so little happened that much may be hidden.
_SAMPLED_US = 10_000_000
_IMU = 3  # bits 11:10 of a sample


class Aedat2Source:
    """One file; see `Source`. It has no frames.

    Args:
        path: the file.
        stated: size of the sensor where the person gave it.
    """

    frames: list[FrameTime]

    def __init__(self, path: Path, stated: tuple[int, int] | None) -> None:
        self.frames = []
        header = read_header(path)
        chip = header.value("AEChip").rpartition(".")[2]
        problems: list[str] = []
        if chip and not chip.lower().startswith("davis"):
            raise Refused(
                f"was recorded with the chip {chip[:40]}; only the addresses of DAVIS chips are known"
            )
        if not chip:
            remark(problems, "the header names no chip; its addresses are taken for those of a DAVIS")
        self._size = sensor_size(chip, stated, problems)
        self._file = Bytes(path)
        self._at = header.data_at
        self._count, over = divmod(max(0, self._file.size - self._at), RECORD)
        if not self._count:
            raise Refused("holds no events; nothing can be read")
        if over:
            problems.append(f"the file ends inside a record; its last {over} bytes are not read")
        self._index, ended = self._counted()
        if ended.set_back:
            problems.append(began_anew(ended.set_back))
        first, last = self._index[0].time_us, len(self._index) - 1
        latest = int(self._times(last, self._stamps(last * BLOCK, BLOCK)).max())
        self.facts = SourceFacts(
            format="aedat2", event_size=self._size, image_size=None, start_us=first, end_us=max(first, latest),
            camera=chip, problems=problems,
        )  # fmt: skip

    def image(self, index: int) -> NDArray[np.uint8]:
        """None."""
        raise FrameRefused("there are no frames")

    def _records(self, first: int) -> NDArray[np.uint32]:
        """(n, 2): addresses and times of a block."""
        n = min(BLOCK, self._count - first)
        data = self._file.read(self._at + first * RECORD, n * RECORD)
        return np.frombuffer(data, ">u4", len(data) // RECORD * 2).reshape(-1, 2).astype(np.uint32)

    def _stamps(self, first: int, count: int) -> NDArray[np.uint32]:
        """The raw times of some records."""
        n = max(0, min(count, self._count - first))
        data = self._file.read(self._at + first * RECORD, n * RECORD)
        if len(data) < n * RECORD:
            raise Refused("became shorter while it was read")
        return np.frombuffer(data, ">u4")[1::2].astype(np.uint32)

    def _times(self, block: int, stamps: NDArray[np.uint32]) -> NDArray[np.int64]:
        return count_on(self._index[block], stamps, self._ahead(block))[0]

    def _ahead(self, block: int) -> Callable[[], NDArray[np.uint32]]:
        """The stamps behind a block, as many as one has."""
        return lambda: self._stamps((block + 1) * BLOCK, BLOCK)

    def _counted(self) -> tuple[list[Counted], Counted]:
        """Where counting stands before each block, and at the end."""
        now = self._first()
        index: list[Counted] = []
        blocks = -(-self._count // BLOCK)
        for k in range(blocks):
            index.append(now)
            following = next(iter(self._stamps((k + 1) * BLOCK, 1).tolist()), None)
            if self._count * RECORD > EXACT_BYTES and following is not None:
                step = int(np.array([following - now.stamp]).astype(np.int32)[0])
                # A clock that was set back within a block may be ahead of its beginning at its end.
                if -STEP_BACK_US <= step <= _SAMPLED_US and following >= RESTARTED_US:
                    now = now._replace(stamp=following, time_us=now.time_us + step)
                    continue
            now = count_over(now, self._stamps(k * BLOCK, BLOCK), self._ahead(k))
        return index, now

    def _first(self) -> Counted:
        """The first stamp that is borne out by those behind it; where none is, the first."""
        for at in range(0, self._count, BLOCK):
            first = first_sound(self._stamps(at, BLOCK))
            if first is not None:
                return Counted(first, first)
        first = int(self._stamps(0, 1)[0])
        return Counted(first, first)

    def events(self, start_us: int | None) -> Iterator[Found]:
        """See `Source.events`."""
        k = 0
        if start_us is not None:
            begins = np.maximum.accumulate([c.time_us for c in self._index])
            k = max(0, int(np.searchsorted(begins, start_us, "right")) - 1)
        counts = dict.fromkeys(("imu_words", "samples_of_frames", "marks_of_the_external_input"), 0)
        for block in range(k, len(self._index)):
            records = self._records(block * BLOCK)
            a = records[:, 0]
            event = (a >> 31) == 0
            imu = ~event & (((a >> 10) & 3) == _IMU)
            mark = event & (((a >> 10) & 1) == 1)
            counts["imu_words"] += int(np.count_nonzero(imu))
            counts["samples_of_frames"] += int(np.count_nonzero(~event & ~imu))
            counts["marks_of_the_external_input"] += int(np.count_nonzero(mark))
            keep = event & ~mark
            yield self._piece(a[keep], self._times(block, records[:, 1])[keep])
        yield Ignored({name: n for name, n in counts.items() if n})

    def _piece(self, a: NDArray[np.uint32], t: NDArray[np.int64]) -> Piece:
        w, h = self._size
        x = w - 1 - ((a >> 12) & 0x3FF).astype(np.int16)
        y = h - 1 - ((a >> 22) & 0x1FF).astype(np.int16)
        return Piece(t, x.astype(np.int16), y.astype(np.int16), ((a >> 11) & 1) == 1)
