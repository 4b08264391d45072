"""What a replay reads next, what it has read ahead, and the opening of what it reads."""

from __future__ import annotations

import contextlib
import itertools
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from capture.camera import CameraRole, Progress
from capture.errors import CameraError, HalfmirrorError, UsageError
from capture.packets import EventPacket, Frame
from recordings.open import open_with, require_events, require_frames
from recordings.recording import OpenOptions, ReadCancelled, Recording

# Read ahead at most this many items of each kind: enough for the pace, constant memory.
READ_AHEAD = {CameraRole.EVENTS: 32, CameraRole.FRAMES: 8}
# A seek also reads the events of this time before the exposure, for restorers that want a margin.
PREROLL_US = 100_000
# A replay that starts this late on the common axis (a restarted worker) begins where the others are.
LATE_US = 500_000


# In larger files the times of all frames are sought while it plays already.
LARGE_BYTES = 200 << 20
# Items at the beginning that are looked at for the first frames.
LOOKED_AT = 200
# While a recording is opened its progress is told so often.
TOLD_S = 0.1

Times = list[tuple[int, int | None]]


class UnusableRecording(CameraError, UsageError):
    """A recording that cannot be replayed (further). To try again would meet the same file."""

    exit_code = 1


@dataclass(frozen=True, slots=True)
class Job:
    """What to read: one pass over the recording, or its part from a seek on."""

    epoch: int
    offset_us: int  # file time + this = axis time; laps of a loop lie one after another on the axis
    start_us: int | None
    first_frame_us: int | None  # frames that began before this only belong to the preroll


@dataclass(frozen=True, slots=True)
class Waiting:
    """An item read ahead; `item` None = the end.

    `late_us`: so long after the events before it a frame came whose stamps are of another clock. The next
    events come later, and the rest of its exposure with them: given with the former, it would come before it
    has ended.
    """

    item: EventPacket | Frame | None
    axis_us: int
    job: Job
    ready_ns: int
    start_us: int = 0  # of a frame's exposure, in the file
    epoch: int = 0
    serial: int = 0  # place in the order in which both kinds were read
    late_us: int = 0


@runtime_checkable
class SlowTimes(Protocol):
    """A recording that has to be read through once before the times of its frames are known."""

    @property
    def frame_times_known(self) -> bool:
        """That has been done."""

    def adopt_frame_times(self, times: Times) -> None:
        """Take the times from another reader of the same file."""


def open_for_replay(
    path: Path, roles: frozenset[CameraRole], options: OpenOptions, progress: Progress | None
) -> tuple[Recording, Times | None]:
    """The recording with the streams that are wanted, and the times of its frames.

    None in their place: to find them takes long, and playing need not wait for it.

    Opening may take long as well (a file without an index is read whole): meanwhile `progress` is called ten
    times a second. What it raises ends the waiting.

    Raises:
        UnusableRecording: it cannot be read, or it lacks a stream that is wanted.
        UsageError: no recording at all.
    """
    if progress is None:
        return _open(path, roles, options, None)
    opening = _Opening(path, roles, options)
    try:
        while not opening.done.wait(TOLD_S):
            progress(opening.share)
    except BaseException:
        opening.give_up()
        raise
    return opening.result()


class _Opening:
    """The same on a thread of its own.

    Attributes:
        done: it has ended.
        share: 0…1 of looking for the frames' times.
    """

    def __init__(self, path: Path, roles: frozenset[CameraRole], options: OpenOptions) -> None:
        self.done, self.share = threading.Event(), 0.0
        self._what = (path, roles, options)
        self._made: tuple[Recording, Times | None] | None = None
        self._error: BaseException | None = None
        self._given_up = False
        self._guard = threading.Lock()
        threading.Thread(target=self._work, name="opening", daemon=True).start()

    def _work(self) -> None:
        try:
            made = _open(*self._what, self._tell)
            with self._guard:
                self._made = made
                unwanted = self._given_up
            if unwanted:
                made[0].close()
        except BaseException as e:  # for the thread that waits
            self._error = e
        finally:
            self.done.set()

    def _tell(self, share: float) -> None:
        if self._given_up:
            raise ReadCancelled
        self.share = share

    def give_up(self) -> None:
        """Nobody waits any more: whatever comes of it is closed."""
        with self._guard:
            self._given_up = True
            made = self._made
        if made is not None:
            made[0].close()

    def result(self) -> tuple[Recording, Times | None]:
        """What `open_for_replay` returns or raises, once it is done."""
        if self._error is not None:
            raise self._error
        assert self._made is not None
        return self._made


def _open(
    path: Path, roles: frozenset[CameraRole], options: OpenOptions, progress: Progress | None
) -> tuple[Recording, Times | None]:
    try:
        r = open_with(path, options)
        try:
            if CameraRole.EVENTS in roles:
                require_events(r)
            if CameraRole.FRAMES in roles:
                require_frames(r)
            if isinstance(r, SlowTimes) and r.info.bytes > LARGE_BYTES and r.info.image_size is not None:
                return r, None
            return r, r.frame_times_us(progress)
        except BaseException:
            r.close()
            raise
    except UsageError:
        raise
    except HalfmirrorError as e:
        raise UnusableRecording(str(e)) from e


def first_times(recording: Recording, count: int = 3) -> Times:
    """Times of the first frames, as far as the beginning of the file has them."""
    found: Times = []
    with contextlib.suppress(HalfmirrorError):  # a damaged beginning is said when it is read
        for item in itertools.islice(recording.items(), LOOKED_AT):
            if isinstance(item, Frame) and item.device_start_ns is not None:
                end = None if item.device_end_ns is None else item.device_end_ns // 1000
                found.append((item.device_start_ns // 1000, end))
                if len(found) == count:
                    break
    return found
