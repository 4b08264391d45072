"""Folders that end with their program: what a killed one has left goes, and nothing else does."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from capture.passing_folder import LOCK, PassingFolder

PREFIX = "halfmirror-toy-"
MAKER = f"""
import sys, time
from pathlib import Path
from capture.passing_folder import PassingFolder
p = PassingFolder({PREFIX!r}, Path(sys.argv[1]))
(p.path / "deep").mkdir()
print(p.path, flush=True)
time.sleep(60)
"""


def maker(place: Path) -> tuple[subprocess.Popen[str], Path]:
    made = subprocess.Popen([sys.executable, "-c", MAKER, str(place)], stdout=subprocess.PIPE, text=True)
    assert made.stdout is not None
    return made, Path(made.stdout.readline().strip())


def test_what_a_killed_program_left_goes_and_what_lives_stays(tmp_path: Path) -> None:
    killed, its = maker(tmp_path)
    alive, other = maker(tmp_path)
    try:
        with PassingFolder(PREFIX, tmp_path):
            assert its.is_dir()
            assert other.is_dir()
        killed.send_signal(signal.SIGKILL)
        killed.wait(20)
        unlike = tmp_path / "halfmirror-toys"
        unlocked = tmp_path / f"{PREFIX}of-nobody-knows-whom"
        linked = tmp_path / f"{PREFIX}link"
        for d in (unlike, unlocked):
            d.mkdir()
        (unlike / LOCK).touch()
        linked.symlink_to(unlike, target_is_directory=True)
        with PassingFolder(PREFIX, tmp_path) as mine:
            assert mine.stat().st_mode & 0o777 == 0o700
            assert sorted(tmp_path.iterdir()) == sorted([mine, other, unlike, unlocked, linked])
        assert not mine.exists()
        assert (unlike / LOCK).exists()
    finally:
        for process in (killed, alive):
            process.kill()
            process.wait(20)


def test_without_locks_nothing_is_proven(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object) -> None:
        raise OSError(errno.ENOLCK, "no locks available")

    gone = tmp_path / f"{PREFIX}gone"
    gone.mkdir()
    (gone / LOCK).touch()
    monkeypatch.setattr("fcntl.flock", none)
    with PassingFolder(PREFIX, tmp_path) as mine:
        assert list(mine.iterdir()) == []
    assert (mine.exists(), gone.exists()) == (False, True)


def test_a_fork_does_not_take_the_folder_with_it(tmp_path: Path) -> None:
    folder = PassingFolder(PREFIX, tmp_path)
    pid = os.fork()
    if pid == 0:
        folder.remove()
        os._exit(0)
    os.waitpid(pid, 0)
    assert folder.path.exists()
    folder.remove()
    assert not folder.path.exists()
