"""What systems leave beside a person's files counts for nothing; endings may be in upper case."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from recordings.formats.names import files_with, is_hidden, number_in
from recordings.open import open_recording
from tests.recordings.make_datasets import made_events, write_msrbd
from tests.recordings.make_folders import SIZE, write_exposures, write_highrev, write_intervals, write_pictures
from tests.recordings.make_mat import write_esl
from tests.recordings.reading import events_and_frames
from tests.recordings.test_picture_folders import full


def test_names() -> None:
    left = ("._a.png", ".DS_Store", "__MACOSX", "@eaDir", ".ipynb_checkpoints")
    assert all(is_hidden(n) for n in left)
    assert not any(is_hidden(n) for n in ("a.png", "_a.png", "a.b.png"))
    assert number_in(Path("x/SEQ_00012.npz")) == ("SEQ_*", 12)
    assert number_in(Path("7.npz")) == ("*", 7)
    assert number_in(Path("a.npz")) is None


def test_files_in_order_of_their_numbers(tmp_path: Path) -> None:
    for name in ("10.PNG", "2.png", "._2.png", "1.jpg", "3.txt"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "4.png").mkdir()
    assert [p.name for p in files_with(tmp_path, ".png", ".jpg")] == ["1.jpg", "2.png", "10.PNG"]


def _folder(path: Path) -> None:
    write_pictures(path / "images")
    write_intervals(path / "events", full())
    write_exposures(path / "images" / "exposures.txt")


def _in_upper_case(path: Path) -> None:
    _folder(path)
    for file in [*(path / "images").glob("*.png"), *(path / "events").glob("*.npz")]:
        file.rename(file.with_suffix(file.suffix.upper()))


def _esl(path: Path) -> None:
    write_esl(path, made_events(9000, size=SIZE))


@pytest.mark.parametrize(
    "write", [_folder, _in_upper_case, lambda p: write_highrev(p, full()), write_msrbd, _esl]
)
def test_a_disk_that_macos_has_seen(tmp_path: Path, write: Callable[[Path], object]) -> None:
    """A `._NAME` beside every file, a folder of thumbnails in every folder."""
    write(tmp_path)
    with open_recording(tmp_path) as r:
        before = r.info.problems, r.frame_times_us(), len(events_and_frames(r)[0])
    for file in [p for p in tmp_path.rglob("*") if p.is_file()]:
        file.with_name(f"._{file.name}").write_bytes(bytes(50))
    for folder in [tmp_path, *(p for p in tmp_path.rglob("*") if p.is_dir())]:
        (folder / "@eaDir").mkdir()
        (folder / "@eaDir" / "thumb.png").write_bytes(bytes(50))
    with open_recording(tmp_path) as r:
        assert (r.info.problems, r.frame_times_us(), len(events_and_frames(r)[0])) == before
