"""Reads AEDAT4 with dv-processing, events by our own reader where it can.

Runs only in the sandbox's child: dv-processing may hang or crash.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import dv_processing as dv
import numpy as np
from numpy.typing import NDArray

from capture.passing_folder import PassingFolder
from recordings.formats.aedat4_container import (
    Container,
    Malformed,
    complete_packets_end,
    read_container,
    without_index,
)
from recordings.formats.aedat4_event_packets import gathered_packets
from recordings.formats.aedat4_frame_heads import NotSo, frame_heads
from recordings.formats.aedat4_index import event_packets_listed
from recordings.formats.aedat4_keys import Key, Keyed, Reached
from recordings.formats.aedat4_library import first_frame, image_of, marked, robust
from recordings.formats.aedat4_library_events import GATHERED_EVENTS, GATHERED_US, WINDOW_MIN_US, library_events
from recordings.formats.aedat4_stages import Stage
from recordings.formats.aedat4_told import ASSUMED, BY_DRIVER, OTHER_CAMERA
from recordings.sandbox_child import Refused, Reply, mark, one_line

# Times further outside the file's own span than this are damage, not data.
SPAN_MARGIN_US = 1_000_000
# One event message: large enough that its cost per event vanishes, small enough for one arena slot.
EVENTS_PER_MESSAGE = 250_000
_FRAME_WINDOW_US = 250_000
# Rows of the index in one message.
_PACKETS = 50_000
# So many frames at the beginning are held against the library.
COMPARED = 3

_NONE = np.empty(0, np.int64)
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


class _Batch(NamedTuple):
    """Events of one message: their first and last time, and columns or packets."""

    first: int
    last: int
    arrays: dict[str, NDArray[Any]]
    records: list[NDArray[np.void]]


SCRATCH = "halfmirror-recording-"


class Aedat4Server:
    """Serves `describe`, `items`, `frame_times` and `packets` of one file.

    Args:
        path: the file.
        scratch: a folder that does not exist yet, for what a cut or oddly named file needs; its name begins
            with `SCRATCH`. It goes with this process; what killed ones left goes with the next that needs one.
        exposure_us: length of exposures that the file does not give, where the person gave it.
    """

    def __init__(self, path: str, scratch: str, exposure_us: int | None = None) -> None:
        self._path, self._scratch = Path(path), Path(scratch)
        self._held: PassingFolder | None = None
        self._stated_us = exposure_us
        self._careful = False
        self._events_from: int | None = None
        self._scans = False
        self._kept: Any = None

    def _folder(self) -> Path:
        if self._held is None:
            self._held = PassingFolder(SCRATCH, self._scratch.parent, self._scratch.name)
        return self._held.path

    def do_describe(self, avoid: list[int]) -> Iterator[Reply]:
        """One reply with everything that `RecordingInfo` needs; stages in `avoid` are left out."""
        mark(Stage.OPEN)
        try:
            container = read_container(self._path)
        except Malformed as e:
            raise Refused(f"{e}; it cannot be read") from e
        end, why = container.size, ""
        if not container.finished:
            for behind in complete_packets_end(self._path, container):
                end = behind
                yield Reply("progress", {}, {})
        self._open_path, self._scans = str(self._path), not container.finished
        if self._path.suffix != ".aedat4":  # which the library insists on
            link = self._folder() / "recording.aedat4"
            link.symlink_to(self._path)
            self._open_path = str(link)
        self._container = container
        self._packets_end = end if container.table is None or container.cut else container.table
        r = None
        if not container.cut and Stage.INDEX not in avoid:
            mark(Stage.INDEX if container.finished else Stage.OPEN)
            try:
                r = self._new_reader()
            except Exception as e:
                why = one_line(e)
        without = r is None and container.table is not None
        if without:
            mark(Stage.OPEN)
            end = end if container.cut else int(container.table or 0)
            for _ in without_index(self._path, container, end, self._folder()):
                yield Reply("progress", {}, {})
            self._open_path, self._scans = str(self._scratch / "without-index.aedat4"), True
            try:
                r = self._new_reader()
            except Exception as e:
                why = one_line(e)
        if r is None:
            raise Refused(f"its header or index is damaged ({why}); it cannot be read")
        self._streams(r)
        yield Reply("progress", {}, {})
        start_us, end_us = self._span(r, Stage.SPAN not in avoid)
        self._plausible = (start_us - SPAN_MARGIN_US, end_us + SPAN_MARGIN_US)
        event_size = tuple(r.getEventResolution(self._events)) if self._events else None
        image_size = tuple(r.getFrameResolution(self._frames)) if self._frames else None
        yield Reply(
            "description",
            {
                "camera": str(r.getCameraName() or ""),
                "event_size": event_size,
                "image_size": image_size,
                "has_triggers": Stage.EDGES not in avoid and self._has_external_edges(),
                "start_us": start_us,
                "end_us": end_us,
                "bytes": container.size,
                "unread": container.size - end if not container.finished else 0,
                "cut": container.cut,
                "finished": container.finished,
                "missing": _missing(container),
                "index_lost": without and not container.cut,
                "extra_streams": self._extra,
                "two_cameras": self._told[OTHER_CAMERA],
                "assumed": self._told[ASSUMED],
                "by_driver": self._told[BY_DRIVER],
            },
            {},
        )

    def _new_reader(self) -> Any:
        """One that stands at the beginning of every stream; those given before must not be read any more.

        Where there is no index the library reads the whole file to make one. That one is kept.
        """
        r = self._kept
        if r is None:
            r = dv.io.MonoCameraRecording(self._open_path)
            self._kept = r if self._scans else None
        else:
            r.resetSequentialRead()
        return r

    def _streams(self, r: Any) -> None:
        """First stream of each kind, by type and not by name."""
        names = list(r.getStreamNames())
        ev = [n for n in names if r.isStreamOfEventType(n)]
        fr = [n for n in names if r.isStreamOfFrameType(n)]
        tr = [n for n in names if r.isStreamOfTriggerType(n)]
        im = [n for n in names if r.isStreamOfImuType(n)]
        self._events, self._frames = (ev or [None])[0], (fr or [None])[0]
        self._triggers, self._imu = (tr or [None])[0], (im or [None])[0]
        about = r.getStreamMetadata(self._frames) if self._frames else {}
        self._told = {key: about.get(key) == "true" for key in (OTHER_CAMERA, ASSUMED, BY_DRIVER)}
        self._one_of_events = len(ev) == 1
        self._extra = [*ev[1:], *fr[1:], *tr[1:]]

    def _span(self, r: Any, look_at_frames: bool) -> tuple[int, int]:
        """Times of the first and the last item; frames count with their whole exposure."""
        a, b = (int(t) for t in r.getTimeRange())
        if look_at_frames and self._frames and abs(b - a) < 1 << 50:
            # The index holds the middle of an exposure, so its ends lie outside it.
            mark(Stage.SPAN)
            for f in robust(lambda: first_frame(r, self._frames), limit=1):
                if not isinstance(f, str):
                    a = min(a, int(f.timestamp))
                break
            ranges = robust(lambda: r.getFramesTimeRange(b - 1_000_000, b + 1, self._frames), limit=1)
            for found in ranges:
                for f in [] if isinstance(found, str) else found:
                    b = max(b, int(f.timestamp) + max(0, self._exposure_us(f)))
                break
        return a, b

    def _has_external_edges(self) -> bool:
        """Looks at the first batches only: where the signal is wired, its edges come from the start."""
        if not self._triggers:
            return False
        mark(Stage.EDGES)
        r = self._new_reader()
        batches = robust(lambda: r.getNextTriggerBatch(self._triggers), limit=1)
        for _, batch in zip(range(500), batches, strict=False):
            if not isinstance(batch, str) and any(t.type in _EDGES for t in batch):
                return True
        return False

    def do_frame_times(self, start_us: int | None, careful: bool) -> Iterator[Reply]:
        """Rows of start, end (= start where the file has no exposure), exposure known."""
        self._careful = careful
        if start_us is None and not careful:
            try:
                listed = yield from self._times_by_heads()
            except (NotSo, OSError):
                listed = None
            if listed is not None:
                yield from _rows(iter(listed))
                return
        found = self._found_frames(self._new_reader(), start_us)
        yield from _rows((int(f.timestamp), self._exposure_us(f)) for f in found if not isinstance(f, str))

    def _times_by_heads(self) -> Generator[Reply, None, list[tuple[int, int]] | None]:
        """The frames' times from their packets' heads; None where the library sees the first ones otherwise."""
        listed: list[tuple[int, int]] = []
        for found in frame_heads(self._path, read_container(self._path)):
            if found is None:
                yield Reply("progress", {}, {})
            else:
                t, told = found
                listed.append((t, self._known_us(told)))
        r = self._new_reader()
        for expected in [*listed[:COMPARED], None][:COMPARED]:
            mark(Stage.FRAMES)
            f = r.getNextFrame(self._frames) if self._frames else None
            if (None if f is None else (int(f.timestamp), self._exposure_us(f))) != expected:
                return None
        return listed

    def do_packets(self) -> Iterator[Reply]:
        """Rows of first time, last time, number of events of each packet by the index; none if it is no use."""
        try:
            rows = event_packets_listed(self._path, self._container) if self._one_of_events else None
        except (NotSo, OSError):
            rows = None
        low, high = self._plausible
        if rows is None or int(rows[:, 0].min()) < low or int(rows[:, 1].max()) > high:
            return
        for a in range(0, len(rows), _PACKETS):
            yield Reply("packets", {}, {"rows": np.ascontiguousarray(rows[a : a + _PACKETS])})

    def do_items(self, starts: dict[str, int | None], first_index: int, careful: bool) -> Iterator[Reply]:
        """Raw batches of all streams in order of their first time (frames: the end of exposure).

        Args:
            starts: for each of "events", "triggers", "imu", "frames" the time to begin at, None = the first
                of the file; a stream that is not named is left out.
            first_index: number of the first frame.
            careful: read in small steps, so that little is lost where reading breaks.
        """
        self._careful = careful
        if starts.get("events") is not None and not careful and self._events:
            first = self._first_event_us()
            yield Reply("events_begin", {"time_us": first, "key": self._plausible[0]}, {})
        r = self._new_reader()
        parts: list[Iterator[Keyed]] = []
        if self._events and "events" in starts:
            parts.append(self._event_messages(r, starts["events"]))
        if self._triggers and "triggers" in starts:
            parts.append(self._trigger_messages(r, starts["triggers"]))
        if self._imu and "imu" in starts:
            parts.append(self._imu_messages(r, starts["imu"]))
        if self._frames and "frames" in starts:
            parts.append(self._frame_messages(r, starts["frames"], first_index))
        for _, reply in heapq.merge(*parts, key=lambda k: k[0]):
            yield reply

    def _first_event_us(self) -> int:
        """Time of the file's first event or external edge; behind everything where there is none."""
        if self._events_from is not None:
            return self._events_from
        r = self._new_reader()
        low, high = self._plausible
        first = high + 1
        for found in self._event_batches(r, None):
            if not isinstance(found, str):
                columns = [p["t"] for p in found.records] or [found.arrays["t"]]
                sound = (t[(t >= low) & (t <= high)] for t in columns)
                first = next((int(t[0]) for t in sound if len(t)), first)
                if first <= high:
                    break
        for _, reply in self._trigger_messages(r, None) if self._triggers else ():
            t = reply.arrays.get("t", _NONE)
            first = min([first, *(int(v) for v in t[(t >= low) & (t <= high)][:1])])
            if int(reply.header.get("last", low)) >= first:
                break
        self._events_from = first
        return first

    def _event_messages(self, r: Any, start_us: int | None) -> Iterator[Keyed]:
        key = Key(self._plausible)
        last = None
        for found in self._event_batches(r, start_us):
            if isinstance(found, str):
                yield key.damage("events", found, last)
                continue
            last = found.last
            yield key.reply(found.first, "events", {"last": last}, found.arrays, found.records)
        if last is not None:
            yield key.reply(last, "events_ended", {}, {})

    def _event_batches(self, r: Any, start_us: int | None) -> Iterator[_Batch | str]:
        """From the start by our own reader, as far as it understands the file; else by the library."""
        again = 0
        if start_us is None and self._one_of_events and not self._careful:
            reached = Reached(self._plausible)
            try:
                for own in gathered_packets(
                    self._path, self._container, self._packets_end,
                    capacity=EVENTS_PER_MESSAGE, enough=GATHERED_EVENTS, enough_us=GATHERED_US,
                ):  # fmt: skip
                    if isinstance(own, str):
                        yield own
                        continue
                    for part in own:
                        reached.note(part["t"])
                    yield _Batch(int(own[0]["t"][0]), int(own[-1]["t"][-1]), {}, own)
                return
            except (NotSo, OSError):
                start_us, again = reached.time_us, reached.given
        for e in library_events(r, self._events, start_us, careful=self._careful):
            if isinstance(e, str):
                yield e
                continue
            t, xy, p = e.timestamps(), e.coordinates(), e.polarities()
            n = int(np.count_nonzero(t[:again] == start_us))  # those that our own reader gave
            again = 0
            for a in range(n, len(t), EVENTS_PER_MESSAGE):
                s = slice(a, a + EVENTS_PER_MESSAGE)
                arrays = {"t": t[s], "x": xy[s, 0], "y": xy[s, 1], "p": p[s]}
                yield _Batch(int(t[s][0]), int(t[s][-1]), arrays, [])

    def _exposure_us(self, f: Any) -> int:
        """Length of a frame's exposure: the file's, else what the person stated; 0 or less: not known."""
        d = f.exposure
        return self._known_us(int((d.days * 86_400 + d.seconds) * 1_000_000 + d.microseconds))

    def _known_us(self, told: int) -> int:
        return told if told > 0 or self._stated_us is None else self._stated_us

    def _trigger_messages(self, r: Any, start_us: int | None) -> Iterator[Keyed]:
        key = Key(self._plausible)
        for batch in robust(marked(Stage.TRIGGERS, lambda: r.getNextTriggerBatch(self._triggers))):
            if isinstance(batch, str):
                yield key.damage("triggers", batch)
                continue
            wanted = [m for m in batch if start_us is None or m.timestamp >= start_us]
            if not wanted:
                continue
            edges = [(int(m.timestamp), _EDGES[m.type]) for m in wanted if m.type in _EDGES]
            t = np.array([e[0] for e in edges], np.int64)
            rising = np.array([e[1] for e in edges], np.bool_)
            header = {"marks": len(wanted) - len(edges), "last": int(wanted[-1].timestamp)}
            yield key.reply(int(wanted[0].timestamp), "edges", header, {"t": t, "rising": rising})

    def _imu_messages(self, r: Any, start_us: int | None) -> Iterator[Keyed]:
        key = Key(self._plausible)
        for batch in robust(marked(Stage.IMU, lambda: r.getNextImuBatch(self._imu))):
            if isinstance(batch, str):
                yield key.damage("imu", batch)
                continue
            times = [int(m.timestamp) for m in batch if start_us is None or m.timestamp >= start_us]
            if times:
                yield key.reply(times[0], "imu", {"samples": len(times), "last": times[-1]}, {})

    def _frame_messages(self, r: Any, start_us: int | None, first_index: int) -> Iterator[Keyed]:
        key = Key(self._plausible)
        index = first_index - 1
        for f in self._found_frames(r, start_us):
            index += 1  # a frame that cannot be read keeps its number
            if isinstance(f, str):
                yield key.damage("frames", f)
                continue
            start, exposure, image = int(f.timestamp), self._exposure_us(f), f.image
            header = {
                "index": index, "start_us": start, "exposure_us": exposure, "drawn": f.source in _DRAWN,
                "x": int(f.positionX), "y": int(f.positionY), "type": str(getattr(image, "dtype", "absent")),
            }  # fmt: skip
            arrays = {"image": image_of(image)} if header["type"] == "uint8" else {}
            yield key.reply(start + max(0, exposure), "frame", header, arrays)

    def _found_frames(self, r: Any, start_us: int | None) -> Iterator[Any]:
        """Frames that begin at `start_us` or later, in order; a message (str) for what cannot be read."""
        if not self._frames:
            return
        if start_us is None:
            yield from robust(marked(Stage.FRAMES, lambda: r.getNextFrame(self._frames)))
            return
        # The library's windows are by the middle of an exposure, which lies behind its start.
        shortest = WINDOW_MIN_US if self._careful else _FRAME_WINDOW_US
        at, width, end = start_us, shortest, int(r.getTimeRange()[1]) + 1
        while at < end:
            mark(Stage.FRAMES)
            try:
                found = r.getFramesTimeRange(at, at + width, self._frames) or []
            except Exception as e:
                yield one_line(e)
                found = []
            at += width
            width = shortest if found else min(2 * width, 1 << 55)
            yield from (f for f in found if f.timestamp >= start_us)


def _rows(frames: Iterator[tuple[int, int]]) -> Iterator[Reply]:
    """Rows of start, end, exposure known."""
    while part := list(itertools.islice(frames, 256)):
        rows = [(t, t + max(e, 0), int(e > 0)) for t, e in part]
        yield Reply("times", {}, {"times": np.array(rows, np.int64)})


def _missing(c: Container) -> int:
    """Bytes that the header promises and the file lacks, at least."""
    return max(0, c.table - c.size) if c.table is not None else 0
