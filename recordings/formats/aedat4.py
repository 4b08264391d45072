"""AEDAT 4.0 (iniVation): events, frames and triggers of one camera, through dv-processing in a sandbox.

Conventions of the format, as dv-processing hands it over: a frame's time is the **start** of its exposure;
the exposure's length stands in the file, 0 where it was not known; colour is BGR there, RGB here. Frames and
events share one clock. External trigger edges are kept; the camera's own marks (APS frame and exposure) are
counted as ignored, as are IMU samples.

Damage. A file that lost its end (partial copy) is read up to its last complete packet, see
`aedat4_container.without_index`. A packet that dv-processing refuses is passed over. A packet over which it
hangs (one wrong byte in an LZ4 file does that) or crashes ends the child; a new one goes on behind it. All of
it is in `report.problems`, and event packets near it have `gap` set.
"""

from __future__ import annotations

import secrets
import shutil
import weakref
from bisect import bisect_left
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capture.camera import Progress
from capture.packets import EventPacket, Frame
from capture.registry import RigFacts
from capture.scratch import NoScratch, scratch_root
from recordings.formats.aedat4_stages import STREAMS, Stage
from recordings.merging import StreamMerger
from recordings.recording import ReadReport, RecordingError, RecordingInfo, Remark
from recordings.sandbox import ReaderBroken, Reply, Sandbox

_SERVER = "recordings.formats.aedat4_native:Aedat4Server"
# So often a new child goes on behind a place that broke the last one. Each hang costs a deadline.
MAX_RESUMES = 8
# A file that broke its reader once gets no more patience than this for each further place.
IMPATIENT_S = 2.0
# What is passed over at such a place, at first; doubled while the next try breaks at once.
SKIP_US = 20_000


