"""One recording being made: which items belong to it, when it is complete, what its folder holds."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from capture.codec import StreamEnd
from capture.errors import HalfmirrorError, UsageError
from capture.packets import EventPacket, Frame
from recordings.event_peak import Windows
from recordings.formats.own_about import ABOUT, HEALTH, About
from recordings.formats.own_chunks import EVENTS, FRAME, UNKNOWN_US, Draft, arrival_us
from recordings.recorder.camera_counts import CameraCounts
from recordings.recorder.disk import DiskError, free_bytes, reserve_of
from recordings.recorder.falling_silent import FallingSilent
from recordings.recorder.health import HealthWatch, report, save, save_text, text_of
from recordings.recorder.preroll import Waiting
from recordings.recorder.stream_file import TOO_SLOW, StreamFile

TAIL_US = 100_000
"""After the last frame, so that its exposure has all its events, and some behind it."""
HEALTH_S = 1.0
_STALLED_S = 5.0


@dataclass(frozen=True, slots=True)
class Limits:
    """When a recording is complete; both None: when it is stopped.

    Attributes:
        frames: so many frames, each with events from its beginning on.
        seconds: so long, by the event camera's clock; without one by the arrival of the frames.
        reserve: bytes that stay free on the disk; None: `disk.reserve_of`.
    """

    frames: int | None = None
    seconds: float | None = None
    reserve: int | None = None


def make_folder(folder: Path) -> None:
    """A new, empty folder.

    Raises:
        UsageError: it exists and is not an empty folder.
        DiskError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        taken = any(folder.iterdir())
    except (FileExistsError, NotADirectoryError):
        taken = True
    except OSError as e:
        raise DiskError(f"{folder}: cannot be made ({e.strerror or e}); choose another place with -o") from e
    if taken:
        raise UsageError(f"{folder} exists already; give another name with -o")


