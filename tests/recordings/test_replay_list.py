"""Large files play while their frames are still being listed; a seek waits for the list and finds its place."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from capture.camera import CameraRole
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

    def open(self) -> None:
        self._open.set()


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


def started(r: ReplayReader) -> ReplayReader:
    for role in ROLES:
        r.open(role, None)
    for role in ROLES:
        r.start(role, 0)
    return r


def test_it_plays_before_the_list_is_made(reader: ReplayReader, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(monkeypatch)
    started(reader)
    assert [next_frame(reader).sequence for _ in range(3)] == [0, 1, 2]
    status = reader.command("status", {})
    assert (status["frame"], status["frames"]) == (2, 3)
    assert len(reader.times()) == 3
    gate.open()
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


def test_a_list_that_takes_too_long_is_said(reader: ReplayReader, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(monkeypatch)
    monkeypatch.setattr(replay_list, "LIST_S", 0.1)
    started(reader)
    next_frame(reader)
    with pytest.raises(CameraError, match="the list of its frames is still being made; try again"):
        reader.command("seek", {"time_us": START_US})
    assert next_frame(reader).sequence == 1
    gate.open()