class Aedat4Recording:
    """One AEDAT4 file. See `recordings.recording.Recording`.

    One read at a time: a new `items` (or `frame_times_us`) ends an earlier one, whose iterator then raises.

    Args:
        path: the file.
        deadline_s: longest time without progress while reading.
        exposure_us: length of exposures that the file does not give, from the frame's stamp on.
        rig_stated: how two cameras lie is told elsewhere, so that the file need not.

    Raises:
        RecordingError: it cannot be read at all.
    """

    def __init__(
        self, path: Path, *, deadline_s: float = 10.0, exposure_us: int | None = None, rig_stated: bool = False
    ) -> None:
        self._path, self._deadline_s, self._exposure_us = path, deadline_s, exposure_us
        self._size = path.stat().st_size
        # Made by a child that needs it (a cut or oddly named file), removed here. Others do without any place.
        try:
            root = scratch_root()
        except NoScratch:
            root = Path("/tmp")
        self._scratch, self._children = root / f"halfmirror-recording-{secrets.token_hex(8)}", list[Path]()
        self._clean = weakref.finalize(self, _remove, self._children)
        self._times: list[tuple[int, int | None]] | None = None
        self._avoid: set[int] = set()
        self._cancelled = False
        self.report = ReadReport()
        self._sandbox: Sandbox | None = None
        try:
            description = self._reopen()
            self.info = _info(path, description, rig_stated)
            self._two_cameras = bool(description["two_cameras"])
            self._assumed = bool(description["assumed"])
        except BaseException:
            self.close()
            raise
        self._unread = int(description["unread"])

    @property
    def child_pid(self) -> int | None:
        """Process id of the child that reads; None when closed."""
        return None if self._sandbox is None or self._sandbox.closed else self._sandbox.pid

    def _reopen(self) -> dict[str, Any]:
        """A fresh child that has opened the file; parts of the file that break it are left out."""
        while True:
            if self._sandbox is not None:
                self._sandbox.close()
            scratch = self._scratch.with_name(f"{self._scratch.name}-{len(self._children)}")
            self._children.append(scratch)
            self._sandbox = Sandbox(
                _SERVER,
                {"path": str(self._path.resolve()), "scratch": str(scratch), "exposure_us": self._exposure_us},
                what=str(self._path), deadline_s=self._deadline_s, bytes_to_read=self._size,
            )  # fmt: skip
            if self._cancelled:
                self._sandbox.cancel()
            try:
                return self._sandbox.call("describe", avoid=sorted(self._avoid))
            except ReaderBroken as e:
                self._deadline_s = min(self._deadline_s, IMPATIENT_S)
                if e.stage not in (Stage.INDEX, Stage.SPAN, Stage.EDGES) or e.stage in self._avoid:
                    raise
                self._avoid.add(e.stage)

    def rig_facts(self) -> RigFacts | None:
        """Facts when one sensor gave both streams; else None. Their equal size tells, unless the file does.

        Two cameras of different size in one file: their geometry is not in the file and is not guessed.
        """
        e, i = self.info.event_size, self.info.image_size
        if e is None or i is None or e != i or self._two_cameras:
            return None
        note = "one sensor: events and frames come from the same pixels and the same clock"
        if self._assumed:
            note = "events taken to lie on the frame's own pixels, as in the recording that was exported"
        return RigFacts(
            event_size=e, image_size=i, tone="linear", one_sensor=True, exact=not self._assumed, note=note
        )

    def items(self, start_us: int | None = None) -> Iterator[EventPacket | Frame]:
        """See `Recording.items`; frames that began before `start_us` are left out.

        Raises:
            RecordingError: the file is damaged in more places than are passed over; what came is sound.
            ReadCancelled: by `cancel`.
        """
        self._resume()
        first = 0
        if start_us is not None and self.info.image_size is not None:
            first = bisect_left(self.frame_times_us(), start_us, key=lambda t: t[0])
        self.report = report = ReadReport(problems=list(self.info.problems), bytes_unread=self._unread)
        starts: dict[str, int | None] = dict.fromkeys(STREAMS.values(), start_us)
        replies = self._read("items", report, starts, first)
        return self._merged(replies, report, start_us)

    def _merged(
        self, replies: Iterator[Reply], report: ReadReport, start_us: int | None
    ) -> Iterator[EventPacket | Frame]:
        i = self.info
        merger = StreamMerger(i.event_size, i.image_size, (i.start_us, i.end_us), report, start_us)
        for reply in replies:
            yield from _merge(merger, reply, report)
        yield from merger.finish()
        merger.tell_refused()

    @property
    def frame_times_known(self) -> bool:
        """The first pass over all frames has been made."""
        return self._times is not None

    def adopt_frame_times(self, times: list[tuple[int, int | None]]) -> None:
        """Take the frames' times from another reader of the same file."""
        self._times = times

    def frame_times_us(self, progress: Progress | None = None) -> list[tuple[int, int | None]]:
        """See `Recording.frame_times_us`. The first call decodes every frame once."""
        if self._times is None:
            self._resume()
            times: list[tuple[int, int | None]] = []
            span = max(1, self.info.end_us - self.info.start_us)
            starts: dict[str, int | None] = {"frames": None}
            for reply in self._read("frame_times", ReadReport(), starts, 0):
                if reply.kind == "times":
                    rows: list[list[int]] = reply.arrays["times"].tolist()
                    times += [(r[0], r[1] if r[2] else None) for r in rows]
                if progress is not None:
                    at = times[-1][0] if times else self.info.start_us
                    progress(min(1.0, max(0.0, (at - self.info.start_us) / span)))
            self._times = times
        return self._times

    def packets(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]] | None:
        """Of every packet of events, by the file's index: its first time, its last (µs), its events.

        None where there is no index, or none that can be used. Ends a read by `items`.
        """
        self._resume()
        try:
            found = [reply.arrays["rows"] for reply in self._asked("packets")]
        except ReaderBroken:
            return None
        if not found:
            return None
        first, last, amount = np.concatenate(found).T
        return first, last, amount.astype(np.float64)

    def _read(
        self, verb: str, report: ReadReport, starts: dict[str, int | None], first: int
    ) -> Iterator[Reply]:
        """The replies to a request. Where the child breaks, a new one goes on behind that place.

        The request itself is sent now, so that an earlier read ends now.
        """
        return self._resumed(self._ask(verb, starts, first, careful=False), verb, report, starts, first)

    def _ask(self, verb: str, starts: dict[str, int | None], first: int, *, careful: bool) -> Iterator[Reply]:
        if verb == "items":
            return self._asked("items", starts=starts, first_index=first, careful=careful)
        return self._asked("frame_times", start_us=starts["frames"], careful=careful)

    def _asked(self, verb: str, **arguments: Any) -> Iterator[Reply]:
        if self._sandbox is None or self._sandbox.closed:
            if self._sandbox is None:
                raise RecordingError(f"{self._path}: is closed; open it again")
            self._reopen()
        return self._sandbox.request(verb, **arguments)

    def _resumed(
        self, replies: Iterator[Reply], verb: str, report: ReadReport, starts: dict[str, int | None], first: int
    ) -> Iterator[Reply]:
        reached = {name: _or(t, self.info.start_us) for name, t in starts.items()}
        skip, resumes, key, broken_at, careful = SKIP_US, 0, 0, -1, False
        given = _Given()
        while True:
            try:
                for reply in map(given.left_of, replies):
                    key = int(reply.header.get("key", key))
                    self._follow(reply, reached)
                    if reply.kind == "frame":
                        first = int(reply.header["index"]) + 1
                    yield reply
                return
            except ReaderBroken as e:
                stream = STREAMS.get(e.stage)
                resumes += 1
                if stream not in starts or resumes > MAX_RESUMES:
                    raise
                self._deadline_s = min(self._deadline_s, IMPATIENT_S)
                at = (reached[stream] - self.info.start_us) / 1e6
                if stream == "events" and not careful:
                    # What it had read and not handed over is lost with it: from there again, in small steps.
                    report.note(f"the reader {e.how} over {stream} at {at:.3f} s or later")
                    starts, careful = dict(reached), True
                    starts[stream] = given.again(reached[stream])
                    self._reopen()
                    replies = self._ask(verb, starts, first, careful=True)
                    continue
                careful = True
                # Where it stands still the steps grow; where it got on, they begin small again.
                skip = 2 * skip if reached[stream] == broken_at else SKIP_US
                over = f"{skip / 1e3:g} ms of them were passed over"
                report.note(f"the reader {e.how} over {stream} at {at:.3f} s; {over}")
                yield Reply("damage", {"stream": stream, "text": "", "key": key}, {})
                if stream == "frames":
                    first += 1
                starts = dict(reached)
                starts[stream] = reached[stream] = broken_at = reached[stream] + skip
                self._reopen()
                replies = self._ask(verb, starts, first, careful=True)

    def _follow(self, reply: Reply, reached: dict[str, int]) -> None:
        """Where each stream would have to go on."""
        h = reply.header
        if reply.kind == "frame":
            stream, t = "frames", int(h["start_us"]) + 1
        elif reply.kind == "times":
            stream, t = "frames", int(reply.arrays["times"][-1, 0]) + 1
        elif "last" in h:
            stream, t = {"edges": "triggers"}.get(reply.kind, reply.kind), int(h["last"]) + 1
        else:
            return
        if stream in reached and t <= self.info.end_us + 1:  # a wild stamp leads nowhere
            reached[stream] = max(reached[stream], t)

    def cancel(self) -> None:
        """See `Recording.cancel`."""
        self._cancelled = True
        if self._sandbox is not None:
            self._sandbox.cancel()

    def _resume(self) -> None:
        self._cancelled = False
        if self._sandbox is not None:
            self._sandbox.resume()

    def close(self) -> None:
        """See `Recording.close`."""
        sandbox, self._sandbox = self._sandbox, None
        if sandbox is not None:
            sandbox.close()
        self._clean()

    def __enter__(self) -> Aedat4Recording:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class _Given:
    """The events handed out last: where reading begins at their last time again, those of it come twice."""

    def __init__(self) -> None:
        self._last: list[NDArray[np.int64]] = []
        self._left_out = 0

    def left_of(self, reply: Reply) -> Reply:
        """The reply without what was handed out before."""
        if reply.kind != "events" or not len(reply.arrays["t"]):
            return reply
        if self._left_out:
            twice = int(np.count_nonzero(reply.arrays["t"][: self._left_out] == self._last[-1][-1]))
            self._left_out = 0
            reply = reply._replace(arrays={k: a[twice:] for k, a in reply.arrays.items()})
        t = reply.arrays["t"]
        if len(t):
            same = bool(self._last) and t[0] == t[-1] == self._last[-1][-1]
            self._last = [*self._last, t] if same else [t]
        return reply

    def again(self, next_us: int) -> int:
        """Where to begin so that nothing is left out; `next_us` when nothing was given yet."""
        if not self._last:
            return next_us
        time = self._last[-1][-1]
        self._left_out = sum(int(np.count_nonzero(t == time)) for t in self._last)
        return int(time)