class Take:
    """See the module. For one thread.

    Raises:
        UsageError, DiskError: see `make_folder`; the folder cannot be written to.
    """

    def __init__(self, folder: Path, about: About, limits: Limits) -> None:
        make_folder(folder)
        self.folder, self._limits = folder, limits
        try:
            about.save(folder, wait=False)
            self._reserve = reserve_of(folder) if limits.reserve is None else limits.reserve
            self.file = StreamFile(folder, reserve=self._reserve)
        except OSError as e:
            raise DiskError(f"{folder}: cannot be written to ({e.strerror or e})") from e
        # By file name. Whoever reads the rings must not wait for the disk: the flushing thread does.
        self._unsaved: dict[str, Callable[[], None]] = {}
        self._save_aside(ABOUT, lambda: about.save(folder))
        self.watch = HealthWatch(about.rig)
        self._alone = not about.rig.has_events
        self._latency_us = round(1e3 * about.rig.clock.host_latency_ms)
        self._began = time.monotonic()
        self._saved = 0.0
        self._ends_us: int | None = None
        self._ended_s: float | None = None
        self._behind_s: float | None = None
        self._stopped_s: float | None = None
        self._silent = FallingSilent()
        self._gave_up = False
        self._lost = {EVENTS: 0, FRAME: 0}
        self._sizes: dict[str, tuple[int, int]] = {}
        self.changed = ""
        self.counts = CameraCounts({}, from_zero=True)
        self.preroll_s = 0.0

    def cameras_start(self) -> None:
        """Now, and not before: how long they took to get ready does not count."""
        self._began = time.monotonic()

    @property
    def begun(self) -> bool:
        """Items of both cameras are in it, or of the only one."""
        return len(self._sizes) >= (1 if self._alone else 2)

    def describe(self, about: About) -> None:
        """Say more exactly who the cameras are."""
        self._save_aside(ABOUT, lambda: about.save(self.folder))

    @property
    def watermark_us(self) -> int | None:
        """Events are recorded up to here."""
        return self.watch.health.until_us

    def watermark_for(self, f: Frame) -> int | None:
        """What places a frame: up to where events had come, or without an event camera its own arrival."""
        return arrival_us(f) if self._alone else self.watermark_us

    def add(
        self, item: EventPacket | Frame | StreamEnd, chunk: Draft, lost: int, windows: Windows | None = None,
        *, given_s: float | None = None,
    ) -> None:  # fmt: skip
        """Record an item that was read whole; `lost` of its stream are missing before it.

        `item` is only looked at for its stamps and size (its arrays may be gone); `chunk` is what is written;
        `windows` tell what lies where, once the events' times are gone.
        `given_s`: when its camera gave it, by `time.monotonic`; None: now.
        An item of another size than those before it is not recorded: `changed` then says why this must end.
        """
        if not self._fits(item):
            return
        if not isinstance(item, StreamEnd):
            stream = "events" if isinstance(item, EventPacket) else "frames"
            given = time.monotonic() if given_s is None else given_s
            self._silent.heard(stream, given, broken=item.gap or lost > 0)
        if chunk.kind == FRAME and not self._wanted(chunk):
            self.watch.health.frames_left_out += 1
            self._lost[FRAME] += lost
            return
        if chunk.kind in self._lost:
            chunk.lost = lost + self._lost[chunk.kind]
            self._lost[chunk.kind] = 0
        self.file.put(chunk)
        h = self.watch.health
        if isinstance(item, EventPacket):
            self.watch.events(item, chunk.first_us, chunk.lost, windows)
        elif isinstance(item, Frame):
            self.watch.frame(item, chunk.lost)
            if self._limits.frames is not None and h.frames >= self._limits.frames and self._ends_us is None:
                tail = 0 if self._alone else TAIL_US
                self._ends_us = max(chunk.until_us, h.until_us or chunk.until_us) + tail
                self._ended_s = time.monotonic()
        seconds = self._limits.seconds
        if self._ends_us is None and seconds is not None and h.first_us is not None:
            self._ends_us = h.first_us + round(seconds * 1e6)

    def _fits(self, item: EventPacket | Frame | StreamEnd) -> bool:
        """A camera that comes back with another sensor or region does not belong to what is recorded."""
        if isinstance(item, EventPacket):
            name, size = "events", (item.events.width, item.events.height)
        elif isinstance(item, Frame):
            name, size = "frames", (item.image.shape[1], item.image.shape[0])
        else:
            return True
        first = self._sizes.setdefault(name, size)
        if size != first and not self.changed:
            self.changed = (
                f"{name} are {size[0]}×{size[1]} now, {first[0]}×{first[1]} before: the camera came back with "
                "other settings; record again"
            )
        return size == first

    def _wanted(self, chunk: Draft) -> bool:
        """A counted sequence holds so many frames, each with its events; others are not of it."""
        if self._limits.frames is None:
            return True
        h = self.watch.health
        if self._alone:
            return h.frames < self._limits.frames
        if h.frames >= self._limits.frames or h.first_us is None or chunk.first_us == UNKNOWN_US:
            return False
        return chunk.first_us - self._latency_us >= h.first_us

    def behind(self, written_s: float | None) -> None:
        """More waits to be recorded, and the newest that is was written then; None: nothing waits.

        The time of `time.monotonic`. A disk that is behind is no camera that is silent.
        """
        self._behind_s = written_s

    @property
    def complete(self) -> bool:
        """Everything asked for is there, or the event camera is silent and it will not come."""
        now, seconds = self._now_s(), self._limits.seconds
        if self._ends_us is not None and self.watermark_us is not None and self.watermark_us >= self._ends_us:
            return True
        if seconds is not None:
            return now - self._began > seconds + _STALLED_S
        return self._ended_s is not None and now - self._ended_s > _STALLED_S

    def stop(self) -> None:
        """Nothing more is recorded: from here on a camera may be silent. Closing may take long after it."""
        if self._stopped_s is None:
            self._stopped_s = self._now_s()

    def _now_s(self) -> float:
        """Up to when all that the cameras gave is recorded."""
        return time.monotonic() if self._behind_s is None else self._behind_s

    def give_up(self, items: Iterable[Waiting]) -> None:
        """The program ends before the disk was ready for these: they are counted as lost."""
        for w in items:
            if not isinstance(w.packet, StreamEnd):
                self._gave_up = True
                self.file.discarded += 1
                self.watch.health.losses["ring frames" if w.ring else "ring event packets"] += w.lost

    def tick(self) -> None:
        """Rewrite `health.json` once a second."""
        now = time.monotonic()
        if now - self._saved >= HEALTH_S:
            first, self._saved = not self._saved, now
            text = text_of(self._report("recording", ""))
            if first:  # there from the beginning, and safe a second later
                with contextlib.suppress(OSError):
                    save_text(self.folder, text, wait=False)
            else:
                self._save_aside(HEALTH, lambda: save_text(self.folder, text))

    def _save_aside(self, name: str, job: Callable[[], None]) -> None:
        """Have a file written by the flushing thread, at the latest when this is finished."""
        self._unsaved[name] = job
        self.file.aside(self._save_unsaved)

    def _save_unsaved(self) -> None:
        for name in (ABOUT, HEALTH):
            job = self._unsaved.pop(name, None)
            if job is not None:
                with contextlib.suppress(OSError):  # the disk says so itself, at the next chunk
                    job()

    def figures(self) -> dict[str, Any]:
        """What a person watches while it goes on; plain values."""
        h, f = self.watch.health, self.file
        return {
            "folder": str(self.folder), "frames": h.frames, "events": h.events, "bytes": f.written,
            "queued": f.queued, "elapsed_s": time.monotonic() - self._began, "losses": self._losses(),
            "stopped": f.stopped, "stalls": f.stalls, "preroll_s": self.preroll_s, "room": self._room(),
            **self._matched(),
        }  # fmt: skip

    def _room(self) -> int | None:
        """Bytes that may still be written before the reserve is met; None while the disk does not tell."""
        try:
            return max(0, free_bytes(self.folder) - self._reserve - self.file.queued)
        except OSError:
            return None

    def _matched(self) -> dict[str, Any]:
        c = self.watch.clock()
        return {k: c.get(k) for k in ("frames_with_trigger", "frames_without_trigger", "exposure_source")}

    def _losses(self) -> dict[str, int]:
        losses = self.watch.health.losses
        losses["disk items"] = self.file.discarded
        return dict(losses)

    def _report(self, state: str, message: str, *, final: bool = False) -> dict[str, Any]:
        f = self.file
        self._losses()
        disk = {
            "bytes": f.written, "chunks": f.chunks, "waiting_bytes": f.queued, "stalls": f.stalls,
            "longest_stall_s": round(f.longest_stall_s, 3),
        }  # fmt: skip
        elapsed = time.monotonic() - self._began
        said = report(
            self.watch, state=state, message=message, elapsed_s=elapsed, disk=disk, final=final,
            cameras=self.counts.report(),
        )  # fmt: skip
        end_s = self._now_s() if self._stopped_s is None else self._stopped_s
        return {**said, "preroll_s": round(self.preroll_s, 3), "ended_early": self._silent.before(end_s)}

    def finish(self, why: str = "") -> dict[str, Any]:
        """Write what waits and close. Returns the last `health.json`; `why`: what ended it early."""
        self.stop()
        self.file.close()
        self._unsaved.pop(HEALTH, None)
        self._save_unsaved()
        stopped, h = self.file.stopped, self.watch.health
        if self._gave_up:
            why = f"{self.folder}: {TOO_SLOW}"
        if not (h.event_packets or h.frames):
            why = why or "nothing came from the cameras"
        state = "stopped" if stopped or why else "finished"
        last = self._report(state, stopped or why, final=True)
        # With no space left even for this, the one of the second before stays, or is told by the caller.
        with contextlib.suppress(OSError, HalfmirrorError):
            save(self.folder, last)
        return last
