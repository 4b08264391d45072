"""AEDAT 4.0 (iniVation): events, frames and triggers of one camera, through dv-processing in a sandbox.

Conventions of the format, as dv-processing hands it over: a frame's time is the **start** of its exposure;
the exposure's length stands in the file, 0 where it was not known; colour is BGR there, RGB here. Frames and
events share one clock. External trigger edges are kept; the camera's own marks (APS frame and exposure) are
counted as ignored, as are IMU samples.

A file that lost its end (partial copy) is read up to its last complete packet, see
`aedat4_container.without_index`.
"""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from capture.packets import EventPacket, Frame
from capture.registry import RigFacts
from recordings.merging import StreamMerger
from recordings.recording import ReadReport, RecordingError, RecordingInfo
from recordings.sandbox import Reply, Sandbox

_SERVER = "recordings.formats.aedat4_native:Aedat4Server"
_MB = 1e6


class Aedat4Recording:
    """One AEDAT4 file. See `recordings.recording.Recording`.

    One read at a time: a new `items` (or `frame_times_us`) ends an earlier one, whose iterator then raises.

    Args:
        path: the file.
        deadline_s: longest time without progress while reading.

    Raises:
        RecordingError: it cannot be read at all.
    """

    def __init__(self, path: Path, *, deadline_s: float = 10.0) -> None:
        self._scratch = tempfile.mkdtemp(prefix="halfmirror-")
        self._clean = weakref.finalize(self, shutil.rmtree, self._scratch, ignore_errors=True)
        self.report = ReadReport()
        size = path.stat().st_size
        self._sandbox = Sandbox(
            _SERVER, {"path": str(path.resolve()), "scratch": self._scratch},
            what=str(path), deadline_s=deadline_s, bytes_to_read=size,
        )  # fmt: skip
        try:
            d = self._sandbox.call("describe")
            self.info = _info(path, d)
        except BaseException:
            self.close()
            raise
        self._unread = int(d["unread"])
        self._times: list[tuple[int, int | None]] | None = None

    @property
    def sandbox(self) -> Sandbox:
        """The process that reads (for `cancel`, and for tests)."""
        return self._sandbox

    def rig_facts(self) -> RigFacts | None:
        """Facts when one sensor gave both streams, which their equal size tells; else None.

        Two cameras of different size in one file: their geometry is not in the file and is not guessed.
        """
        e, i = self.info.event_size, self.info.image_size
        if e is None or i is None or e != i:
            return None
        return RigFacts(
            event_size=e, image_size=i, tone="linear", one_sensor=True, exact=True,
            note="one sensor: events and frames come from the same pixels and the same clock",
        )  # fmt: skip

    def items(self, start_us: int | None = None) -> Iterator[EventPacket | Frame]:
        """See `Recording.items`; frames that began before `start_us` are left out.

        Raises:
            RecordingError: the reader crashed or hung; what came before is sound. A packet that alone is
                damaged is passed over: `report.problems` names it, the next `EventPacket` has `gap` set.
        """
        self.report = report = ReadReport(problems=list(self.info.problems), bytes_unread=self._unread)
        replies = self._sandbox.request("items", start_us=start_us)
        return self._merged(replies, report, start_us)

    def _merged(
        self, replies: Iterator[Reply], report: ReadReport, start_us: int | None
    ) -> Iterator[EventPacket | Frame]:
        i = self.info
        merger = StreamMerger(i.event_size, i.image_size, (i.start_us, i.end_us), report, start_us)
        for reply in replies:
            yield from _merge(merger, reply, report)
        yield from merger.finish()

    def frame_times_us(self) -> list[tuple[int, int | None]]:
        """See `Recording.frame_times_us`. The first call decodes every frame once."""
        if self._times is None:
            times: list[tuple[int, int | None]] = []
            for reply in self._sandbox.request("frame_times"):
                if reply.kind == "times":
                    rows: list[list[int]] = reply.arrays["times"].tolist()
                    times += [(r[0], r[1] if r[2] else None) for r in rows]
            self._times = times
        return self._times

    def close(self) -> None:
        """See `Recording.close`."""
        if hasattr(self, "_sandbox"):
            self._sandbox.close()
        self._clean()

    def __enter__(self) -> Aedat4Recording:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _merge(merger: StreamMerger, reply: Reply, report: ReadReport) -> Iterator[EventPacket | Frame]:
    """One raw message into the merger."""
    h, a = reply.header, reply.arrays
    key = int(h["key"])
    if reply.kind == "events":
        yield from merger.events(a["t"], a["x"], a["y"], a["p"], key)
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
            image = a["image"]
            yield from merger.frame(
                image, index, int(h["start_us"]), int(h["exposure_us"]), bool(h["drawn"]), key
            )
    elif reply.kind == "imu":
        _count(report, "imu", int(h["samples"]))
    elif reply.kind == "damage":
        report.note(f"a packet of {h['stream']} cannot be read ({h['text']}); it was passed over")
        if h["stream"] in ("events", "triggers"):
            merger.gap()


def _count(report: ReadReport, name: str, n: int) -> None:
    if n:
        report.ignored[name] = report.ignored.get(name, 0) + n


def _info(path: Path, d: dict[str, Any]) -> RecordingInfo:
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
    if d["cut"]:
        total = int(d["bytes"]) + int(d["missing"])
        problems.append(
            f"the file is cut: at least {d['missing'] / _MB:.1f} MB of {total / _MB:.1f} MB are missing; "
            f"readable up to {(end - start) / 1e6:.3f} s, the last {int(d['unread'])} bytes are not"
        )
    elif not d["finished"]:
        problems.append(
            f"the recording was not closed properly: readable up to {(end - start) / 1e6:.3f} s, "
            f"the last {int(d['unread'])} bytes are not"
        )
    if d["extra_streams"]:
        problems.append(f"further streams are not read: {', '.join(map(str, d['extra_streams']))}")
    if event_size and image_size and event_size != image_size:
        problems.append(
            f"events {event_size[0]}×{event_size[1]} and frames {image_size[0]}×{image_size[1]} come from two "
            "cameras and the file does not say how they lie: a rig file is needed"
        )
    return RecordingInfo(
        path=path, format="aedat4", camera=str(d["camera"]), event_size=event_size, image_size=image_size,
        has_triggers=bool(d["has_triggers"]), start_us=start, end_us=end, frames=None,
        bytes=int(d["bytes"]), problems=tuple(problems),
    )  # fmt: skip
