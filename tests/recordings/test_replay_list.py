"""Large files play while their frames are still being listed; a seek needs the list, and nothing waits."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from capture.camera import CameraRole, EndOfStream
from capture.errors import CameraError
from capture.packets import Frame
from recordings import replay_job, replay_list
from recordings.recording import OpenOptions
from recordings.replay_reader import ReplayReader
from tests.recordings.sample import EXPOSURE_US, FRAMES, PERIOD_US, START_US

ROLES = frozenset({CameraRole.EVENTS, CameraRole.FRAMES})


class Gate:
    """Holds back the list until it is opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._open = threading.Event()
        real = replay_list.open_with

        def held(*a: Any) -> Any:
            self._open.wait(20)
            return real(*a)

        monkeypatch.setattr(replay_list, "open_with", held)
        monkeypatch.setattr(replay_job, "LARGE_BYTES", 0)

    def open(self, reader: ReplayReader | None = None) -> None:
        """Let it be made; with a reader until it has it."""
        self._open.set()
        deadline = time.monotonic() + 20
        while reader is not None and len(reader.times()) < FRAMES:
            assert time.monotonic() < deadline, "no list came"
            time.sleep(0.01)


def next_frame(reader: ReplayReader) -> Frame:
    for _ in range(20_000):
        frame = reader.take(CameraRole.FRAMES, 0.005)
        if isinstance(frame, Frame):
            return frame
        reader.take(CameraRole.EVENTS, 0.005)
    raise TimeoutError("no frame came")


@pytest.fixture
def reader(sample: Path) -> Any:
    r = ReplayReader(sample, ROLES, speed=0.0, loop=False, options=OpenOptions())
    yield r
    for role in ROLES:
        r.close(role)


def started(r: ReplayReader, epoch_ns: int = 0) -> ReplayReader:
    for role in ROLES:
        r.open(role, None)
    for role in ROLES:
        r.start(role, epoch_ns)
    return r


def to_the_end(reader: ReplayReader) -> None:
    ended: set[CameraRole] = set()
    deadline = time.monotonic() + 20
    while ended != ROLES:
        assert time.monotonic() < deadline, "no end came"
        for role in ROLES - ended:
            try:
                reader.take(role, 0.005)
            except EndOfStream:
                ended.add(role)


def test_it_plays_before_the_list_is_made(reader: ReplayReader, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(monkeypatch)
    started(reader)
    assert [next_frame(reader).sequence for _ in range(3)] == [0, 1, 2]
    status = reader.command("status", {})
    assert (status["frame"], status["frames"]) == (2, 3)
    assert len(reader.times()) == 3
    gate.open(reader)
    target = START_US + 20_000 + 6 * PERIOD_US + EXPOSURE_US // 2
    status = reader.command("seek", {"time_us": target})
    assert (status["frame"], status["frames"]) == (6, FRAMES)
    assert next_frame(reader).sequence == 6


def test_a_list_that_cannot_be_made_makes_nobody_wait(
    reader: ReplayReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr(replay_list, "open_with", gone)
    monkeypatch.setattr(replay_job, "LARGE_BYTES", 0)
    monkeypatch.setattr(threading, "excepthook", lambda _args: None)
    started(reader)
    next_frame(reader)
    assert reader.command("seek", {"time_us": START_US})["frames"] >= 1


@pytest.mark.parametrize("request_", [("seek", {"time_us": START_US + 200_000}), ("step", {"n": 1})])
def test_what_needs_the_list_is_refused_at_once(
    reader: ReplayReader, monkeypatch: pytest.MonkeyPatch, request_: tuple[str, dict[str, Any]]
) -> None:
    gate = Gate(monkeypatch)
    started(reader)
    next_frame(reader)
    began = time.monotonic()
    with pytest.raises(CameraError, match="the list of its frames is still being made; try again"):
        reader.command(*request_)
    assert time.monotonic() - began < 1  # its worker gives no sign of life meanwhile
    assert next_frame(reader).sequence == 1
    gate.open(reader)
    reader.command(*request_)


def test_one_that_starts_late_begins_at_the_beginning(sample: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(monkeypatch)
    reader = ReplayReader(sample, ROLES, speed=1.0, loop=False, options=OpenOptions())
    try:
        began = time.monotonic()
        started(reader, time.monotonic_ns() - 60_000_000_000)
        assert time.monotonic() - began < 5
        frames = [next_frame(reader), next_frame(reader)]
        assert [f.sequence for f in frames] == [0, 1]
        # At its pace, not in a hurry after a minute that has passed.
        assert frames[1].host_ns - frames[0].host_ns > 500 * PERIOD_US
    finally:
        gate.open()
        for role in ROLES:
            reader.close(role)


def test_it_plays_again_from_its_end_without_the_list(
    reader: ReplayReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch)
    started(reader)
    to_the_end(reader)
    status = reader.command("play", {})
    assert (status["frame"], status["at_end"]) == (-1, False)
    frame = next_frame(reader)
    assert (frame.sequence, frame.epoch) == (0, 1)
    gate.open()


def test_a_seek_to_the_beginning_needs_no_list(reader: ReplayReader, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(monkeypatch)
    started(reader)
    to_the_end(reader)
    # What the window asks for at the end: the beginning, and on from there.
    begin = reader.command("status", {})["start_us"]
    assert reader.command("seek", {"time_us": begin})["at_end"] is False
    reader.command("play", {})
    frame = next_frame(reader)
    assert (frame.sequence, frame.epoch) == (0, 1)
    reader.command("pause", {})
    reader.command("seek", {"time_us": begin - 1})
    frame = next_frame(reader)  # standing there, its picture comes all the same
    assert (frame.sequence, frame.epoch) == (0, 2)
    gate.open()
