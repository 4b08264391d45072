"""Our own recordings (`halfmirror record`): a folder with `recording.toml`, chunks, their index, `health.json`.

Every item comes back as the camera gave it, in the order in which it came, with its stamps and marks: what is
restored from it is what was, or would have been, restored live. An unfinished one (the recorder was killed, the
disk was full) is read up to its last whole chunk.

Where a clock began anew while recording (another epoch), what follows is placed behind what came before, so
that one axis of time holds for seeking and drawing; the items keep their epochs.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from capture.camera import Progress
from capture.errors import HalfmirrorError
from capture.packets import EventPacket, Frame
from capture.registry import RigFacts
from recordings.formats import own_chunks as chunks
from recordings.formats.own_about import FORMAT, HEALTH, STREAMS, About, AboutError
from recordings.formats.own_axis import OneAxis
from recordings.formats.own_chunks import EVENTS, FRAME, HEADER, NO_EXPOSURE, UNKNOWN_US, Damaged
from recordings.formats.own_health import DAMAGED, REPAIRED, REPAIRED_WITH_LOSSES, ended_early, read_health
from recordings.formats.own_index import Rows, blocks, read_index
from recordings.recording import ReadCancelled, ReadReport, RecordingError, RecordingInfo, Remark
from sync.rig import Rig


@dataclass(slots=True)
class _Sums:
    """What the index says of all chunks together; `span`: first and last µs on the one axis."""

    packets: int = 0
    frames: int = 0
    edges: bool = False
    span: tuple[int, int] | None = None

    @classmethod
    def of(cls, rows: Rows, axis: OneAxis) -> _Sums:
        s = cls()
        for at, some in blocks(rows):
            kind = some["kind"]
            events = kind == EVENTS
            s.packets += int(np.count_nonzero(events))
            s.frames += int(np.count_nonzero(kind == FRAME))
            s.edges = s.edges or bool(some["edges"][events].any())
            placed = (some["first_us"] != UNKNOWN_US) & (kind != chunks.END)
            if placed.any():
                first = int(axis.first_us[at : at + len(some)][placed].min())
                last = int(axis.until_us[at : at + len(some)][placed].max())
                s.span = (first, last) if s.span is None else (min(s.span[0], first), max(s.span[1], last))
        return s


class OwnRecording:
    """One recording's folder. See `recordings.recording.Recording`.

    Attributes:
        about: all of `recording.toml`.
        rig: the rig it was recorded with.
        rows: the index, one row of `own_chunks.INDEX` for each whole chunk.

    Args:
        folder: its folder.
        exposure_us: length of exposures, from the frame's stamp on, where neither the camera nor trigger edges
            tell it.

    Raises:
        RecordingError: it cannot be read at all.
    """

    def __init__(self, folder: Path, exposure_us: int | None = None) -> None:
        self._folder, self._exposure_us = folder, exposure_us
        self._fd = -1
        self._cancelled = False
        self.report = ReadReport()
        try:
            self.about = About.load(folder)
            self.rig: Rig = self.about.rig
            self._fd = os.open(folder / STREAMS, os.O_RDONLY)
            found = read_index(self._fd, folder)
        except AboutError as e:
            raise RecordingError(str(e)) from e
        except OSError as e:
            self.close()
            raise RecordingError(f"{folder / STREAMS}: cannot be read ({e.strerror or e})") from e
        self.rows, self._unread = found.rows, found.bytes_unread
        self._axis = OneAxis(self.rows)
        problems = [*found.problems, *self._axis.remarks(), *self._health_problems()]
        sums = _Sums.of(self.rows, self._axis)
        if sums.edges:
            self._exposure_us = None  # the edges tell it, and better
        if not (sums.packets or sums.frames):
            self.close()
            raise RecordingError(f"{folder}: nothing was recorded; there is not one whole item in it")
        self.info = self._info(tuple(problems), sums)

    def _info(self, problems: tuple[str, ...], sums: _Sums) -> RecordingInfo:
        rig = self.rig
        name = self.about.events.model or self.about.events.name
        first, last = (0, 0) if sums.span is None else sums.span
        return RecordingInfo(
            path=self._folder, format=FORMAT, camera=name,
            event_size=(rig.events.width, rig.events.height) if sums.packets else None,
            image_size=(rig.image.width, rig.image.height) if sums.frames else None,
            has_triggers=sums.edges, start_us=first, end_us=max(first, last),
            frames=sums.frames, bytes=os.fstat(self._fd).st_size, problems=problems,
        )  # fmt: skip

    def _health_problems(self) -> list[str]:
        """What the recorder itself said."""
        health = read_health(self._folder)
        if health is None:
            return [f"{HEALTH}: missing or not readable, so what the recorder lost is not known"]
        state, message = health["state"], health["message"]
        problems: list[str] = []
        if state == "recording":
            problems.append("the recorder did not come to an end: it was killed, or is still at work")
        elif state == "stopped" and message:
            problems.append(f"recording ended early: {message}")
        elif state == REPAIRED:
            problems.append(Remark(f"{state}: {message}"))
        elif state == REPAIRED_WITH_LOSSES:
            problems.append(f"{state}: {message}")
        for place, n in health["losses"].items():
            if n:
                problems.append(f"lost{'' if place in DAMAGED else ' while recording'}: {n} {place}")
        for what, key in (("events", "gap_count"), ("frames", "frame_gap_count")):
            n = health.get(key)
            if isinstance(n, int) and n > 0:
                problems.append(f"{what} were interrupted at {n} place{'' if n == 1 else 's'} while recording")
        return problems + ended_early(health)

    def rig_facts(self) -> RigFacts | None:
        """What the rig file says, in the words of drivers; `rig` has all of it."""
        if self.info.event_size is None or self.info.image_size is None:
            return None
        rig = self.rig
        return RigFacts(
            event_size=self.info.event_size, image_size=self.info.image_size,
            image_from_event=rig.image_from_event, tone=rig.image.tone,
            one_sensor=rig.clock.relation == "same", threshold_on=rig.events.threshold_on,
            threshold_off=rig.events.threshold_off, note=rig.geometry.measured,
            host_latency_ms=rig.clock.host_latency_ms,
        )  # fmt: skip

    def items(self, start_us: int | None = None) -> Iterator[EventPacket | Frame]:
        """See `Recording.items`: in the recorded order, from the packet that reaches beyond `start_us`.

        Raises:
            RecordingError: the file cannot be read any more (the disk is gone).
            ReadCancelled: by `cancel`.
        """
        self._cancelled = False
        self.report = report = ReadReport(problems=list(self.info.problems), bytes_unread=self._unread)
        first = 0
        if start_us is not None:
            # From the packet that reaches beyond; where there are no events, from the frame.
            leads = EVENTS if self.info.event_size is not None else FRAME
            first = len(self.rows)
            for at, some in blocks(self.rows):
                beyond = (some["kind"] == leads) & (self._axis.until_us[at : at + len(some)] > start_us)
                if beyond.any():
                    first = at + int(np.argmax(beyond))
                    break
        return self._items(first, start_us, report)

    def _items(self, first: int, start_us: int | None, report: ReadReport) -> Iterator[EventPacket | Frame]:
        gap = False
        for n, row in enumerate(self.rows[first:], first):
            if self._cancelled:
                raise ReadCancelled
            kind = int(row["kind"])
            if kind == FRAME and start_us is not None and self._axis.first_us[n] < start_us:
                continue
            try:
                item = self._axis.placed(self._decode(row))
            except Damaged as e:
                report.note(f"{e}; it was left out")
                report.frames_rejected += kind == FRAME
                gap = gap or kind == EVENTS
                continue
            except HalfmirrorError as e:
                report.note(f"chunk {int(row['number'])}: {e}; it was left out")
                continue
            if isinstance(item, EventPacket):
                report.events += len(item.events)
                report.edges += len(item.triggers)
                report.events_rejected_decreasing += item.rejected.decreasing
                report.events_rejected_outside += item.rejected.outside
                if gap:
                    item, gap = replace(item, gap=True), False
                yield item
            elif isinstance(item, Frame):
                report.frames += 1
                yield item

    def _decode(self, row: NDArray[np.void]) -> chunks.Item:
        size = HEADER.size + int(row["meta"]) + int(row["body"])
        if self._fd < 0:
            raise RecordingError(f"{self._folder}: is closed; open it again")
        try:
            data = os.pread(self._fd, size, int(row["offset"]))
        except OSError as e:
            raise RecordingError(f"{self._folder / STREAMS}: cannot be read ({e.strerror or e})") from e
        head = chunks.read_head(data)
        if head.number != int(row["number"]) or head.size != size:
            raise Damaged(f"chunk {int(row['number'])} is not where the index says")
        return self._exposed(chunks.decode(head, memoryview(data)[HEADER.size :]))

    def _exposed(self, item: chunks.Item) -> chunks.Item:
        """A frame without an exposure with the stated one."""
        if self._exposure_us is None or not isinstance(item, Frame) or item.device_start_ns is None:
            return item
        if item.device_end_ns is not None:
            return item
        return replace(item, device_end_ns=item.device_start_ns + 1000 * self._exposure_us)

    def frame_times_us(self, progress: Progress | None = None) -> list[tuple[int, int | None]]:
        """See `Recording.frame_times_us`; frames on a clock of their own where they came among the events."""
        is_frame = self.rows["kind"] == FRAME
        first, until = self._axis.first_us[is_frame], self._axis.until_us[is_frame]
        start = np.where(first == UNKNOWN_US, self.info.start_us, first)
        known = (self.rows["flags"][is_frame] & NO_EXPOSURE) == 0
        return [
            (int(a), int(b) if k else self._stated_end(int(a)))
            for a, b, k in zip(start, until, known, strict=True)
        ]  # fmt: skip

    def packets(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
        """Of every event packet, by the index: its first time, up to when it is complete (µs), its events."""
        rows = self.rows["kind"] == EVENTS
        return (
            self._axis.first_us[rows],
            self._axis.until_us[rows],
            self.rows["amount"][rows].astype(np.float64),
        )

    def _stated_end(self, start_us: int) -> int | None:
        return None if self._exposure_us is None else start_us + self._exposure_us

    def cancel(self) -> None:
        """See `Recording.cancel`."""
        self._cancelled = True

    def close(self) -> None:
        """Let go of the files."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __enter__(self) -> OwnRecording:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
