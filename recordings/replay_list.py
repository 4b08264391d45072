"""The frames of a replayed recording: when they were exposed, and which is the place of one."""

from __future__ import annotations

import threading
from bisect import bisect_right
from pathlib import Path

from capture.errors import CameraError, HalfmirrorError
from recordings.open import open_with
from recordings.recording import OpenOptions, ReadCancelled, Recording
from recordings.replay_job import SlowTimes, Times, first_times


class FrameList:
    """Known at once, or made while the recording plays already, by a reader of its own on a thread.

    Args:
        path, options: of the recording.
        recording: the one that plays; it takes the times when they are known.
        times: None: they are still to be found, which takes long.
        cond: guards the replay.

    Attributes:
        times: (start_us, end_us) of all frames, or of the first few as long as `complete` is False.
    """

    def __init__(
        self,
        path: Path,
        options: OpenOptions,
        recording: Recording,
        times: Times | None,
        cond: threading.Condition,
    ) -> None:
        self._path, self._options, self._recording, self._cond = path, options, recording, cond
        self.complete = times is not None
        self.times = first_times(recording) if times is None else times
        self._reader: Recording | None = None
        self._stopped = False
        self._thread: threading.Thread | None = None
        if times is None:
            self._thread = threading.Thread(target=self._make, name="frame list", daemon=True)
            self._thread.start()

    def place(self, time_us: int) -> int:
        """Place of the last frame that began at or before a time; -1 = none."""
        return bisect_right(self.times, time_us, key=lambda t: t[0]) - 1

    def require(self) -> None:
        """All frames must be known. Nobody waits for that: who asks is to give signs of life.

        Raises:
            CameraError: they are not yet.
        """
        if not self.complete:
            raise CameraError(f"replay:{self._path}: the list of its frames is still being made; try again")

    def _make(self) -> None:
        times: Times | None = None
        try:
            with open_with(self._path, self._options) as reader:
                with self._cond:
                    self._reader = reader
                    if self._stopped:
                        return
                times = reader.frame_times_us()
        except (HalfmirrorError, ReadCancelled):
            pass  # what is wrong with the file is said by the reader that plays it
        finally:
            # Whatever it ended with, a step must not be refused for ever.
            with self._cond:
                self.times = self.times if times is None else times
                if isinstance(self._recording, SlowTimes):
                    self._recording.adopt_frame_times(self.times)
                self.complete = True

    def stop(self) -> None:
        """Give it up; takes about a second at most. Not to be called with the lock."""
        with self._cond:
            self._stopped = True
            if self._reader is not None:
                self._reader.cancel()
        if self._thread is not None:
            self._thread.join(1.0)
