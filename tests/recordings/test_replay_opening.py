"""A recording that takes long to open: signs of life meanwhile, and an end where nobody waits any more."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from capture.camera import CameraRole
from capture.errors import UsageError
from recordings import replay_job
from recordings.formats.aedat4 import Aedat4Recording
from recordings.recording import OpenOptions
from recordings.replay_job import UnusableRecording, open_for_replay

BOTH = frozenset({CameraRole.EVENTS, CameraRole.FRAMES})


class Slow:
    """Holds back the opening until `go` is set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.go, self.closed = threading.Event(), threading.Event()
        real, slow = replay_job.open_with, self

        def held(*a: Any) -> Any:
            assert slow.go.wait(20)
            return real(*a)

        close = Aedat4Recording.close

        def closing(self: Aedat4Recording) -> None:
            close(self)
            slow.closed.set()

        monkeypatch.setattr(replay_job, "open_with", held)
        monkeypatch.setattr(Aedat4Recording, "close", closing)


def test_it_gives_signs_of_life(sample: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow, told = Slow(monkeypatch), []

    def progress(share: float) -> None:
        told.append((share, threading.current_thread()))
        if len(told) == 5:
            slow.go.set()

    recording, times = open_for_replay(sample, BOTH, OpenOptions(), progress)
    with recording:
        assert times is not None
        assert not slow.closed.is_set()
    assert len(told) >= 5
    # Who listens hears it where it called: a camera worker's link is of one thread.
    assert {t for _, t in told} == {threading.current_thread()}


def test_it_is_given_up_at_once_and_closed(sample: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Slow(monkeypatch)

    class Stop(BaseException):
        pass

    def progress(_share: float) -> None:
        raise Stop

    with pytest.raises(Stop):
        open_for_replay(sample, BOTH, OpenOptions(), progress)
    slow.go.set()
    assert slow.closed.wait(20)


def test_what_is_wrong_is_said_as_ever(events_only: Path, tmp_path: Path) -> None:
    def progress(_share: float) -> None:
        pass

    with pytest.raises(UnusableRecording, match="has no frames"):
        open_for_replay(events_only, BOTH, OpenOptions(), progress)
    with pytest.raises(UsageError, match="no such file"):
        open_for_replay(tmp_path / "absent.aedat4", BOTH, OpenOptions(), progress)
