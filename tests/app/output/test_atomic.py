"""Whole or not at all."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
from pathlib import Path

import pytest

from app.output.atomic import OutputError, part_of, require_place, staged_file, staged_folder, writing
from capture.errors import UsageError


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_file_appears_at_the_end(tmp_path: Path) -> None:
    final = tmp_path / "new" / "a.txt"
    with staged_file(final) as part:
        part.write_text("whole")
        assert names(final.parent) == [".a.txt.part"]
    assert names(final.parent) == ["a.txt"]
    assert final.read_text() == "whole"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_failed_file_leaves_nothing(error: type[BaseException], tmp_path: Path) -> None:
    with pytest.raises(error), staged_file(tmp_path / "a.txt") as part:
        part.write_text("half")
        raise error
    assert names(tmp_path) == []


def test_failed_overwrite_keeps_the_old_file(tmp_path: Path) -> None:
    final = tmp_path / "a.txt"
    final.write_text("old")
    with pytest.raises(ValueError, match="no"), staged_file(final, overwrite=True) as part:
        part.write_text("half")
        raise ValueError("no")
    assert final.read_text() == "old"
    with staged_file(final, overwrite=True) as part:
        part.write_text("new")
    assert (final.read_text(), names(tmp_path)) == ("new", ["a.txt"])


def test_existing_file_is_refused(tmp_path: Path) -> None:
    final = tmp_path / "a.txt"
    final.write_text("old")
    with pytest.raises(UsageError, match="--overwrite"), staged_file(final):
        pass
    assert (final.read_text(), names(tmp_path)) == ("old", ["a.txt"])


def test_file_that_came_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    final = tmp_path / "a.txt"
    with pytest.raises(UsageError, match="exists already"), staged_file(final) as part:
        part.write_text("mine")
        final.write_text("theirs")
    assert final.read_text() == "theirs"
    assert names(tmp_path) == ["a.txt"]


def test_left_over_part_is_replaced(tmp_path: Path) -> None:
    part_of(tmp_path / "a.txt").write_text("of a run that was killed, and longer")
    with staged_file(tmp_path / "a.txt") as part:
        assert part.read_text() == ""
        part.write_text("new")
    assert (tmp_path / "a.txt").read_text() == "new"
    old = part_of(tmp_path / "d")
    (old / "deep").mkdir(parents=True)
    with staged_folder(tmp_path / "d") as part:
        assert names(part) == []


def test_second_run_on_the_same_target_is_refused(tmp_path: Path) -> None:
    with staged_file(tmp_path / "a.txt") as part:
        part.write_text("first")
        with pytest.raises(UsageError, match="another run"), staged_file(tmp_path / "a.txt"):
            pass
        assert part.read_text() == "first"
    assert (tmp_path / "a.txt").read_text() == "first"
    with staged_folder(tmp_path / "d") as part:
        (part / "x").write_text("first")
        with pytest.raises(UsageError, match="another run"), staged_folder(tmp_path / "d"):
            pass
        assert names(part) == ["x"]
    assert names(tmp_path / "d") == ["x"]


def test_folder_appears_at_the_end(tmp_path: Path) -> None:
    final = tmp_path / "out"
    with staged_folder(final) as part:
        (part / "x").write_text("1")
        assert not final.exists()
    assert (names(tmp_path), names(final)) == (["out"], ["x"])


def test_failed_folder_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), staged_folder(tmp_path / "out") as part:
        (part / "x").write_text("1")
        raise KeyboardInterrupt
    assert names(tmp_path) == []


def test_empty_folder_may_be_used_and_stays_when_it_fails(tmp_path: Path) -> None:
    final = tmp_path / "out"
    final.mkdir()
    with pytest.raises(ValueError, match="no"), staged_folder(final):
        raise ValueError("no")
    assert (names(tmp_path), names(final)) == (["out"], [])
    with staged_folder(final) as part:
        (part / "x").write_text("1")
    assert names(final) == ["x"]


def test_used_folder_is_replaced_only_when_it_is_ours(tmp_path: Path) -> None:
    final = tmp_path / "home"
    final.mkdir()
    (final / "thesis.tex").write_text("years of work")
    with pytest.raises(UsageError, match="--overwrite"), staged_folder(final):
        pass
    with pytest.raises(UsageError, match="did not write"), staged_folder(final, overwrite=True):
        pass
    assert (names(tmp_path), names(final)) == (["home"], ["thesis.tex"])
    with staged_folder(final, overwrite=True, ours=lambda _: True) as part:
        (part / "x").write_text("1")
    assert (names(tmp_path), names(final)) == (["home"], ["x"])


def test_working_folder_as_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").mkdir()
    monkeypatch.chdir(tmp_path / "a")
    with pytest.raises(UsageError, match="is a folder"), staged_file(Path()):
        pass
    for target in (Path(), Path(".."), Path("..") / "a", tmp_path / "a"):
        with pytest.raises(UsageError, match="working folder"), staged_folder(target, overwrite=True):
            pass
    assert names(tmp_path) == ["a"]


def test_wrong_kind_of_target(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("")
    with pytest.raises(UsageError, match="is a file"), staged_folder(tmp_path / "f", overwrite=True):
        pass
    with pytest.raises(UsageError, match="is a folder"), staged_file(tmp_path, overwrite=True):
        pass
    with pytest.raises(OutputError, match="cannot write"), staged_file(tmp_path / "f" / "a"):
        pass


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_full_disk_is_one_sentence(number: int, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"disk full while writing .*MB free") as e, writing(tmp_path / "a"):
        raise OSError(number, os.strerror(number))
    assert "\n" not in str(e.value)
    with pytest.raises(OutputError, match=r"cannot write .*Permission denied"), writing(tmp_path / "a"):
        raise PermissionError(errno.EACCES, "no")


def test_a_pipe_or_a_device_keeps_its_name(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(UsageError, match="is no ordinary file"), staged_file(pipe, overwrite=True):
        pass
    assert pipe.is_fifo()


def test_a_place_is_tried_and_nothing_stays(tmp_path: Path) -> None:
    require_place(tmp_path / "new" / "deeper" / "a.txt")
    assert names(tmp_path) == []
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot write"):
        require_place(tmp_path / "file" / "a.txt")
    with pytest.raises(OutputError, match="cannot write"):
        require_place(Path("/proc/none/a.txt"))


def test_neighbours_of_the_output_are_left_alone(tmp_path: Path) -> None:
    for name in ("out.old", "out.part"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "thesis.tex").write_text("years of work")
    (tmp_path / "clip.mp4.part").write_text("a browser's")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "x").write_text("0")
    with staged_folder(tmp_path / "out", overwrite=True, ours=lambda _: True) as part:
        (part / "x").write_text("1")
    with staged_file(tmp_path / "clip.mp4") as part:
        part.write_text("2")
    assert names(tmp_path) == ["clip.mp4", "clip.mp4.part", "out", "out.old", "out.part"]
    assert (tmp_path / "out" / "x").read_text() == "1"
    assert (tmp_path / "clip.mp4.part").read_text() == "a browser's"
    assert names(tmp_path / "out.old") == names(tmp_path / "out.part") == ["thesis.tex"]


def test_a_link_to_a_folder_stays_one(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "out").symlink_to("data")
    with staged_folder(tmp_path / "out") as part:
        (part / "x").write_text("1")
    assert (tmp_path / "out").is_symlink()
    assert names(tmp_path / "data") == ["x"]
    assert names(tmp_path) == ["data", "out"]


def test_a_folder_that_a_disk_is_mounted_on_is_filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a container's folder for its output: it cannot be renamed over."""
    final = tmp_path / "out"
    final.mkdir()
    replace = os.replace

    def refused(a: Path, b: Path) -> None:
        if Path(b) == final or Path(a) == final:
            raise OSError(errno.EBUSY, "Device or resource busy")
        replace(a, b)

    monkeypatch.setattr(os, "replace", refused)
    monkeypatch.setattr(Path, "is_mount", lambda self: self == final)
    require_place(final)
    (final / part_of(final).name).mkdir()  # of a run that was killed
    for text in ("1", "2"):
        with staged_folder(final, overwrite=True, ours=lambda _: True) as part:
            (part / "deep").mkdir()
            (part / "deep" / "x").write_text(text)
        assert names(final) == ["deep"]
        assert (final / "deep" / "x").read_text() == text
    with pytest.raises(KeyboardInterrupt), staged_folder(final, overwrite=True, ours=lambda _: True):
        raise KeyboardInterrupt
    assert names(final) == ["deep"]
    assert names(tmp_path) == ["out"]


