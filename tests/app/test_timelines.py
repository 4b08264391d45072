"""The seek bar's curve: read once, no longer than somebody waits for it."""

from __future__ import annotations

from pathlib import Path

from app.timelines import timeline_of
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
