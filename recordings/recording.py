"""A recording: both streams of one file, lazily read in order of time, seekable."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from capture.camera import Progress
from capture.errors import HalfmirrorError, UsageError
from capture.packets import EventPacket, Frame
from capture.registry import RigFacts


class RecordingError(HalfmirrorError):
    """A recording that cannot be used; the message names the file, what is wrong and what to do."""


class ReadCancelled(Exception):
    """A read was given up by `Recording.cancel`; nothing is wrong."""


class NotARecording(UsageError):
    """The path is missing, empty, or of no known format."""


class Remark(str):
    """A line among the problems that costs nothing: how something is read that the file leaves open."""

    __slots__ = ()


# A longer exposure than this is a mistake of unit.
MAX_EXPOSURE_US = 10_000_000
MAX_SENSOR_SIDE = 16_384


@dataclass(frozen=True, slots=True)
class OpenOptions:
    """What a person states about a recording that its file may not tell.

    Attributes:
        deadline_s: longest time without progress while it is read; a reader that hangs is then stopped.
        exposure_us: length of every exposure that the file does not give; None: such frames are not restored.
        geometry: (width, height) of the event (or spike) sensor, used where the file does not give it
            (Prophesee RAW and DAT: in place of what the header says, which is then reported).
        rig: a rig file that tells how two cameras' pixels lie, where the recording does not; for what shows
            or restores it, reading does without.
    """

    deadline_s: float = 10.0
    exposure_us: int | None = None
    geometry: tuple[int, int] | None = None
    rig: Path | None = None

    def __post_init__(self) -> None:
        if self.exposure_us is not None and not 1 <= self.exposure_us <= MAX_EXPOSURE_US:
            raise UsageError(f"an exposure of {self.exposure_us} µs is out of range; give 1 to 10000000 (10 s)")
        if self.geometry is not None and not all(1 <= v <= MAX_SENSOR_SIDE for v in self.geometry):
            w, h = self.geometry
            raise UsageError(
                f"a sensor of {w}×{h} pixels is out of range; give 1 to {MAX_SENSOR_SIDE} each way"
            )


@dataclass(frozen=True, slots=True)
class RecordingInfo:
    """What a recording is, found without reading all of it where the format allows.

    Attributes:
        path: the file.
        format: e.g. "aedat4".
        camera: name or model in the file, "" when it has none.
        event_size, image_size: (width, height), None when there is no such stream.
        has_triggers: trigger edges of an external exposure signal are in it.
        start_us, end_us: time span of all streams, on the file's own axis.
        frames: number of frames when known without a full scan, else None.
        bytes: file size.
        problems: one line each: what was found wrong (cut file, missing tail and how much of it). A `Remark`
            is no loss.
        by_driver: what stamped frames on the events' clock was a program, which may be off by some ten ms: a
            driver of two cameras, whoever laid a data set out. False where the sensor itself did.
    """

    path: Path
    format: str
    camera: str
    event_size: tuple[int, int] | None
    image_size: tuple[int, int] | None
    has_triggers: bool
    start_us: int
    end_us: int
    frames: int | None
    bytes: int
    problems: tuple[str, ...] = ()
    by_driver: bool = False


# A badly damaged file meets the same trouble thousands of times; the first ones tell.
MAX_PROBLEMS = 50


@dataclass(slots=True)
class ReadReport:
    """What reading has met so far; complete once the iterator is exhausted. Each read has its own.

    `ignored` counts what is in the file and is not used, by name: "imu" samples, "camera_marks" (a DAVIS's
    own marks of frame and exposure in the trigger stream).
    """

    events: int = 0
    frames: int = 0
    edges: int = 0
    events_rejected_decreasing: int = 0
    events_rejected_outside: int = 0
    frames_rejected: int = 0
    edges_rejected: int = 0
    ignored: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    bytes_unread: int = 0

    def note(self, problem: str) -> None:
        """Add a line to `problems`; beyond `MAX_PROBLEMS` lines nothing more is added."""
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(problem)


class Recording(Protocol):
    """Every format yields the same. Use as a context manager; constant memory whatever the file's size."""

    info: RecordingInfo
    report: ReadReport

    def rig_facts(self) -> RigFacts | None:
        """What the file tells of the rig; None when events or frames are missing."""

    def items(self, start_us: int | None = None) -> Iterator[EventPacket | Frame]:
        """All items in order of time from `start_us` on.

        A frame is given at the **end** of its exposure, after the events before that time, as a live camera
        would give it. `complete_until_us` of every packet holds.
        """

    def frame_times_us(self, progress: Progress | None = None) -> list[tuple[int, int | None]]:
        """(start, end) of every frame's exposure, in order; end None when the file does not tell.

        May read the whole file once; `progress` is then called with a share 0…1.
        """

    def cancel(self) -> None:
        """Called from another thread: an iterator of `items` that waits raises `ReadCancelled` within 0.1 s.

        The next call of `items` lifts it.
        """

    def close(self) -> None:
        """Release the file and any child process."""

    def __enter__(self) -> Recording: ...

    def __exit__(self, *exc: object) -> None: ...
