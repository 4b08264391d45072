"""One recording, read ahead by a thread and handed to the two cameras of a replayed rig at its pace."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from capture.camera import CameraRole, EndOfStream, Progress
from capture.errors import CameraError, UsageError
from capture.packets import EventPacket, Frame
from recordings.recording import OpenOptions, Recording
from recordings.replay_ahead import ReadAhead
from recordings.replay_clock import ReplayClock, checked_speed
from recordings.replay_job import (
    LATE_US,
    PREROLL_US,
    Job,
    Times,
    UnusableRecording,
    Waiting,
    open_for_replay,
)
from recordings.replay_list import FrameList


class ReplayReader(ReadAhead):
    """Reads one recording for one or two cameras, keeps the pace, and does what is asked of it.

    Args:
        path: the recording.
        roles: which cameras take items; those of the other kind are left out.
        speed: 0.1 … 8 times real time, 0 = as fast as possible.
        loop: begin again at the end; each lap is a new epoch.
        options: what is stated about the recording.

    Both cameras must be read: what one of them does not take stops the other after `READ_AHEAD` items.
    Nothing is ever dropped.
    """

    def __init__(
        self,
        path: Path,
        roles: frozenset[CameraRole],
        *,
        speed: float,
        loop: bool,
        options: OpenOptions,
    ) -> None:
        super().__init__(roles, loop)
        self._path, self._options, self._speed = path, options, speed
        self._frames: FrameList | None = None
        self._clock = ReplayClock(0, speed, 0)
        self._opened: set[CameraRole] = set()
        self._running: set[CameraRole] = set()
        self._frame = -1  # place in the list of frames of the one shown last

    # -- life ---------------------------------------------------------------------------------------------

    def open(self, role: CameraRole, progress: Progress | None) -> Recording:
        """Open for one camera; the file is opened by the first of them.

        Raises:
            UnusableRecording: it cannot be read, or it lacks a stream that is wanted.
        """
        with self._cond:
            if self._recording is None:
                recording, times = open_for_replay(self._path, self._roles, self._options, progress)
                self._recording = recording
                self._frames = FrameList(self._path, self._options, recording, times, self._cond)
            self._opened.add(role)
            return self._recording

    def times(self) -> Times:
        """Times of all frames; of the first few while a large file is still looked through."""
        return [] if self._frames is None else self._frames.times

    def close(self, role: CameraRole) -> None:
        """One camera is done; the last one ends the reading and closes the file."""
        self.stop(role)
        with self._cond:
            self._opened.discard(role)
            if self._opened:
                return
            recording, self._recording = self._recording, None
            thread, self._thread = self._thread, None
            frames, self._frames = self._frames, None
            if recording is not None:
                recording.cancel()
            for q in self._queues.values():
                q.clear()
            self._job = None
            self._cond.notify_all()
        if frames is not None:
            frames.stop()
        if thread is not None:
            thread.join(2.0)
        if recording is not None:
            recording.close()

    def start(self, role: CameraRole, epoch_ns: int) -> None:
        """One camera begins to deliver; the first one starts the clock.

        The first time from the recording's beginning, or later where the common axis is late already and all
        frames are known; after a stop from where it stopped.
        """
        with self._cond:
            if self._recording is None or role not in self._opened:
                raise CameraError(f"replay:{self._path}: is not open; open it before it is started")
            if role in self._running:
                return
            self._running.add(role)
            now = time.monotonic_ns()
            if self._thread is not None:
                if len(self._running) == 1:
                    self._clock.go_on(now)
                return
            info = self._recording.info
            self._clock = ReplayClock(info.start_us, self._speed, epoch_ns or now)
            self._frame, self._failure = -1, None
            late = 0 if not epoch_ns else int((now - epoch_ns) / 1000 * self._speed)
            if late > LATE_US and not self._listed:
                self._begin_anew(now)
            elif late > LATE_US:
                span = max(1, info.end_us - info.start_us)
                late = late % span if self._loop else min(late, span)
                self._begin_at(info.start_us + late, now)
            else:
                self._begin(Job(self._highest + 1, 0, None, None))
            self._run()

    def stop(self, role: CameraRole) -> None:
        """One camera stops: it gives nothing, and keeps what it was to give next."""
        with self._cond:
            self._running.discard(role)
            self._cond.notify_all()

    # -- handing out ------------------------------------------------------------------------------------------

    def take(self, role: CameraRole, timeout_s: float) -> EventPacket | Frame | None:
        """The next item of one camera once it is due; see `Camera.read`."""
        deadline = time.monotonic() + timeout_s
        queue = self._queues[role]
        with self._cond:
            while role in self._running:
                now = time.monotonic_ns()
                wait_s = 1e9
                if queue:
                    head = queue[0]
                    due = self._due_ns(head, now)
                    if head.item is None and self._clock.paused:
                        due = None  # standing on the last picture is not the end
                    if due is not None and due <= now:
                        if self._behind(role, head, now):
                            # The other camera is to be read first: what is due at once keeps its order.
                            self._cond.wait(min(0.001, max(0.0, deadline - time.monotonic())))
                            if self._behind(role, head, now):
                                return None
                            continue
                        if head.item is None:
                            self._at_end = True
                            raise EndOfStream
                        queue.popleft()
                        return self._hand_out(head, due)
                    wait_s = wait_s if due is None else (due - now) / 1e9
                elif self._failure is not None:
                    raise UnusableRecording(str(self._failure)) from self._failure
                left = deadline - time.monotonic()
                if left <= 0:
                    return None
                self._cond.wait(min(left, wait_s))
        return None

    def _due_ns(self, w: Waiting, now: int) -> int | None:
        """When an item is to be handed out; None: not while paused."""
        if self._clock.paused:
            # Where a frame's stamps are of another clock, events behind it tell when its exposure ended.
            beyond = self._settle_us if isinstance(w.item, EventPacket) else 0
            return self._clock.due_ns(w.axis_us - beyond, now)
        due = self._clock.due_ns(w.axis_us, now)
        if due is None or self._clock.speed == 0:
            return due
        return due + round(w.late_us * 1000 / self._clock.speed)

    def _behind(self, role: CameraRole, head: Waiting, now: int) -> bool:
        """The other camera has an item that was read before this one and is due as well."""
        for other in self._running - {role}:
            if self._queues[other] and self._queues[other][0].serial < head.serial:
                due = self._due_ns(self._queues[other][0], now)
                return due is not None and due <= now
        return False

    def _hand_out(self, w: Waiting, due: int) -> EventPacket | Frame:
        self._cond.notify_all()
        self._current = w.job if w.epoch == w.job.epoch else replace(w.job, epoch=w.epoch)
        self._clock.handed_out(w.axis_us)
        assert w.item is not None
        if isinstance(w.item, Frame):
            self._frame = self._place(w.start_us) if self._listed else w.item.sequence
        # An item that waits for its reader arrived when it was due, not when it is fetched.
        came_ns = w.item.host_ns
        return replace(w.item, host_ns=max(due, w.ready_ns), epoch=w.epoch, recorded_ns=came_ns)

    @property
    def _listed(self) -> bool:
        """All frames are known."""
        return self._frames is not None and self._frames.complete

    def _place(self, time_us: int) -> int:
        """Place in the list of the last frame that began at or before a time; -1 = none."""
        return -1 if self._frames is None else self._frames.place(time_us)

    # -- requests -----------------------------------------------------------------------------------------

    def command(self, verb: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """pause, play, step(n), seek(time_us), speed(factor), loop(on), set(speed, loop), status.

        Returns the state after it: `time_us`, `start_us`, `end_us`, `paused`, `speed`, `loop`, `epoch`,
        `frame` (place of the one shown or sought last, -1 none), `frames` (how many are known), `at_end`.

        Raises:
            CameraError: unknown request, an argument missing or out of range, or not running; before all
                frames are known a step, and a seek to anywhere but the beginning.
        """
        with self._cond:
            if self._frames is not None and (verb == "step" or self._leads_on(verb, arguments)):
                self._frames.require()
            if self._recording is None or not self._running:
                raise CameraError(f"replay:{self._path}: is not running; start it before {verb!r}")
            now = time.monotonic_ns()
            if verb == "pause":
                self._clock.pause()
            elif verb == "play":
                self._clock.play(now)
                if self._at_end:
                    self._begin_anew(now)
            elif verb == "step":
                self._step(_integer(arguments, "n", 1), now)
            elif self._leads_on(verb, arguments):
                self._begin_at(_integer(arguments, "time_us"), now)
            elif verb == "seek":
                self._begin_anew(now)
            elif verb == "speed":
                self._set_speed(arguments.get("factor"), now)
            elif verb == "loop":
                self._loop = bool(arguments.get("on", True))
                self._loop_on(now)
            elif verb == "set":
                self._set(arguments, now)
            elif verb != "status":
                raise CameraError(f"replay:{self._path}: does not know the request {verb!r}")
            self._cond.notify_all()
            return self._status()

    def _status(self) -> dict[str, Any]:
        assert self._recording is not None
        info = self._recording.info
        return {
            "time_us": self._clock.reached_us - self._current.offset_us,
            "start_us": info.start_us, "end_us": info.end_us, "paused": self._clock.paused,
            "speed": self._speed, "loop": self._loop, "epoch": self._current.epoch,
            "frame": self._frame, "frames": len(self.times()), "at_end": self._at_end,
        }  # fmt: skip

    def _set(self, arguments: dict[str, Any], now: int) -> None:
        unknown = set(arguments) - {"speed", "loop"}
        if unknown:
            raise CameraError(f"replay: unknown setting {', '.join(sorted(unknown))}; known: loop, speed")
        if "speed" in arguments:
            self._set_speed(arguments["speed"], now)
        if "loop" in arguments:
            self._loop = bool(arguments["loop"])
            self._loop_on(now)

    def _loop_on(self, now: int) -> None:
        if self._refill_after_end():
            self._clock.go_on(now)  # else what passed since the end would be made up for

    def _set_speed(self, value: object, now: int) -> None:
        try:
            self._speed = checked_speed(value)
        except UsageError as e:
            raise CameraError(f"replay: {e}") from e
        self._clock.set_speed(self._speed, now)

    def _step(self, n: int, now: int) -> None:
        """Show the frame `n` places on (negative: back), then stand."""
        if not self.times():
            raise CameraError(f"replay:{self._path}: has no frames to step by")
        target = min(max(self._frame + n, 0), len(self.times()) - 1)
        if target == self._frame:
            self._clock.pause()
            return
        if target == self._frame + 1 and self._job is None and not self._at_end:
            # The next one: reading goes on without a jump, so recurrent networks keep their state.
            start, end = self.times()[target]
            self._clock.step_to((start if end is None else end) + self._current.offset_us)
            return
        self._clock.pause()
        self._begin_at(self.times()[target][0], now)

    def _leads_on(self, verb: str, arguments: dict[str, Any]) -> bool:
        """It is a seek, and not to the recording's beginning."""
        if verb != "seek" or self._recording is None:
            return False
        return _integer(arguments, "time_us") > self._recording.info.start_us

    def _begin_anew(self, now: int) -> None:
        """A new epoch from the recording's beginning, which needs no list of its frames."""
        assert self._recording is not None
        start_us = self._recording.info.start_us
        if self._listed:
            self._begin_at(start_us, now)
            return
        self._frame = -1
        # As of any seek: the first picture is due at once.
        first, end = self.times()[0] if self.times() else (start_us, None)
        self._clock.jump(first if end is None else end, now)
        self._begin(Job(self._highest + 1, 0, None, None))

    def _begin_at(self, time_us: int, now: int) -> None:
        """Seek: a new epoch, from the frame whose exposure began last before a time."""
        assert self._recording is not None
        info = self._recording.info
        time_us = min(max(time_us, info.start_us), info.end_us)
        place = self._place(time_us)
        first_frame: int | None = None
        shown_us = start = time_us
        if self.times():
            first_frame, end = self.times()[max(place, 0)]
            start = first_frame - PREROLL_US
            shown_us = first_frame if end is None else end
            self._frame = max(place, 0)
        self._clock.jump(shown_us, now)
        self._begin(Job(self._highest + 1, 0, start, first_frame))


def _integer(arguments: dict[str, Any], name: str, otherwise: int | None = None) -> int:
    value = arguments.get(name, otherwise)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise CameraError(f"replay: {name} must be a number, got {value!r}")
    return int(value)
