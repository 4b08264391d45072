"""AEDAT 2.0 of DAVIS cameras (jAER): big-endian records of a 32-bit address and a 32-bit time in µs.

An address: bit 31 set = a sample of the image converter or the inertial sensor; else an event: row in bits
30:22, column in 21:12, polarity in bit 11 (1 = brighter), bit 10 set = a mark of the external input. Rows count
upwards and columns to the left, as jAER displays them; here (0, 0) is the top left.

Times wrap round at 32 bits; the distance between neighbours tells a wrap from a step back. Frames lie in such a
file as single samples before and after reset, without their exposures: they are counted, not put together. The
external input's marks do not tell the edge, so they are counted too.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recordings.formats.aedat_header import Bytes, read_header, sensor_size
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
        self._index = self._sampled()
        last = len(self._index) - 1
        latest = int(self._times(self._records(last * BLOCK), int(self._index[last])).max())
        first = int(self._index[0])
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

    @staticmethod
    def _times(records: NDArray[np.uint32], first_us: int) -> NDArray[np.int64]:
        """Times with the wraps counted in, the first of them `first_us`."""
        t = np.zeros(len(records), np.int64)
        # The difference of neighbours modulo 2^32, as a signed number: forwards, or a little back.
        np.cumsum(np.diff(records[:, 1]).view(np.int32), out=t[1:], dtype=np.int64)
        return t + first_us

    def _sampled(self) -> NDArray[np.int64]:
        """The time of the first record of every block; less than half a wrap (35 min) lies in one."""
        stamps = np.zeros((-(-self._count // BLOCK), 2), np.uint32)
        for k in range(len(stamps)):
            data = self._file.read(self._at + k * BLOCK * RECORD, RECORD)
            if len(data) < RECORD:
                raise Refused("became shorter while it was read")
            stamps[k] = np.frombuffer(data, ">u4")
        return self._times(stamps, int(stamps[0, 1]))

    def events(self, start_us: int | None) -> Iterator[Found]:
        """See `Source.events`."""
        k = 0
        if start_us is not None:
            k = max(0, int(np.searchsorted(np.maximum.accumulate(self._index), start_us, "right")) - 1)
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
            yield self._piece(a[keep], self._times(records, int(self._index[block]))[keep])
        yield Ignored({name: n for name, n in counts.items() if n})

    def _piece(self, a: NDArray[np.uint32], t: NDArray[np.int64]) -> Piece:
        w, h = self._size
        x = w - 1 - ((a >> 12) & 0x3FF).astype(np.int16)
        y = h - 1 - ((a >> 22) & 0x1FF).astype(np.int16)
        return Piece(t, x.astype(np.int16), y.astype(np.int16), ((a >> 11) & 1) == 1)
