"""What the seek bar of a recording shows, for a session that may end before it is read."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from app import timeline_cache
from app.session import Timeline
from recordings import timeline
from recordings.recording import OpenOptions

KEPT_S = 2.0  # what is made sooner is made again
LONGEST_REST_S = 0.05


class _Stopped(Exception):
    """Nobody waits for it any more."""


def timeline_of(recording: Path, options: OpenOptions, stopped: Callable[[], bool]) -> Timeline | None:
    """Read a recording once; None where that fails, or as soon as `stopped` says so.

    It reads half of the time at most, so that whoever plays the recording is not held up. What took long is
    kept for the next time.

    Args:
        recording: its path.
        options: what is stated about it.
        stopped: asked now and then.
    """

    resumed = began = time.monotonic()

    def go_on(_share: float) -> None:
        nonlocal resumed
        if stopped():
            raise _Stopped
        time.sleep(min(time.monotonic() - resumed, LONGEST_REST_S))
        resumed = time.monotonic()

    # A seek bar without a curve is no reason to stop, whatever the reason.
    with contextlib.suppress(Exception):
        name = timeline_cache.key(recording, options)
        kept = None if name is None else timeline_cache.load(name)
        if kept is not None:
            return kept
        t = timeline.build(recording, options=options, progress=go_on)
        spans = [(a, b) for a, b in t.exposures if b is not None]
        exposures = np.array(spans, np.int64).reshape(-1, 2)
        made = Timeline(t.start_us, t.end_us, t.event_rate_hz.astype(np.float32), exposures)
        if name is not None and time.monotonic() - began > KEPT_S:
            timeline_cache.store(name, made)
        return made
    return None


class TimelineWhenAsked:
    """The same on a thread of its own from when it is first asked for; nobody else needs it read.

    Args:
        recording, options, stopped: as of `timeline_of`.
    """

    def __init__(self, recording: Path, options: OpenOptions, stopped: Callable[[], bool]) -> None:
        self._what = (recording, options, stopped)
        self._made: Timeline | None = None
        self._thread: threading.Thread | None = None

    def get(self) -> Timeline | None:
        """It, once it is there. For one thread; returns at once."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._make, name="timeline", daemon=True)
            self._thread.start()
        return self._made

    def _make(self) -> None:
        self._made = timeline_of(*self._what)
