from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from app.viewer.snapshot import SnapshotError, save_snapshot
from tests.app.viewer.fake_session import FakeSession, Scene


def read(path: Path) -> np.ndarray:
    return np.asarray(cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB))


def test_three_files_with_the_pixels_of_the_screen_and_the_exposure_in_the_name(
    fake: FakeSession, tmp_path: Path
) -> None:
    p = fake.picture(7, (0.25, 0.75))
    assert p.sharp is not None
    blurred, sharp, both = save_snapshot(p, 1, tmp_path / "new" / "folder", when=0.0)
    assert np.array_equal(read(blurred), p.blurred)
    assert np.array_equal(read(sharp), p.sharp[1])
    assert np.array_equal(read(both), np.concatenate([p.blurred, p.sharp[1]], axis=1))
    assert "frame000007-exposure12400us-at1289300us-t0.750-sharp" in sharp.name
    assert sorted(q.name for q in (tmp_path / "new" / "folder").iterdir()) == sorted(
        q.name for q in (blurred, sharp, both)
    )


def test_a_refused_frame_is_saved_blurred_only(fake: FakeSession, tmp_path: Path) -> None:
    fake.refusal = "no trigger edge"
    assert len(save_snapshot(fake.picture(7, (0.5,)), 0, tmp_path)) == 1


def test_gray_frames(tmp_path: Path) -> None:
    s = FakeSession(Scene(32, 24, gray=True, frames=2, events_per_frame=10))
    files = save_snapshot(s.picture(0, (0.5,)), 0, tmp_path)
    assert cv2.imread(str(files[0]), cv2.IMREAD_UNCHANGED).ndim == 2
    assert read(files[2]).shape == (24, 64, 3)


def test_a_folder_that_cannot_be_written_is_named(fake: FakeSession, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(SnapshotError, match=r"file/here: .*; choose another folder"):
        save_snapshot(fake.picture(0, (0.5,)), 0, tmp_path / "file" / "here")


def test_nothing_half_written_is_left(
    fake: FakeSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = os.replace, []

    def full(a: Path, b: Path) -> None:
        calls.append(b)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        real(a, b)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(SnapshotError, match="No space left on device"):
        save_snapshot(fake.picture(0, (0.5,)), 0, tmp_path)
    assert list(tmp_path.iterdir()) == []
