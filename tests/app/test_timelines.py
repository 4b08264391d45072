"""The seek bar's curve: read once, no longer than somebody waits for it."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app import timeline_cache, timelines
from app.live import LiveSession, make_session
from app.session import Timeline
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


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where curves are kept, however soon they are made; the number of readings can be counted."""
    monkeypatch.setenv("HALFMIRROR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(timelines, "KEPT_S", -1.0)
    return tmp_path / "cache" / "timelines"


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    found: list[Path] = []
    real = timeline.build
    monkeypatch.setattr(timeline, "build", lambda path, **k: found.append(path) or real(path, **k))
    return found


def same(a: Timeline | None, b: Timeline | None) -> bool:
    assert a is not None
    assert b is not None
    arrays = [(a.event_rate_hz, b.event_rate_hz), (a.exposures_us, b.exposures_us)]
    equal = all(u.dtype == v.dtype and np.array_equal(u, v) for u, v in arrays)
    return equal and (a.start_us, a.end_us) == (b.start_us, b.end_us)


def test_a_file_is_read_for_it_once(tmp_path: Path, cache: Path, readings: list[Path]) -> None:
    path = write_aedat4(tmp_path / "r.aedat4", sample_events(), sample_frames(), sample_edges())

    def made(**said: Any) -> Timeline | None:
        return timeline_of(path, OpenOptions(**said), lambda: False)

    first = made()
    assert same(first, made())
    assert len(readings) == 1
    made(exposure_us=5)  # other exposures
    assert len(readings) == 2
    (one, _) = sorted(cache.iterdir())
    for damage in (b"", b"PK\x03\x04nothing", one.read_bytes()[:-40]):
        for entry in cache.iterdir():
            entry.write_bytes(damage)
        assert same(first, made())
    assert len(readings) == 5
    os.utime(path, (1, 1))  # another file, as far as anybody knows
    made()
    assert len(readings) == 6


def test_a_folder_is_known_by_what_lies_in_it(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "f" / "deep").mkdir(parents=True)
    (tmp_path / "f" / "deep" / "a").write_bytes(b"1")
    before = timeline_cache.key(tmp_path / "f", OpenOptions())
    assert before is not None
    assert before == timeline_cache.key(tmp_path / "f", OpenOptions())
    (tmp_path / "f" / "deep" / "a").write_bytes(b"12")
    assert timeline_cache.key(tmp_path / "f", OpenOptions()) != before
    assert timeline_cache.key(tmp_path / "none", OpenOptions()) is None


def test_the_cache_stays_small_and_may_be_refused(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timeline_cache, "ENTRIES", 3)
    t = Timeline(1, 2, np.ones(4, np.float32), np.zeros((0, 2), np.int64))
    for k in range(5):
        timeline_cache.store(f"n{k}", t)
        os.utime(cache / f"n{k}.npz", (k, k))
    assert sorted(p.name for p in cache.iterdir()) == ["n2.npz", "n3.npz", "n4.npz"]
    assert same(timeline_cache.load("n4"), t)
    (tmp_path / "file").touch()
    monkeypatch.setenv("HALFMIRROR_CACHE", str(tmp_path / "file"))
    timeline_cache.store("n", t)
    assert timeline_cache.load("n") is None


def test_what_is_made_in_a_moment_is_not_kept(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timelines, "KEPT_S", 60.0)
    path = write_aedat4(tmp_path / "r.aedat4", sample_events(), sample_frames(), sample_edges())
    assert timeline_of(path, OpenOptions(), lambda: False) is not None
    assert not cache.exists()


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
