"""Reads AEDAT4 with dv-processing. Runs only in the sandbox's child: dv-processing may hang or crash."""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dv_processing as dv
import numpy as np
from numpy.typing import NDArray

from recordings.formats.aedat4_container import (
    Container,
    Malformed,
    complete_packets_end,
    read_container,
    without_index,
)
from recordings.sandbox_child import Refused, Reply

# Times further outside the file's own span than this are damage, not data.
SPAN_MARGIN_US = 1_000_000
# One event message: large enough that its cost per event vanishes, small enough for one arena slot.
EVENTS_PER_MESSAGE = 250_000
# Windows of random access aim at this many events.
EVENTS_PER_WINDOW = 100_000
_WINDOW_MIN_US, _WINDOW_MAX_US = 20_000, 2_000_000
# A stream with this many unreadable packets in a row is given up.
MAX_FAILURES = 100

_DRAWN = {
    dv.FrameSource.ACCUMULATION,
    dv.FrameSource.MOTION_COMPENSATION,
    dv.FrameSource.RECONSTRUCTION,
    dv.FrameSource.VISUALIZATION,
}
_EDGES = {
    dv.TriggerType.EXTERNAL_SIGNAL_RISING_EDGE: True,
    dv.TriggerType.EXTERNAL_SIGNAL_FALLING_EDGE: False,
}

Keyed = tuple[int, Reply]
FrameTime = tuple[int, int, int, int, int]  # start, end, has exposure, drawn, index in the file