def _or(t: int | None, otherwise: int) -> int:
    return otherwise if t is None else t


def _merge(merger: StreamMerger, reply: Reply, report: ReadReport) -> Iterator[EventPacket | Frame]:
    """One raw message into the merger."""
    h, a = reply.header, reply.arrays
    key = int(h["key"])
    if reply.kind == "events":
        yield from merger.events(a["t"], a["x"], a["y"], a["p"], key)
    elif reply.kind == "events_begin":
        merger.events_begin(int(h["time_us"]))
    elif reply.kind == "events_ended":
        merger.events_ended()
    elif reply.kind == "edges":
        _count(report, "camera_marks", int(h["marks"]))
        yield from merger.edges(a["t"], a["rising"], key)
    elif reply.kind == "frame":
        index, at = int(h["index"]), (int(h["x"]), int(h["y"]))
        if "image" not in a:
            yield from merger.refuse_frame(f"frame {index}: its pixels are {h['type']}, not 8 bit", key)
        elif at != (0, 0):
            yield from merger.refuse_frame(f"frame {index}: it shows a part of the sensor, from {at}", key)
        else:
            start, exposure = int(h["start_us"]), int(h["exposure_us"])
            yield from merger.frame(a["image"], index, start, exposure, bool(h["drawn"]), key)
    elif reply.kind == "imu":
        _count(report, "imu", int(h["samples"]))
    elif reply.kind == "damage":
        if h["text"]:
            report.note(f"a packet of {h['stream']} cannot be read ({h['text']}); it was passed over")
        if h["stream"] == "events":
            yield from merger.reached(key)  # what lies whole before it has no gap
            merger.gap()


