"""What the disk can take: its speed, tried before a recording starts, and the space that stays free."""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from pathlib import Path

from capture.errors import HalfmirrorError

RESERVE_BYTES = 512 << 20
"""So much stays free (of a small disk a tenth), so that nothing else on it fails when a recording fills it."""
FAST_SCENE_EVENTS_HZ = 10e6
EVENT_BYTES = 4
"""Of one event of a scene that is fast, see `own_events`."""
_BLOCK = 4 << 20
_LARGEST_TRIAL = 2 << 30


class DiskError(HalfmirrorError):
    """A place that cannot be recorded to; the message names it and what to do."""


def reserve_of(folder: Path) -> int:
    """Bytes that are to stay free on the disk of a folder."""
    s = os.statvfs(folder)
    return min(RESERVE_BYTES, s.f_blocks * s.f_frsize // 10)


def free_bytes(folder: Path) -> int:
    """Bytes that may still be written by this user."""
    s = os.statvfs(folder)
    return s.f_bavail * s.f_frsize


def measure(folder: Path, seconds: float = 1.0) -> float:
    """Bytes per second that the disk of `folder` takes, flushing included.

    Writes for about so long into a nameless file, at most a tenth of the free space.

    Raises:
        DiskError: it cannot be written to, or is full.
    """
    path = folder / f".halfmirror-trial-{secrets.token_hex(4)}"
    block = memoryview(secrets.token_bytes(_BLOCK))  # random: some file systems compress or skip zeros
    limit = min(_LARGEST_TRIAL, free_bytes(folder) // 10)
    done, fd = 0, -1
    try:
        fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        path.unlink()
        began = time.monotonic()
        while time.monotonic() - began < seconds and done < limit:
            for _ in range(4):
                done += os.write(fd, block)
            os.fdatasync(fd)
        took = time.monotonic() - began
    except OSError as e:
        raise DiskError(
            f"{folder}: the disk cannot be written to ({e.strerror or e}); choose another place with -o"
        ) from e
    finally:
        if fd >= 0:
            with contextlib.suppress(OSError):
                os.close(fd)
        with contextlib.suppress(OSError):
            path.unlink()
    return done / took if done and took > 0 else 0.0


def needed(frame_bytes: int, rate_hz: float, events_hz: float = FAST_SCENE_EVENTS_HZ) -> float:
    """Bytes per second that a rig gives, with a fast scene in front of it."""
    return frame_bytes * rate_hz + EVENT_BYTES * events_hz


def too_slow(folder: Path, have: float, frame_bytes: int, rate_hz: float) -> str:
    """One sentence when a disk is too slow for a rig, "" when it is not. `rate_hz` 0: unknown."""
    want = needed(frame_bytes, rate_hz)
    if have >= want or not rate_hz:
        return ""
    # What is left beside the frames is what the scene may ask for.
    left = (have - frame_bytes * rate_hz) / EVENT_BYTES / 1e6
    what = f"beside the frames it holds {left:.1f} Mev/s" if left > 0 else "not even the frames fit"
    # The folder comes last: a window has room for half a line.
    return (
        f"the disk takes {have / 1e6:.0f} MB/s, the rig gives up to {want / 1e6:.0f} MB/s at {rate_hz:g} fps "
        f"and {FAST_SCENE_EVENTS_HZ / 1e6:g} Mev/s: {what}; losses are counted in health.json "
        f"(disk of {folder})"
    )
