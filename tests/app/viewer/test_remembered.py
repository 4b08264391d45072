from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path

import pytest

from app.viewer.modes import EventsMode, View
from app.viewer.remembered import RECENT, Remembered
from app.viewer.settings_file import LARGEST, SettingsFile


def again(tmp_path: Path) -> Remembered:
    return Remembered(SettingsFile(tmp_path / "s.json"))


def test_choices_survive_a_restart_and_reset_forgets_them(tmp_path: Path) -> None:
    m = again(tmp_path)
    m.view, m.events_mode = View.DIFFERENCE, EventsMode.OVERLAY
    m.network, m.source = "glint", "simulated:night"
    m.folder = tmp_path
    m.opened("a.aedat4")
    m.opened("b.aedat4")
    m.opened("a.aedat4")
    m.save()
    n = again(tmp_path)
    assert (n.view, n.events_mode, n.network, n.source) == (
        View.DIFFERENCE, EventsMode.OVERLAY, "glint", "simulated:night",
    )  # fmt: skip
    assert n.folder == tmp_path
    assert n.recent == ["a.aedat4", "b.aedat4"]
    n.reset()
    fresh = again(tmp_path)
    assert (fresh.view, fresh.network, fresh.recent, fresh.folder, fresh.geometry) == (
        View.WIPE, "", [], None, None,
    )  # fmt: skip


def test_one_recent_file_and_many(tmp_path: Path) -> None:
    m = again(tmp_path)
    m.opened("only.aedat4")
    m.save()
    assert again(tmp_path).recent == ["only.aedat4"]
    for k in range(30):
        m.opened(f"{k}.aedat4")
    assert len(m.recent) == RECENT
    assert m.recent[0] == "29.aedat4"


@pytest.mark.parametrize("text", [
    b"", b"\xff\xfe{", b"[1, 2]", b"{", b"[" * 100_000, b'{"a": ' * 100_000,
    b'{"source/last": "simulated"' + b" " * LARGEST + b"}",
    b'{"window/view": "upside down", "window/events": 7, "window/geometry": "\\ud800", "source/recent": "a",'
    b' "recording/preroll_s": NaN, "recording/countdown_s": 1e999, "source/last": ["a"], "folder/open": {}}',
])  # fmt: skip
def test_a_damaged_file_is_as_good_as_none(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "s.json").write_bytes(text)
    m = again(tmp_path)
    assert (m.view, m.events_mode, m.geometry, m.recent, m.source) == (View.WIPE, EventsMode.OFF, None, [], "")
    assert (m.preroll_s, m.countdown_s, m.folder) == (0.0, 0.0, None)
    m.view = View.SHARP
    assert again(tmp_path).view is View.SHARP


@pytest.mark.timeout(20)
def test_a_pipe_in_its_place_holds_nobody_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "s.json")
    assert again(tmp_path).network == ""


def test_two_windows_keep_what_the_other_one_has_changed(tmp_path: Path) -> None:
    a, b = again(tmp_path), again(tmp_path)
    a.network = "glint"
    b.view = View.SHARP
    a.opened("a.aedat4")
    b.opened("b.aedat4")
    for m in (a, b, again(tmp_path)):
        assert (m.network, m.view, m.recent) == ("glint", View.SHARP, ["b.aedat4", "a.aedat4"])
    b.reset()
    assert a.network == ""


def test_what_cannot_be_written_holds_for_this_program(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    m = Remembered(SettingsFile(tmp_path / "file" / "s.json"))
    m.network = "glint"
    m.save()
    assert m.network == "glint"
    n = again(tmp_path)
    n.view = View.SHARP
    with (tmp_path / "s.json.lock").open() as lock:  # as another window does for the blink of an eye
        fcntl.flock(lock, fcntl.LOCK_EX)
        n.network = "none"
        assert n.network == "none"
        assert again(tmp_path).network == ""
    n.save()
    assert again(tmp_path).network == "none"


def test_what_cannot_be_forgotten_on_the_disk_is_told_and_holds_for_this_program(tmp_path: Path) -> None:
    m = again(tmp_path)
    m.network = "glint"
    with (tmp_path / "s.json.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert m.reset() == str(tmp_path / "s.json")
        assert m.network == ""
        assert again(tmp_path).network == "glint"
        m.view = View.SHARP
    m.save()
    assert (again(tmp_path).network, again(tmp_path).view) == ("", View.SHARP)
    assert m.reset() == ""


def test_a_path_that_is_no_valid_text_comes_back_as_it_was(tmp_path: Path) -> None:
    m = again(tmp_path)
    m.source = os.fsdecode(b"/data/caf\xe9.aedat4")
    assert os.fsencode(again(tmp_path).source) == b"/data/caf\xe9.aedat4"
    json.loads((tmp_path / "s.json").read_bytes().decode("ascii"))


def test_nowhere_leaves_nothing(tmp_path: Path) -> None:
    m = Remembered.nowhere()
    m.network = "glint"
    m.save()
    assert Remembered.nowhere().network == ""
    assert Remembered().network == ""
