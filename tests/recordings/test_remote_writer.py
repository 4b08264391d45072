"""A writer in a process of its own: its last word is heard once, however soon it comes; a death is told."""

from __future__ import annotations

import errno
import os
import re
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from app.output.atomic import OutputError, writing
from capture.packets import Events, TriggerEdges
from recordings.export import remote
from recordings.export.content import Content
from recordings.export.hdf5_lists import disk_errors
from recordings.export.remote import RemoteWriter
from recordings.recording import RecordingError


class Instant:
    """Writes nothing, at once; `end` is what it does when a frame comes."""

    def __init__(self, path: Path, end: str = "") -> None:
        self.content, self.notes = Content(), ["a note"]
        self._end = end

    def add(self, events: Events, edges: TriggerEdges) -> None: ...

    def add_frame(self, image: NDArray[np.uint8], start_us: int, end_us: int) -> None:
        match self._end:
            case "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            case "refused":
                raise RuntimeError("a/place.cpp:12\nthe stream is not there")
            case "other":
                raise RecordingError("no such thing")
        self.content.add_frame(image, start_us, end_us)

    def finish(self) -> None: ...

    def abandon(self) -> None: ...


IMAGE = np.zeros((4, 6), np.uint8)


class Slow:
    """A pipe whose sender is held up after each message, as on a machine with too much to do."""

    def __init__(self, pipe: Any) -> None:
        self._pipe = pipe

    def send(self, what: Any) -> None:
        self._pipe.send(what)
        if what[0] == "finish":
            while not self._pipe.poll(0.1):
                pass
            time.sleep(0.2)  # until the other end is gone

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pipe, name)


def test_an_answer_that_comes_before_one_listens(tmp_path: Path) -> None:
    writer = RemoteWriter(Instant, tmp_path / "o")
    writer._pipe = Slow(writer._pipe)  # type: ignore[assignment]
    writer.add_frame(IMAGE, 0, 10)
    writer.finish()
    assert writer.notes == ["a note"]
    assert writer.content.frames == 1


@pytest.mark.parametrize(
    ("end", "why"),
    [("killed", r"the writer died \(-9\)"), ("refused", "the stream is not there")],
)
@pytest.mark.parametrize("slow", [False, True])
def test_why_it_ended_is_told(tmp_path: Path, end: str, why: str, slow: bool) -> None:
    """Whether it is met while the next frame is sent, or at the end."""
    out = tmp_path / "o"
    writer = RemoteWriter(Instant, out, end)
    with pytest.raises(OutputError, match=rf"^cannot write {out}: {why}; choose another place"), writing(out):
        writer.add_frame(IMAGE, 0, 10)
        if slow:
            writer._process.join(30)
        for _ in range(100):
            writer.add_frame(IMAGE, 0, 10)
        writer.finish()
    writer.abandon()


def test_what_the_program_says_is_passed_on(tmp_path: Path) -> None:
    writer = RemoteWriter(Instant, tmp_path / "o", "other")
    writer.add_frame(IMAGE, 0, 10)
    with pytest.raises(RecordingError, match=r"^no such thing$"):
        writer.finish()
    writer.abandon()


@pytest.mark.parametrize("limit", ["ulimit", "FAT32"])
def test_a_death_at_the_largest_file_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    most = 50_000_000 if limit == "ulimit" else (1 << 32) - 1
    if limit == "ulimit":
        monkeypatch.setattr(remote, "_allowed_bytes", lambda: most)
    for size, why in ((most - 4096, "larger than a file can be"), (most - (2 << 20), "the writer died")):
        out = tmp_path / "o"
        with out.open("wb") as f:
            f.truncate(size)
        writer = RemoteWriter(Instant, out, "killed")
        with pytest.raises(OutputError, match=why), writing(out):
            writer.add_frame(IMAGE, 0, 10)
            writer.finish()
        writer.abandon()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EROFS])
def test_what_hdf5_has_in_words_is_an_errno_again(number: int) -> None:
    words = f"Can't write data (file write failed: errno = {number}, error message = '{os.strerror(number)}')"
    with pytest.raises(OSError, match=re.escape(os.strerror(number))) as caught, disk_errors():
        raise RuntimeError(words)
    assert caught.value.errno == number
