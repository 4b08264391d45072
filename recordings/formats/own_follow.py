"""Reads one of our own recordings while it is being written: the same items as `OwnRecording` gives later."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from capture.documents import parse_json
from capture.errors import HalfmirrorError
from capture.packets import EventPacket, Frame
from recordings.formats import own_chunks as chunks
from recordings.formats.own_about import HEALTH, STREAMS
from recordings.formats.own_chunks import HEADER, Damaged
from recordings.recording import RecordingError

LOOK_S = 0.1


class NotFollowed(HalfmirrorError):
    """Following was given up; nothing is wrong with what was recorded."""


def follow(folder: Path, alive: Callable[[], bool]) -> Iterator[EventPacket | Frame]:
    """Every item in the order of the file, waiting for those that are still to come, to the recording's end.

    The end is what `health.json` says. Chunks appear in the file from their beginning on, so one that is not
    there whole is waited for.

    Args:
        folder: the recording's; may still have to appear.
        alive: called ten times a second while waiting; False: nobody writes any more.

    Raises:
        NotFollowed: `alive` says no before the end.
        RecordingError: what is there is not what was written.
    """
    path = folder / STREAMS
    while not path.exists():
        _wait(folder, alive)
    fd, at = os.open(path, os.O_RDONLY), 0
    try:
        ended = False
        while True:
            try:
                got = _chunk(fd, at)
            except Damaged as e:
                raise RecordingError(f"{path}: {e} right after it was written") from e
            if got is None:
                if ended:
                    return
                # Only here, not for each chunk. What the file holds after it has ended is all: once more.
                ended = _ended(folder)
                if not ended:
                    _wait(folder, alive)
                continue
            head, data = got
            at += head.size
            try:
                item = chunks.decode(head, memoryview(data))
            except Damaged as e:
                raise RecordingError(f"{path}: {e} right after it was written") from e
            except HalfmirrorError:
                continue  # a packet that breaks its contract is left out later, too
            if isinstance(item, (EventPacket, Frame)):
                yield item
    except OSError as e:
        raise RecordingError(f"{path}: cannot be read ({e.strerror or e})") from e
    finally:
        os.close(fd)


def _chunk(fd: int, at: int) -> tuple[chunks.Head, bytes] | None:
    """The chunk at a place, None while it is not there whole."""
    start = os.pread(fd, HEADER.size, at)
    if len(start) < HEADER.size:
        return None
    head = chunks.read_head(start)
    data = os.pread(fd, head.size - HEADER.size, at + HEADER.size)
    return (head, data) if len(data) == head.size - HEADER.size else None


def _ended(folder: Path) -> bool:
    try:
        state = parse_json((folder / HEALTH).read_text(encoding="utf-8"))["state"]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return bool(state != "recording")


def _wait(folder: Path, alive: Callable[[], bool]) -> None:
    if not alive():
        raise NotFollowed(f"{folder}: following it was given up before its end")
    time.sleep(LOOK_S)
