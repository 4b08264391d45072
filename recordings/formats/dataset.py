"""A recording of a published data set: file or folder, read in a sandbox, whatever its layout.

The layouts are modules of the child (`dataset_layouts`). Every frame's time is on the events' clock. A frame
whose exposure the files do not tell is shown and not restored, unless the person states its length
(`OpenOptions.exposure_us`); the exposure then lies around the stamp, or from it on, as the layout says.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capture.camera import Progress
from capture.packets import EventPacket, Frame
from capture.registry import RigFacts
from recordings.merging import StreamMerger
from recordings.recording import OpenOptions, ReadReport, RecordingError, RecordingInfo, Remark
from recordings.sandbox import Reply, Sandbox

_SERVER = "recordings.formats.dataset_server:DatasetServer"


class DatasetRecording:
    """One recording of a data set. See `recordings.recording.Recording`.

    One read at a time: a new `items` ends an earlier one, whose iterator then raises.

    Args:
        path: file or folder.
        options: see `OpenOptions`.

    Raises:
        RecordingError: it cannot be used; says why and what to do.
    """

    def __init__(self, path: Path, options: OpenOptions) -> None:
        self._path, self._options = path, options
        self._cancelled = self._closed = False
        self._sandbox: Sandbox | None = None
        self.report = ReadReport()
        self._bytes = _bytes_of(path)
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        times: list[tuple[int, int | None]] = []
        described: dict[str, Any] = {}
        for reply in self._live().request("describe"):
            if reply.kind == "times":
                times += [(r[0], r[1] if r[2] else None) for r in reply.arrays["times"].tolist()]
            else:
                described = reply.header
        self._times = times
        self.info = _info(self._path, described, times, self._bytes, self._options)
        self._facts = _facts(self.info, described)

    def _live(self) -> Sandbox:
        """The child; a new one where the last one broke."""
        if self._closed:
            raise RecordingError(f"{self._path}: is closed; open it again")
        if self._sandbox is None or self._sandbox.closed:
            size = self._options.geometry
            self._sandbox = Sandbox(
                _SERVER,
                {
                    "path": str(self._path.resolve()), "exposure_us": self._options.exposure_us,
                    "geometry": None if size is None else list(size),
                },
                what=str(self._path), deadline_s=self._options.deadline_s, bytes_to_read=self._bytes,
            )  # fmt: skip
            if self._cancelled:
                self._sandbox.cancel()
        return self._sandbox

    @property
    def child_pid(self) -> int | None:
        """Process id of the child that reads; None when closed."""
        return None if self._sandbox is None or self._sandbox.closed else self._sandbox.pid

    def rig_facts(self) -> RigFacts | None:
        """Facts where the layout fixes how both grids lie on each other; else None."""
        return self._facts

    def items(self, start_us: int | None = None) -> Iterator[EventPacket | Frame]:
        """See `Recording.items`; frames that began before `start_us` are left out.

        Raises:
            RecordingError: reading broke off; what came is sound.
            ReadCancelled: by `cancel`.
        """
        self._cancelled = False
        sandbox = self._live()
        sandbox.resume()
        first = 0 if start_us is None else bisect_left(self._times, start_us, key=lambda t: t[0])
        self.report = report = ReadReport(problems=list(self.info.problems))
        return self._merged(sandbox.request("items", start_us=start_us, first_index=first), report, start_us)

    def _merged(
        self, replies: Iterator[Reply], report: ReadReport, start_us: int | None
    ) -> Iterator[EventPacket | Frame]:
        i = self.info
        merger = StreamMerger(i.event_size, i.image_size, (i.start_us, i.end_us), report, start_us)
        for reply in replies:
            h, a, key = reply.header, reply.arrays, int(reply.header["key"])
            if reply.kind == "events":
                yield from merger.events(a["t"], a["x"], a["y"], a["p"], key)
            elif reply.kind == "events_begin":
                merger.events_begin(int(h["time_us"]))
            elif reply.kind == "events_ended":
                merger.events_ended()
            elif reply.kind == "edges":
                yield from merger.edges(a["t"], a["rising"].astype(np.bool_), key)
            elif reply.kind == "ignored":
                for name, n in dict(h["counts"]).items():
                    report.ignored[str(name)] = report.ignored.get(str(name), 0) + int(n)
            elif reply.kind == "damage":
                if str(h["text"]) not in i.problems:  # known since it was opened
                    report.note(str(h["text"]))
                merger.gap()
            elif "image" in a:
                exposure, drawn = int(h["exposure_us"]), bool(h["drawn"])
                yield from merger.frame(a["image"], int(h["index"]), int(h["start_us"]), exposure, drawn, key)
            else:
                yield from merger.refuse_frame(f"frame {h['index']}: {h['text']}", key)
        yield from merger.finish()
        merger.tell_refused()

    def spikes(self, first: int = 0, count: int = 1 << 40) -> Iterator[NDArray[np.uint8]]:
        """A spike camera's own frames in pieces, (n, h, w) uint8 0 or 1, lazily; ends a read by `items`.

        Args:
            first: spike frame to begin with.
            count: how many.

        Raises:
            RecordingError: it is no recording of a spike camera.
        """
        for reply in self._live().request("spikes", first=first, count=count):
            yield reply.arrays["spikes"]

    def frame_times_us(self, progress: Progress | None = None) -> list[tuple[int, int | None]]:
        """See `Recording.frame_times_us`; known since it was opened."""
        return self._times

    def cancel(self) -> None:
        """See `Recording.cancel`."""
        self._cancelled = True
        if self._sandbox is not None:
            self._sandbox.cancel()

    def close(self) -> None:
        """See `Recording.close`."""
        self._closed = True
        sandbox, self._sandbox = self._sandbox, None
        if sandbox is not None:
            sandbox.close()

    def __enter__(self) -> DatasetRecording:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _info(
    path: Path, d: dict[str, Any], times: list[tuple[int, int | None]], size: int, options: OpenOptions
) -> RecordingInfo:
    """What the child says, checked."""
    start, end = int(d["start_us"]), int(d["end_us"])
    sizes = [None if d[k] is None else (int(d[k][0]), int(d[k][1])) for k in ("event_size", "image_size")]
    for s in sizes:
        if s is not None and not all(0 < v <= np.iinfo(np.int16).max for v in s):
            raise RecordingError(f"{path}: claims a sensor of {s[0]}×{s[1]} pixels; it is damaged")
    costs_nothing = {int(k) for k in d["remarks"]}
    problems = [Remark(p) if k in costs_nothing else str(p) for k, p in enumerate(d["problems"])]
    if d["unplaced"] and options.rig is None:
        problems.append(Remark(f"{d['unplaced']}: a rig file is needed (--rig)"))
    untold = sum(e is None for _, e in times)
    if untold and not d["drawn"]:
        which = "no frame has" if untold == len(times) else f"{untold} of {len(times)} frames lack"
        shown = "shown, not restored, unless --exposure-us states its length"
        problems.append(Remark(f"{which} an exposure in the file: {shown}"))
    elif options.exposure_us is not None and not d["drawn"]:
        where = "around its stamp" if d["stamp_in_middle"] else "from its stamp on"
        text = f"a frame without exposure counts as exposed for {options.exposure_us} µs {where}"
        problems.append(Remark(text))
    return RecordingInfo(
        path=path, format=str(d["format"]), camera=str(d["camera"]), event_size=sizes[0], image_size=sizes[1],
        has_triggers=bool(d["has_triggers"]), start_us=start, end_us=end, frames=len(times), bytes=size,
        problems=tuple(problems), by_driver=not d["by_sensor"],
    )  # fmt: skip


def _facts(info: RecordingInfo, d: dict[str, Any]) -> RigFacts | None:
    if info.event_size is None or info.image_size is None or d["image_from_event"] is None:
        return None
    m = np.array(d["image_from_event"], np.float64).reshape(3, 3)
    same = info.event_size == info.image_size and bool(np.allclose(m, np.eye(3)))
    return RigFacts(
        event_size=info.event_size, image_size=info.image_size, image_from_event=m, tone="linear",
        one_sensor=same, exact=not d["assumed"], note=str(d["note"]),
    )  # fmt: skip


def _bytes_of(path: Path) -> int:
    """Size of a file, or of all files in a folder."""
    if not path.is_dir():
        return path.stat().st_size
    return sum(f.stat().st_size for f in path.rglob("*") if f.is_file())
