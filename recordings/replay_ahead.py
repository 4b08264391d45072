"""Reads a recording ahead, on a thread of its own, into a queue for each camera."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator

from capture.camera import CameraRole
from capture.errors import HalfmirrorError
from capture.packets import EventPacket, Frame, FrameClock
from recordings.formats.own_chunks import arrival_us, place_of
from recordings.recording import ReadCancelled, Recording
from recordings.replay_job import READ_AHEAD, Job, Waiting

# An edge is looked for as far from where a clock says; and so far at most are events given beyond a frame.
EDGE_US, MAX_SETTLE_US = 1_000, 50_000


class ReadAhead:
    """What one job after another asks for, in order, with a place for each item on the axis of the replay.

    Args:
        roles: which cameras take items; those of the other kind are left out.
        loop: begin again at the end; each lap is a new epoch.

    Everything is guarded by `_cond`, which is notified of every change. A queue that is full stops the reading;
    a new job drops what was read for the last one.
    """

    def __init__(self, roles: frozenset[CameraRole], loop: bool) -> None:
        self._roles, self._loop = roles, loop
        self._recording: Recording | None = None
        self._cond = threading.Condition()
        self._queues: dict[CameraRole, deque[Waiting]] = {r: deque() for r in CameraRole}
        self._thread: threading.Thread | None = None
        self._job: Job | None = None
        self._current = Job(-1, 0, None, None)
        self._highest = -1  # epoch that an item was ever read for
        self._serial = 0
        self._failure: HalfmirrorError | None = None
        self._at_end = False
        self._settle_us = 0  # events so long after a frame tell its exposure, see `_read_ahead`

    def _run(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._pump, name="replay", daemon=True)
        self._thread.start()

    def _begin(self, job: Job) -> None:
        """Hand a job to the reading thread; what was read ahead for the last one is dropped."""
        if self._failure is not None and self._recording is not None:
            self._failure = None  # a seek may lead past the damage
        self._job, self._current, self._at_end = job, job, False
        self._highest = max(self._highest, job.epoch)
        for q in self._queues.values():
            q.clear()
        if self._recording is not None:
            self._recording.cancel()

    def _refill_after_end(self) -> bool:
        """Loop switched on when everything is read already: the next lap follows.

        Returns:
            The replay stood at its end, so that its clock is to go on from there.
        """
        stood = False
        ends = [q for q in self._queues.values() if q and q[-1].item is None]
        if self._loop and ends:
            last = ends[0][-1]
            for q in ends:
                q.pop()
            stood, self._at_end = self._at_end, False
            self._job = self._next_lap(last.job)
        return stood

    def _pump(self) -> None:
        me = threading.current_thread()
        while True:
            with self._cond:
                while self._thread is me and self._job is None:
                    self._cond.wait()
                if self._thread is not me or self._recording is None or self._job is None:
                    return
                job, self._job = self._job, None
                try:
                    # Begun under the lock: `items` lifts a cancellation, which must not be a later one's.
                    items = self._recording.items(job.start_us)
                except HalfmirrorError as e:
                    self._fail(e)
                    continue
            try:
                count = self._read_ahead(me, job, items)
            except ReadCancelled:
                continue
            except HalfmirrorError as e:
                with self._cond:
                    if self._thread is me and self._job is None:
                        self._fail(e)
                continue
            with self._cond:
                if count is not None and self._thread is me and self._job is None:
                    if self._loop and count:
                        self._job = self._next_lap(job)
                    else:
                        self._put_end(job)

    def _fail(self, e: HalfmirrorError) -> None:
        self._failure = e
        self._cond.notify_all()

    def _next_lap(self, job: Job) -> Job:
        assert self._recording is not None
        info = self._recording.info
        return Job(self._highest + 1, job.offset_us + info.end_us - info.start_us + 1, None, None)

    def _put_end(self, job: Job) -> None:
        """Due with the last item, so that a reader of either kind meets it in time."""
        assert self._recording is not None
        now = time.monotonic_ns()
        for role in self._roles:
            end = Waiting(None, self._recording.info.end_us + job.offset_us, job, now, serial=self._serial + 1)
            self._queues[role].append(end)
        self._cond.notify_all()

    def _read_ahead(self, me: threading.Thread, job: Job, items: Iterator[EventPacket | Frame]) -> int | None:
        """Fill the queues; how many items, None when the job was given up."""
        count = 0
        start, watermark, first_epoch = 0, job.start_us, None
        came_ns = step_us = 0  # of the last events: when they came, and how far they led on
        alone = self._recording is not None and self._recording.info.event_size is None
        for item in items:
            # A recording may have epochs of its own: the camera's clock began anew.
            first_epoch = item.epoch if first_epoch is None else first_epoch
            epoch = job.epoch + item.epoch - first_epoch
            role = CameraRole.FRAMES if isinstance(item, Frame) else CameraRole.EVENTS
            late = 0
            if isinstance(item, Frame):
                start, end = place_of(item, arrival_us(item) if alone else watermark)
                axis = start if end is None else end
                if job.first_frame_us is not None and start < job.first_frame_us:
                    continue
                if item.clock is not FrameClock.EVENT:
                    # Where it ended tells an edge in the next packet, and the one after that must have begun.
                    self._settle_us = min(max(self._settle_us, 2 * step_us + EDGE_US), MAX_SETTLE_US)
                    if came_ns > 0:
                        late = min(max(0, (item.host_ns - came_ns) // 1000), step_us)
            else:
                step_us = 0 if watermark is None else max(0, item.complete_until_us - watermark)
                axis = watermark = item.complete_until_us
                came_ns = item.host_ns
            if role not in self._roles:
                continue
            with self._cond:
                while self._thread is me and self._job is None and self._full(role):
                    self._cond.wait()
                if self._thread is not me or self._job is not None:
                    return None
                count += 1
                self._highest = max(self._highest, epoch)
                self._serial += 1
                waiting = Waiting(
                    item, axis + job.offset_us, job, time.monotonic_ns(), start, epoch, self._serial, late
                )
                self._queues[role].append(waiting)
                self._cond.notify_all()
        return count

    def _full(self, role: CameraRole) -> bool:
        return len(self._queues[role]) >= READ_AHEAD[role]
