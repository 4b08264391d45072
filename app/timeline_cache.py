"""Curves of seek bars that took a whole reading to make, kept on disk: each file is read for its own once.

Folder: `timelines/` in HALFMIRROR_CACHE or the user's cache folder. An entry is one `.npz` (arrays only,
nothing is unpickled), under a name made of the recording's place, size and time of change, and of what was
stated about it. The least recently used go. What cannot be kept or read costs another reading, and never the
program.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from pathlib import Path

import numpy as np
import platformdirs

from app.session import Timeline
from capture.parts import own_part
from recordings.recording import OpenOptions

ENTRIES = 100
_VERSION = 1
_MOST_FILES = 100_000  # of a folder: what is larger is not looked through for a name


def folder() -> Path:
    """Where entries lie."""
    root = os.environ.get("HALFMIRROR_CACHE") or platformdirs.user_cache_dir("halfmirror")
    return Path(root).expanduser() / "timelines"


def key(recording: Path, options: OpenOptions) -> str | None:
    """The name of a recording's entry as it is now; None where it cannot be had."""
    try:
        place = recording.resolve()
        files = [place]
        if place.is_dir():
            for n, path in enumerate(place.rglob("*")):
                if n >= _MOST_FILES:
                    return None
                files.append(path)
        stats = [f.stat() for f in files]
    except (OSError, RuntimeError):
        return None
    told = [len(stats), sum(s.st_size for s in stats), max(s.st_mtime_ns for s in stats)]
    said = [options.exposure_us, options.geometry]
    text = json.dumps([_VERSION, str(place), told, said])
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:32]


def load(name: str) -> Timeline | None:
    """The entry of this name; None where there is none that can be read."""
    path = folder() / f"{name}.npz"
    # A damaged archive raises errors of many kinds.
    with contextlib.suppress(Exception):
        with np.load(path, allow_pickle=False) as data:
            start, end = (int(v) for v in data["span_us"])
            rate, exposures = data["event_rate_hz"], data["exposures_us"]
        sound = rate.dtype == np.float32 and rate.ndim == 1 and len(rate) > 0
        if sound and exposures.dtype == np.int64 and exposures.shape[1:] == (2,) and start <= end:
            with contextlib.suppress(OSError):
                os.utime(path)  # the least recently used go first
            return Timeline(start, end, rate, exposures)
    return None


def store(name: str, timeline: Timeline) -> None:
    """Keep it, whole or not at all."""
    path = folder() / f"{name}.npz"
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        part = own_part(path)
        try:
            with part.open("wb") as f:
                np.savez(
                    f, span_us=np.array([timeline.start_us, timeline.end_us], np.int64),
                    event_rate_hz=timeline.event_rate_hz, exposures_us=timeline.exposures_us,
                )  # fmt: skip
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)
        kept = sorted(path.parent.glob("*.npz"), key=lambda p: p.stat().st_mtime, reverse=True)
        for old in kept[ENTRIES:]:
            old.unlink(missing_ok=True)
