"""What the seek bar of a recording shows, for a session that may end before it is read."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from app.session import Timeline
from recordings import timeline
from recordings.recording import OpenOptions


class _Stopped(Exception):
    """Nobody waits for it any more."""


def timeline_of(recording: Path, options: OpenOptions, stopped: Callable[[], bool]) -> Timeline | None:
    """Read a recording once; None where that fails, or as soon as `stopped` says so.

    Args:
        recording: its path.
        options: what is stated about it.
        stopped: asked now and then.
    """

    def go_on(_share: float) -> None:
        if stopped():
            raise _Stopped

    # A seek bar without a curve is no reason to stop, whatever the reason.
    with contextlib.suppress(Exception):
        t = timeline.build(recording, options=options, progress=go_on)
        spans = [(a, b) for a, b in t.exposures if b is not None]
        exposures = np.array(spans, np.int64).reshape(-1, 2)
        return Timeline(t.start_us, t.end_us, t.event_rate_hz.astype(np.float32), exposures)
    return None
