"""Prepared loops on disk: shared, bounded, and never trusted blindly."""

from __future__ import annotations

import errno
import multiprocessing
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from capture.simulated import cache
from capture.simulated.loops import event_loop, frame_loop
from tests.capture.simulated_small import small_davis


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HALFMIRROR_CACHE", str(tmp_path))
    return tmp_path / "simulated"


def entries(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.npz"))


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "garbage"])
def test_a_damaged_entry_is_found_out_and_made_anew(empty_cache: Path, damage: str) -> None:
    config = small_davis()
    want = frame_loop(config)
    (path,) = entries(empty_cache)
    data = bytearray(path.read_bytes())
    if damage == "cut":
        data = data[: len(data) // 2]
    elif damage == "flipped":
        data[len(data) // 2] ^= 0x40
    else:
        data = bytearray(b"" if damage == "empty" else os.urandom(4096))
    path.write_bytes(data)
    assert np.array_equal(frame_loop(config), want)
    assert cache.load(path.stem) is not None


def test_what_cannot_be_read_now_is_not_called_damaged(
    empty_cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert cache.store("x", {"a": np.zeros(4)})
    opened = Path.open

    def none_left(path: Path, *mode: str) -> object:
        if path.suffix == ".npz":
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return opened(path, *mode)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", none_left)
        assert cache.load("x") is None
    assert "cannot be read (Too many open files)" in caplog.text

    def no_memory(*_: object, **__: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(np, "load", no_memory)
        with pytest.raises(MemoryError):
            cache.load("x")
    assert cache.load("x") is not None


def test_the_home_folder_may_be_written_with_a_tilde(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HALFMIRROR_CACHE", "~/c")
    monkeypatch.setenv("HOME", "/home/me")
    assert cache.folder() == Path("/home/me/c/simulated")


def test_playing_settings_share_an_entry_and_others_do_not(empty_cache: Path) -> None:
    event_loop(small_davis())
    event_loop(small_davis(packet_us=1000, paced=False, clock_drift_ppm=50.0, exposure_us=10_000))
    assert len(entries(empty_cache)) == 1
    event_loop(small_davis(seed=2))
    assert len(entries(empty_cache)) == 2


def test_the_oldest_entries_go_first(empty_cache: Path) -> None:
    one = {"a": np.zeros(1000, np.uint8)}
    for k in range(4):
        assert cache.store(f"entry-{k}", one, limit=100_000)
        os.utime(empty_cache / f"entry-{k}.npz", (k, k))
    os.utime(empty_cache / "entry-0.npz", (99, 99))
    size = (empty_cache / "entry-0.npz").stat().st_size
    # Reading counts as use.
    assert cache.load("entry-2") is not None
    cache.store("entry-new", one, limit=3 * size)
    assert {p.stem for p in entries(empty_cache)} == {"entry-0", "entry-2", "entry-new"}
    assert not cache.store("entry-large", {"a": np.zeros(5000, np.uint8)}, limit=2000)


def test_a_folder_that_cannot_be_written_costs_nothing_but_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    monkeypatch.setenv("HALFMIRROR_CACHE", str(blocked))
    assert len(frame_loop(small_davis())) == small_davis().loop_frames


def test_a_full_disk_costs_nothing_but_time(empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    assert len(frame_loop(small_davis())) == small_davis().loop_frames
    assert [p for p in empty_cache.iterdir() if p.suffix != ".lock"] == []


def _made_elsewhere(folder: str, marks: str) -> None:
    os.environ["HALFMIRROR_CACHE"] = folder

    def make() -> cache.Arrays:
        with open(marks, "a") as f:
            f.write("made\n")
        time.sleep(0.5)
        return {"a": np.arange(10)}

    assert cache.fetch("shared", make)["a"].tolist() == list(range(10))


def test_two_processes_make_an_entry_once(empty_cache: Path, tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    context = multiprocessing.get_context("spawn")
    both = [
        context.Process(target=_made_elsewhere, args=(str(empty_cache.parent), str(marks))) for _ in range(2)
    ]
    for p in both:
        p.start()
    for p in both:
        p.join(60)
        assert p.exitcode == 0
    assert marks.read_text() == "made\n"
