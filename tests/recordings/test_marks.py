"""Marks of a part: beside the recording, in the user's folder where that cannot be, garbage is none."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from capture.errors import UsageError
from recordings import marks
from recordings.marks import Marks, MarksError, load, places, save, seconds


@pytest.fixture
def recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    (tmp_path / "r").mkdir()
    path = tmp_path / "r" / "cups.aedat4"
    path.write_bytes(b"x")
    return path


def test_marks_lie_beside_the_recording(recording: Path, tmp_path: Path) -> None:
    assert load(recording) == Marks()
    assert save(recording, Marks(500_000, 2_000_000)) == recording.with_name("cups.aedat4.marks.json")
    assert load(recording) == Marks(500_000, 2_000_000)
    assert seconds(recording) == (0.5, 2.0)
    save(recording, Marks(None, 7))
    assert seconds(recording) == (0.0, 7e-6)
    save(recording, Marks())
    assert [p.name for p in recording.parent.iterdir()] == ["cups.aedat4"]
    assert not (tmp_path / "home").exists()
    with pytest.raises(UsageError, match="nothing is marked"):
        seconds(recording)


def test_our_own_recordings_hold_theirs(tmp_path: Path) -> None:
    (tmp_path / "recording.toml").write_text("")
    assert save(tmp_path, Marks(1, 2)) == tmp_path / "marks.json"


def test_where_nothing_can_be_written_they_go_to_the_users_folder(
    recording: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also for root, who may write anywhere: the place beside is taken by a folder."""
    beside, own = places(recording)
    beside.mkdir()
    assert save(recording, Marks(1, 2)) == own
    assert load(recording) == Marks(1, 2)
    beside.rmdir()
    assert save(recording, Marks(3, None)) == beside  # the older one would else come back
    assert not own.exists()
    monkeypatch.setattr(marks, "places", lambda _p: (Path("/proc/no/a"), Path("/proc/no/b")))
    with pytest.raises(MarksError, match="cannot be kept, neither as /proc/no/a nor"):
        save(recording, Marks(1, 2))


@pytest.mark.parametrize("home", ["/dev/null", f"/{'x' * 300}"])  # as for a service; one that no call takes
def test_marks_beside_need_no_folder_of_ones_own(
    home: str, recording: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", home)
    beside = places(recording)[0]
    assert save(recording, Marks(1, 2)) == beside
    assert load(recording) == Marks(1, 2)
    assert save(recording, Marks()) == beside
    assert load(recording) == Marks()


def test_marks_that_would_come_back_are_not_forgotten(recording: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = places(recording)[1]
    own.parent.mkdir(parents=True)
    own.write_text('{"version": 1, "in_us": 1, "out_us": 2}')
    unlink = Path.unlink

    def refused(self: Path, missing_ok: bool = False) -> None:
        if self == own:
            raise OSError(30, "Read-only file system")
        unlink(self, missing_ok)

    monkeypatch.setattr(Path, "unlink", refused)
    with pytest.raises(MarksError, match="Read-only file system"):
        save(recording, Marks())
    assert load(recording) == Marks(1, 2)


@pytest.mark.parametrize(
    "content",
    [
        "", "[]", "{", '{"version": 1}', '{"version": 9, "in_us": 1, "out_us": 2}',
        '{"version": 1, "in_us": "1", "out_us": 2}', '{"version": 1, "in_us": true, "out_us": 2}',
        '{"version": 1, "in_us": 5, "out_us": 2}', '{"version": 1, "in_us": -5, "out_us": 2}',
        "[" * 50_000, json.dumps({"version": 1, "in_us": 1, "out_us": 2, "x": "y" * 70_000}),
    ],
)  # fmt: skip
def test_garbage_is_no_mark(recording: Path, content: str) -> None:
    places(recording)[0].write_text(content)
    assert load(recording) == Marks()


def test_newer_marks_win_over_those_beside_that_cannot_be_changed(
    recording: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(recording, Marks(1, 2))
    beside, own = places(recording)
    replace = Path.replace

    def refused(self: Path, target: Path) -> Path:
        if target == beside:
            raise OSError(30, "Read-only file system")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", refused)
    assert save(recording, Marks(3, 4)) == own
    assert load(recording) == Marks(3, 4)
    assert seconds(recording) == (3e-6, 4e-6)


def test_a_name_that_is_no_utf_8_has_marks_too(recording: Path) -> None:
    odd = Path(os.fsdecode(os.fsencode(recording.parent) + b"/\xff.aedat4"))
    odd.write_bytes(b"x")
    assert load(odd) == Marks()
    save(odd, Marks(5, 6))
    assert load(odd) == Marks(5, 6)
