"""Prophesee RAW (EVT2, EVT2.1, EVT3) and DAT files: events and trigger edges, no frames. Decoded here.

Time is the camera's own, µs since it was started; where the header has `time_zero_us`, as those have that this
program exports, that is added. Of several trigger channels in one file the first that occurs is given, the
others are counted as ignored.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from capture import evt_time as s
from capture.camera import Progress
from capture.packets import EventPacket, Frame
from capture.registry import RigFacts
from recordings.formats.evt_file import BLOCK, EvtFile
from recordings.formats.prophesee_header import read_header, sensor_size
from recordings.formats.trigger_channel import TriggerChannel
from recordings.merging import StreamMerger
from recordings.recording import ReadCancelled, ReadReport, RecordingError, RecordingInfo

# Events and edges that one batch holds at most.
BATCH, BATCH_EDGES = 1 << 16, 1 << 12
_FOREVER = 1 << 61

Batch = tuple[
    NDArray[np.int64], NDArray[np.uint16], NDArray[np.uint16], NDArray[np.bool_],
    NDArray[np.int64], NDArray[np.bool_], NDArray[np.uint8],
]  # fmt: skip


class PropheseeRecording:
    """One RAW or DAT file. See `recordings.recording.Recording`.

    Args:
        path: the file.
        geometry: (width, height) of the sensor as the person states it; it wins over the header's.

    Raises:
        NotARecording: of an encoding that is not known.
        RecordingError: damaged, empty, or nothing tells the sensor's size.
    """

    def __init__(self, path: Path, *, geometry: tuple[int, int] | None = None) -> None:
        self._path = path
        header = read_header(path)
        self._size, said = sensor_size(path, header, geometry)
        self._zero_us = header.zero_us
        self._cancelled = False
        self._channel = TriggerChannel()
        self.report = ReadReport()
        self._file = EvtFile(path, header)
        try:
            start, end = self._span()
        except BaseException:
            self.close()
            raise
        problems = [*header.problems, *said]
        if self._file.left_over:
            n = self._file.left_over
            problems.append(
                f"the file ends inside a word; its last {n} {'byte is' if n == 1 else 'bytes are'} not read"
            )
        self.info = RecordingInfo(
            path=path, format=header.encoding, camera=header.camera, event_size=self._size, image_size=None,
            has_triggers=self._file.has_edges, start_us=start, end_us=end, frames=0, bytes=self._file.bytes,
            problems=tuple(problems),
        )  # fmt: skip

    def _span(self) -> tuple[int, int]:
        """First and last time of an event or edge."""
        first = next((b for b in self._batches(0, self._file.new_state()) if len(b[0]) or len(b[4])), None)
        if first is None:
            raise RecordingError(f"{self._path}: holds no events; nothing can be read")
        start = min(int(a[0]) for a in (first[0], first[4]) if len(a))
        places, highs = self._file.index()
        # From the end backwards, twice as far each time, until there is something.
        back = 1
        while True:
            k = len(places) - back
            if k <= 0:
                place, state = 0, self._file.new_state()
            else:
                place, state = int(places[k]), self._file.new_state()
                state[s.HIGH] = highs[k]
                state[[s.LOW, s.ROW, s.BASE]] = 0
            latest = [int(a.max()) for b in self._batches(place, state) for a in (b[0], b[4]) if len(a)]
            if latest or k <= 0:
                return start, max([start, *latest, *self._latest_before_steps()])
            back *= 2

    def _latest_before_steps(self) -> list[int]:
        """The latest times of the blocks behind which time runs back, as far as the index tells."""
        places, highs = self._file.index()
        if not self._file.exact or not (np.diff(highs) < 0).any():
            return []
        newest = np.maximum.accumulate(highs)
        k = int(np.flatnonzero(highs == newest[-1])[-1])  # the last block that begins with the highest time
        state = self._file.new_state()
        state[s.HIGH] = highs[k]
        state[[s.LOW, s.ROW, s.BASE]] = 0
        until = int(places[k + 1]) if k + 1 < len(places) else self._file.words
        found = self._batches(int(places[k]), state, until)
        return [int(a.max()) for b in found for a in (b[0], b[4]) if len(a)]

    def rig_facts(self) -> RigFacts | None:
        """None: there are no frames."""
        return None

    def items(self, start_us: int | None = None) -> Iterator[EventPacket | Frame]:
        """See `Recording.items`.

        Raises:
            RecordingError: the disk does not give the file any more.
            ReadCancelled: by `cancel`.
        """
        self._cancelled = False
        self.report = report = ReadReport(problems=list(self.info.problems), bytes_unread=self._file.left_over)
        return self._merged(report, start_us)

    def _merged(self, report: ReadReport, start_us: int | None) -> Iterator[EventPacket | Frame]:
        i = self.info
        # A sampled index may miss a pause; then the end is not where it says.
        span = (i.start_us, i.end_us if self._file.exact else _FOREVER)
        merger = StreamMerger(self._size, None, span, report, start_us)
        merger.events_begin(i.start_us)
        place, state = 0, self._file.new_state()
        if start_us is not None:
            place, state = self._file.place_before(start_us - self._zero_us)
        from_middle = place > 0
        if start_us is not None and not self._channel.known and self._file.has_edges:
            self._find_channel()
        early = start_us is not None
        damage = 0
        for t, x, y, p, et, rising, channel in self._batches(place, state):
            if self._cancelled:
                raise ReadCancelled
            if early:
                assert start_us is not None
                keep, keep_edges = t >= start_us, et >= start_us
                early = not (bool(keep.all()) and bool(keep_edges.all()))
                t, x, y, p = t[keep], x[keep], y[keep], p[keep]
                et, rising, channel = et[keep_edges], rising[keep_edges], channel[keep_edges]
            now = int(state[s.UNKNOWN] + state[s.BAD_TIME] + state[s.BACKWARDS])
            if now > damage:
                damage = now
                merger.gap()
            et, rising = self._one_channel(et, rising, channel, report)
            firsts = [int(a[0]) for a in (t, et) if len(a)]
            if firsts:
                yield from merger.events(t, x, y, p, min(firsts))
                yield from merger.edges(et, rising, min(firsts))
        _tell(report, state, self._size, from_middle)
        yield from merger.finish()

    def _batches(self, place: int, state: NDArray[np.int64], until: int | None = None) -> Iterator[Batch]:
        """Decoded batches from a place on, to another or the end; `state`, in the file's time, moves along."""
        f, decode, zero = self._file, self._file.encoding.decode, self._zero_us
        end = f.words if until is None else until
        while place < end:
            block_end = min(end, place - place % BLOCK + BLOCK)
            heads, tails, stop = f.read_block(place, block_end - place, int(state[s.HIGH]))
            if stop == 0:
                raise RecordingError(f"{self._path}: became shorter while it was read")
            at = 0
            while at < stop:
                t = np.empty(BATCH, np.int64)
                x, y = np.empty(BATCH, np.uint16), np.empty(BATCH, np.uint16)
                p = np.empty(BATCH, np.bool_)
                et = np.empty(BATCH_EDGES, np.int64)
                rising, channel = np.empty(BATCH_EDGES, np.bool_), np.empty(BATCH_EDGES, np.uint8)
                at, n, m = decode(heads, tails, at, stop, state, t, x, y, p, et, rising, channel)
                if zero:
                    t[:n] += zero
                    et[:m] += zero
                yield t[:n], x[:n], y[:n], p[:n], et[:m], rising[:m], channel[:m]
            place += stop

    def _find_channel(self) -> None:
        """The channel of the file's first edge, so that it does not matter where reading begins."""
        for b in self._batches(0, self._file.new_state()):
            if self._cancelled:
                raise ReadCancelled
            if len(b[6]):
                self._channel.ours(b[6][:1])
                return

    def _one_channel(
        self, et: NDArray[np.int64], rising: NDArray[np.bool_], channel: NDArray[np.uint8], report: ReadReport
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """The edges of the first channel that occurs."""
        ours = self._channel.ours(channel)
        for name, n in self._channel.passed_over().items():
            report.ignored[name] = report.ignored.get(name, 0) + n
        return et[ours], rising[ours]

    def frame_times_us(self, progress: Progress | None = None) -> list[tuple[int, int | None]]:
        """No frames, no times."""
        return []

    def cancel(self) -> None:
        """See `Recording.cancel`."""
        self._cancelled = True

    def close(self) -> None:
        """See `Recording.close`."""
        self._file.close()

    def __enter__(self) -> PropheseeRecording:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _tell(report: ReadReport, state: NDArray[np.int64], size: tuple[int, int], from_middle: bool) -> None:
    """What a decoder has counted, in words."""
    unknown, bad, back = (int(state[k]) for k in (s.UNKNOWN, s.BAD_TIME, s.BACKWARDS))
    for n, one, many in (
        (unknown, "word is of a type that does not exist", "words are of types that do not exist"),
        (bad, "time is damaged and was passed over", "times are damaged and were passed over"),
    ):
        if n:
            report.note(f"{n} {one if n == 1 else many}")
    if back:
        report.note(f"time runs backwards at {back} place{'s' if back > 1 else ''}; events there were refused")
    outside = report.events_rejected_outside
    if outside:
        report.note(
            f"{outside} events lie outside {size[0]}×{size[1]}: the file is damaged, or the sensor is larger "
            "(state its size with --geometry)"
        )
    if state[s.IGNORED]:
        report.ignored["other_words"] = int(state[s.IGNORED])
    if state[s.UNTIMED] and not from_middle:
        report.ignored["words_before_the_first_time"] = int(state[s.UNTIMED])