def test_ctrl_c_while_the_old_is_deleted_from_such_a_folder_does_not_cost_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    final = tmp_path / "out"
    final.mkdir()
    (final / "x").write_text("1")
    unlink = Path.unlink

    def interrupted(self: Path, missing_ok: bool = False) -> None:
        unlink(self, missing_ok)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Path, "is_mount", lambda self: self == final)
    monkeypatch.setattr(Path, "unlink", interrupted)
    with pytest.raises(KeyboardInterrupt), staged_folder(final, overwrite=True, ours=lambda _: True) as part:
        (part / "x").write_text("2")
    assert names(final) == ["x"]
    assert (final / "x").read_text() == "2"


def test_a_file_system_without_locks_is_written_to_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(_fd: int, _how: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", none)
    with staged_folder(tmp_path / "d") as part, staged_file(part / "a.txt") as inner:
        inner.write_text("1")
    assert (tmp_path / "d" / "a.txt").read_text() == "1"


@pytest.mark.parametrize("to", ["link.txt", "none/deep.txt"])
def test_a_link_that_leads_nowhere_is_replaced(to: str, tmp_path: Path) -> None:
    link = tmp_path / "link.txt"
    link.symlink_to(to)
    require_place(link)
    with staged_file(link) as part:
        part.write_text("new")
    assert not link.is_symlink()
    assert link.read_text() == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["link.txt"]


def test_a_link_to_a_file_stays_one(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/true.txt").write_text("old")
    (tmp_path / "link.txt").symlink_to("data/true.txt")
    with pytest.raises(UsageError, match=r"link\.txt exists"), staged_file(tmp_path / "link.txt"):
        pass
    with staged_file(tmp_path / "link.txt", overwrite=True) as part:
        part.write_text("new")
    assert (tmp_path / "link.txt").is_symlink()
    assert (tmp_path / "data/true.txt").read_text() == "new"
    assert [p.name for p in (tmp_path / "data").iterdir()] == ["true.txt"]
