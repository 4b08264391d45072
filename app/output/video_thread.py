"""Writes the side-by-side video of a running session without making the session wait."""

from __future__ import annotations

import contextlib
import queue
import threading
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from app.output.disk_room import DiskRoom
from app.output.labels import side_by_side, stamped
from app.output.mp4 import Mp4Writer
from app.session import Picture

_USUAL_GAP_US = 40_000
_JUMP_US = 2_000_000


class VideoClock:
    """Times for the video: the exposures' own, on an axis without jumps.

    Exposure ends are used where they run on; after a seek, a loop or a long hole, and for pictures whose
    exposure is unknown, the video goes on by the time between arrivals.
    """

    def __init__(self) -> None:
        self._video_us = 0
        self._end_us: int | None = None
        self._host_ns: int | None = None

    def time_us(self, end_us: int | None, ready_host_ns: int) -> int:
        """Where on the video's axis a picture belongs; strictly increasing."""
        if self._host_ns is None:
            step = 0
        else:
            by_exposure = _step(end_us, self._end_us)
            by_arrival = (ready_host_ns - self._host_ns) // 1000
            step = by_exposure or (by_arrival if 0 < by_arrival < _JUMP_US else _USUAL_GAP_US)
        self._end_us, self._host_ns = end_us, ready_host_ns
        self._video_us += step
        return self._video_us


def _step(end_us: int | None, before_us: int | None) -> int | None:
    if end_us is None or before_us is None or not 0 < end_us - before_us < _JUMP_US:
        return None
    return end_us - before_us


class VideoThread:
    """A thread with a bounded queue in front of an `Mp4Writer`.

    `offer` never waits: when the encoder cannot keep up the picture is left out of the video and counted in
    `dropped`. An error of the writer is raised by the next `offer` or by `close`. Before the disk is full the
    video ends, complete: `full_s` is then its length in seconds, and `after_full` counts the pictures that came
    later.
    """

    def __init__(
        self, path: Path, *, final: Path | None = None, depth: int = 32, room: DiskRoom | None = None
    ) -> None:
        self.writer = Mp4Writer(path, final=final, live=True)
        self.dropped = self.fitted = self.after_full = 0
        self.full_s: float | None = None
        self._room = room or DiskRoom(path.parent)
        self._size: tuple[int, int] | None = None
        self._clock = VideoClock()
        self._queue: queue.Queue[Picture | None] = queue.Queue(depth)
        self._error: BaseException | None = None
        self._give_up = threading.Event()
        self._ending = False
        self._thread = threading.Thread(target=self._run, name="video", daemon=True)
        self._thread.start()

    def offer(self, picture: Picture) -> bool:
        """Hand over a picture; False when it was left out."""
        self._raise()
        try:
            self._queue.put_nowait(picture)
        except queue.Full:
            self.dropped += 1
            return False
        return True

    def end(self) -> None:
        """Say that no picture comes any more, so that the file is completed while others tidy up."""
        if self._error is None and not self._ending:
            with contextlib.suppress(queue.Full):  # then `close` says it again
                self._queue.put_nowait(None)
                self._ending = True

    def close(self) -> None:
        """Write what waits, complete the file.

        Raises:
            OutputError: disk full or not writable.
        """
        if not self._ending:
            self._say_end()
        self._thread.join()
        self._raise()

    def abandon(self) -> None:
        """Stop at once; the file is not completed."""
        self._give_up.set()
        self._say_end()
        self._thread.join()

    def _say_end(self) -> None:
        """Put the sentinel, for as long as somebody is there to take it."""
        while self._thread.is_alive():
            try:
                self._queue.put(None, timeout=0.05)
                return
            except queue.Full:
                continue

    def _run(self) -> None:
        try:
            while (picture := self._queue.get()) is not None and not self._give_up.is_set():
                if self.full_s is None:
                    self._add(picture)
                else:
                    self.after_full += 1
            if self._give_up.is_set():
                self.writer.abandon()
            else:
                self.writer.close()
        except BaseException as e:
            self._error = e
            self.writer.abandon()

    def _add(self, picture: Picture) -> None:
        sharp = middle(picture)
        sharp = None if sharp is None else stamped(sharp, picture.flags)
        image = side_by_side(picture.blurred, sharp, picture.refusal)
        time_us = self._clock.time_us(picture.exposure_end_us, picture.ready_host_ns)
        self.writer.add(self._fit(image), time_us)
        if self._room.short(self.writer.count):
            self.writer.close()
            self.full_s = time_us / 1e6

    def _fit(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A video has one size: what comes later in another one is scaled into it, with bars beside it."""
        h, w = image.shape[:2]
        self._size = self._size or (w, h)
        if (w, h) == self._size:
            return image
        self.fitted += 1
        width, height = self._size
        scale = min(width / w, height / h)
        sw, sh = max(1, round(w * scale)), max(1, round(h * scale))
        small = cv2.resize(image, (sw, sh), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        out = np.zeros((height, width, *image.shape[2:]), np.uint8)
        top, left = (height - sh) // 2, (width - sw) // 2
        out[top : top + sh, left : left + sw] = small
        return out

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error


def middle(picture: Picture) -> NDArray[np.uint8] | None:
    """The sharp picture nearest to the middle of the exposure, (H, W[, 3]) uint8, None when refused."""
    if picture.sharp is None or not picture.latents:
        return None
    best = min(range(len(picture.latents)), key=lambda i: abs(picture.latents[i] - 0.5))
    image: NDArray[np.uint8] = picture.sharp[best]
    return image