def _remove(folders: list[Path]) -> None:
    """What children were given; one that was killed has removed nothing."""
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def _count(report: ReadReport, name: str, n: int) -> None:
    if n:
        report.ignored[name] = report.ignored.get(name, 0) + n


def _info(path: Path, d: dict[str, Any], rig_stated: bool) -> RecordingInfo:
    """What the child says of the file, checked."""
    start, end = int(d["start_us"]), int(d["end_us"])
    if not -(1 << 62) < start <= end < 1 << 62:
        raise RecordingError(f"{path}: holds no data (its index gives no time span); nothing can be read")
    sizes = [None if d[k] is None else (int(d[k][0]), int(d[k][1])) for k in ("event_size", "image_size")]
    for s in sizes:
        if s is not None and not all(0 < v <= np.iinfo(np.int16).max for v in s):
            raise RecordingError(f"{path}: claims a sensor of {s[0]}×{s[1]} pixels; its header is damaged")
    event_size, image_size = sizes
    problems: list[str] = []
    seconds, unread = (end - start) / 1e6, int(d["unread"])
    if d["cut"]:
        total = int(d["bytes"]) + int(d["missing"])
        problems.append(
            f"the file is cut: at least {_bytes(int(d['missing']))} of {_bytes(total)} are missing; "
            f"readable up to {seconds:.3f} s, the last {_bytes(unread)} are not"
        )
    elif not d["finished"]:
        text = f"the recording was not closed properly: readable up to {seconds:.3f} s, "
        if unread:
            problems.append(text + f"the last {_bytes(unread)} are not")
        else:
            problems.append(Remark(text + "its end"))
    if d["index_lost"]:
        problems.append(Remark("the file's index is damaged; it is read without"))
    if d["index_lost"] or not (d["finished"] or d["cut"]):
        text = "without an index all of it is read whenever it is opened; "
        problems.append(Remark(text + "halfmirror export --to aedat4 writes a file that has one"))
    if d["extra_streams"]:
        further = ", ".join(map(str, d["extra_streams"]))
        problems.append(Remark(f"further streams are not read: {further}"))
    apart = event_size != image_size or bool(d["two_cameras"])
    if event_size and image_size and apart and not rig_stated:
        text = (
            f"events {event_size[0]}×{event_size[1]} and frames {image_size[0]}×{image_size[1]} come from two "
        )
        problems.append(
            Remark(text + "cameras and the file does not say how they lie: a rig file is needed (--rig)")
        )
    return RecordingInfo(
        path=path, format="aedat4", camera=str(d["camera"]), event_size=event_size, image_size=image_size,
        has_triggers=bool(d["has_triggers"]), start_us=start, end_us=end, frames=None,
        bytes=int(d["bytes"]), problems=tuple(problems), by_driver=bool(d["by_driver"]),
    )  # fmt: skip


def _bytes(n: int) -> str:
    """A number of bytes in words."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n >= size:
            return f"{n / size:.1f} {unit}"
    return f"{n} bytes"
