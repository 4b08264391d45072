"""The seek bar's curve: read once, no longer than somebody waits for it."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from app.live import LiveSession, make_session
from app.timelines import timeline_of
from recordings import timeline
from recordings.recording import OpenOptions
from tests.recordings.make_aedat4 import write_aedat4
from tests.recordings.sample import sample_edges, sample_events, sample_frames


def test_it_ends_when_the_session_does(tmp_path: Path) -> None:
    path = write_aedat4(tmp_path / "r.aedat4", sample_events(), sample_frames(), sample_edges())
    t = timeline_of(path, OpenOptions(), lambda: False)
    assert t is not None
    assert len(t.exposures_us) == len(sample_frames())
    asked: list[int] = []
    assert timeline_of(path, OpenOptions(), lambda: asked.append(1) is None) is None
    assert len(asked) == 1


def test_what_cannot_be_read_has_none(tmp_path: Path) -> None:
    (tmp_path / "r.aedat4").write_bytes(b"nothing")
    assert timeline_of(tmp_path / "r.aedat4", OpenOptions(), lambda: False) is None


def test_a_session_reads_for_it_only_when_it_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_aedat4(tmp_path / "r.aedat4", sample_events(), sample_frames(), sample_edges())
    asked = threading.Event()
    real = timeline.build

    def build(*a: Any, **k: Any) -> timeline.Timeline:
        asked.set()
        return real(*a, **k)

    monkeypatch.setattr(timeline, "build", build)
    monkeypatch.setattr(LiveSession, "_assemble", lambda *_: None)  # without its workers
    session = make_session(path, "none")
    session.start()
    try:
        assert session._opening is not None
        session._opening.join(20)
        assert not asked.wait(0.3)
        deadline = time.monotonic() + 20
        while session.timeline() is None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert asked.is_set()
    finally:
        session.stop()