class Aedat4Server:
    """Serves `describe`, `items` and `frame_times` of one file.

    Args:
        path: the file.
        scratch: an empty folder for what a cut file needs.
    """

    def __init__(self, path: str, scratch: str) -> None:
        self._path, self._scratch = Path(path), Path(scratch)
        self._reader: Any = None
        self._times: list[FrameTime] | None = None
        self._packet_us = 0

    def do_describe(self) -> Iterator[Reply]:
        """Header reply with everything that `RecordingInfo` needs."""
        try:
            container = read_container(self._path)
        except Malformed as e:
            raise Refused(f"{e}; it cannot be read") from e
        end, open_path = container.size, self._path
        if not container.finished:
            for behind in complete_packets_end(self._path, container):
                end = behind
                yield Reply("progress", {}, {})
        if container.cut:
            for _ in without_index(self._path, container, end, self._scratch):
                yield Reply("progress", {}, {})
            open_path = self._scratch / "without-index.aedat4"
        self._open_path = str(open_path)
        self._reader = r = dv.io.MonoCameraRecording(self._open_path)
        self._streams(r)
        yield Reply("progress", {}, {})
        start_us, end_us = self._span(r)
        self._plausible = (start_us - SPAN_MARGIN_US, end_us + SPAN_MARGIN_US)
        event_size = tuple(r.getEventResolution(self._events)) if self._events else None
        image_size = tuple(r.getFrameResolution(self._frames)) if self._frames else None
        yield Reply(
            "description",
            {
                "camera": str(r.getCameraName() or ""),
                "event_size": event_size,
                "image_size": image_size,
                "has_triggers": self._has_external_edges(),
                "start_us": start_us,
                "end_us": end_us,
                "bytes": container.size,
                "unread": container.size - end if not container.finished else 0,
                "cut": container.cut,
                "finished": container.finished,
                "missing": _missing(container),
                "extra_streams": self._extra,
            },
            {},
        )

    def _streams(self, r: Any) -> None:
        """First stream of each kind, by type and not by name."""
        names = list(r.getStreamNames())
        ev = [n for n in names if r.isStreamOfEventType(n)]
        fr = [n for n in names if r.isStreamOfFrameType(n)]
        tr = [n for n in names if r.isStreamOfTriggerType(n)]
        im = [n for n in names if r.isStreamOfImuType(n)]
        self._events, self._frames = (ev or [None])[0], (fr or [None])[0]
        self._triggers, self._imu = (tr or [None])[0], (im or [None])[0]
        self._extra = [*ev[1:], *fr[1:], *tr[1:]]

    def _span(self, r: Any) -> tuple[int, int]:
        """Times of the first and behind the last item; frames count with their whole exposure."""
        a, b = (int(t) for t in r.getTimeRange())
        if self._frames and abs(b - a) < 1 << 50:
            # The index holds the middle of an exposure, so its ends lie outside it.
            first = r.getNextFrame(self._frames)
            last = r.getFramesTimeRange(b - 1_000_000, b + 1, self._frames) or []
            r.resetSequentialRead()
            if first is not None:
                a = min(a, int(first.timestamp))
            for f in last:
                b = max(b, int(f.timestamp) + max(0, _exposure_us(f)))
        return a, b

    def _has_external_edges(self) -> bool:
        if not self._triggers:
            return False
        r = dv.io.MonoCameraRecording(self._open_path)
        for _ in range(500):
            batch = r.getNextTriggerBatch(self._triggers)
            if batch is None:
                return False
            if any(t.type in _EDGES for t in batch):
                return True
        return False

    def do_frame_times(self) -> Iterator[Reply]:
        """Start and end of every frame; end = start where the file has no exposure."""
        yield from self._scan_frames()
        assert self._times is not None
        table = np.array(self._times, np.int64).reshape(-1, 5)
        for a in range(0, max(1, len(table)), EVENTS_PER_MESSAGE):
            yield Reply("times", {}, {"times": table[a : a + EVENTS_PER_MESSAGE]})

    def _scan_frames(self) -> Iterator[Reply]:
        if self._times is not None:
            return
        times: list[FrameTime] = []
        if self._frames:
            r = dv.io.MonoCameraRecording(self._open_path)
            for index, f in enumerate(_robust(lambda: r.getNextFrame(self._frames))):
                if not isinstance(f, str):
                    e, t = _exposure_us(f), int(f.timestamp)
                    times.append((t, t + max(e, 0), int(e > 0), int(f.source in _DRAWN), index))
                if index % 64 == 0:
                    yield Reply("progress", {"frames": index}, {})
        self._times = times

    def do_items(self, start_us: int | None) -> Iterator[Reply]:
        """Raw batches of all streams in order of their first time (frames: the end of exposure)."""
        # A reader of its own each time: positions of an earlier, abandoned read must not matter.
        r = dv.io.MonoCameraRecording(self._open_path)
        parts: list[Iterator[Keyed]] = []
        if self._events:
            batches = self._all_events(r) if start_us is None else self._events_from(r, start_us)
            parts.append(_event_messages(batches, self._plausible))
        if self._triggers:
            parts.append(self._trigger_messages(r, start_us))
        if self._imu:
            parts.append(self._imu_messages(r, start_us))
        if self._frames:
            if start_us is not None:
                yield from self._scan_frames()
            parts.append(self._frame_messages(r, start_us))
        for _, reply in heapq.merge(*parts, key=lambda k: k[0]):
            yield reply

    def _all_events(self, r: Any) -> Iterator[Any]:
        return _robust(lambda: r.getNextEventBatch(self._events))

    def _events_from(self, r: Any, start_us: int) -> Iterator[Any]:
        """Random access in windows that follow the event rate and are never shorter than a packet."""
        end = int(r.getTimeRange()[1]) + 1
        if not self._packet_us:
            probe = dv.io.MonoCameraRecording(self._open_path)
            e = probe.getNextEventBatch(self._events)
            self._packet_us = max(1, int(e.getHighestTime() - e.getLowestTime()) if e is not None else 1)
        shortest = min(max(_WINDOW_MIN_US, 2 * self._packet_us), 1 << 40)
        width, at, failures = shortest, start_us, 0
        while at < end and failures < MAX_FAILURES:
            try:
                e = r.getEventsTimeRange(at, at + width, self._events)
                failures = 0
            except Exception as error:
                failures += 1
                e = None
                yield str(error)
            n = 0 if e is None else int(e.size())
            at += width
            if n:
                yield e
                width = min(max(width * EVENTS_PER_WINDOW // n, shortest), max(shortest, _WINDOW_MAX_US))
            else:
                width = min(2 * width, 1 << 55)  # a pause, however long, costs few steps

    def _trigger_messages(self, r: Any, start_us: int | None) -> Iterator[Keyed]:
        key = _Key(self._plausible)
        for batch in _robust(lambda: r.getNextTriggerBatch(self._triggers)):
            if isinstance(batch, str):
                yield key.damage("triggers", batch)
                continue
            wanted = [m for m in batch if start_us is None or m.timestamp >= start_us]
            edges = [(int(m.timestamp), _EDGES[m.type]) for m in wanted if m.type in _EDGES]
            if not wanted:
                continue
            t = np.array([e[0] for e in edges], np.int64)
            rising = np.array([e[1] for e in edges], np.bool_)
            header = {"marks": len(wanted) - len(edges)}
            yield key.reply(int(wanted[0].timestamp), "edges", header, {"t": t, "rising": rising})

    def _imu_messages(self, r: Any, start_us: int | None) -> Iterator[Keyed]:
        key = _Key(self._plausible)
        for batch in _robust(lambda: r.getNextImuBatch(self._imu)):
            if isinstance(batch, str):
                yield key.damage("imu", batch)
                continue
            times = [int(m.timestamp) for m in batch if start_us is None or m.timestamp >= start_us]
            if times:
                yield key.reply(times[0], "imu", {"samples": len(times)}, {})

    def _frame_messages(self, r: Any, start_us: int | None) -> Iterator[Keyed]:
        if start_us is None:
            found: Iterator[Any] = enumerate(_robust(lambda: r.getNextFrame(self._frames)))
        else:
            assert self._times is not None
            found = self._frames_from(r, [t for t in self._times if t[0] >= start_us])
        key = _Key(self._plausible)
        for index, f in found:
            if isinstance(f, str):
                yield key.damage("frames", f)
                continue
            start, exposure, image = int(f.timestamp), _exposure_us(f), f.image
            header = {
                "index": index, "start_us": start, "exposure_us": exposure, "drawn": f.source in _DRAWN,
                "x": int(f.positionX), "y": int(f.positionY), "type": str(image.dtype),
            }  # fmt: skip
            arrays = {"image": _image(image)} if image.dtype == np.uint8 else {}
            yield key.reply(start + max(0, exposure), "frame", header, arrays)

    def _frames_from(self, r: Any, times: list[FrameTime]) -> Iterator[tuple[int, Any]]:
        """The frames of the scan with their index, by random access in short windows."""
        for chunk in _chunks(times, 8):
            index = {t[0]: t[4] for t in chunk}
            try:
                # The window is by the middles of exposures, which lie between these two.
                frames = r.getFramesTimeRange(chunk[0][0], chunk[-1][1] + 1, self._frames) or []
            except Exception as e:
                yield chunk[0][4], str(e)
                continue
            yield from ((index[f.timestamp], f) for f in frames if f.timestamp in index)


def _missing(c: Container) -> int:
    """Bytes that the header promises and the file lacks, at least."""
    return max(0, c.table - c.size) if c.table is not None else 0


def _chunks(items: list[FrameTime], n: int) -> Iterator[list[FrameTime]]:
    for i in range(0, len(items), n):
        yield items[i : i + n]


def _robust(read: Any) -> Iterator[Any]:
    """What `read` gives until None; a packet that raises becomes its message (str) and is passed over."""
    failures = 0
    while failures < MAX_FAILURES:
        try:
            item = read()
        except Exception as e:
            failures += 1
            yield re.sub(r"\s+", " ", str(e))
            continue
        if item is None:
            return
        failures = 0
        yield item


def _event_messages(stores: Iterator[Any], plausible: tuple[int, int]) -> Iterator[Keyed]:
    key = _Key(plausible)
    last = None
    for e in stores:
        if isinstance(e, str):
            yield key.damage("events", e)
            continue
        t, xy, p = e.timestamps(), e.coordinates(), e.polarities()
        for a in range(0, len(t), EVENTS_PER_MESSAGE):
            s = slice(a, a + EVENTS_PER_MESSAGE)
            yield key.reply(int(t[a]), "events", {}, {"t": t[s], "x": xy[s, 0], "y": xy[s, 1], "p": p[s]})
            last = int(t[s][-1])
    if last is not None:
        yield key.reply(last, "events_ended", {}, {})


class _Key:
    """The order in which messages of one stream are given: their times, never falling.

    A time outside the recording's span (damage) does not count, else one wild stamp would put all that
    follows behind the other streams.
    """

    def __init__(self, plausible: tuple[int, int]) -> None:
        self._low, self._high = plausible
        self._key = self._low

    def reply(self, t: int, kind: str, header: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Keyed:
        if self._low <= t <= self._high:
            self._key = max(self._key, t)
        return self._key, Reply(kind, {**header, "key": self._key}, arrays)

    def damage(self, stream: str, text: str) -> Keyed:
        """A packet that could not be read."""
        return self._key, Reply("damage", {"stream": stream, "text": text[:200], "key": self._key}, {})


def _exposure_us(f: Any) -> int:
    d = f.exposure
    return int((d.days * 86_400 + d.seconds) * 1_000_000 + d.microseconds)


def _image(image: NDArray[Any]) -> NDArray[Any]:
    """Gray (H, W) or RGB (H, W, 3): dv-processing keeps OpenCV's order of channels, BGR or BGRA."""
    if image.ndim == 3 and image.shape[2] == 1:
        return image[:, :, 0]
    if image.ndim == 3 and image.shape[2] in (3, 4):
        return image[:, :, 2::-1]
    return image
