"""I and O: marks at the picture on screen, drawn on the seek bar, kept beside the recording."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from app.viewer.window import ViewerWindow
from recordings.marks import Marks, load, save
from tests.app.viewer.conftest import Clock, MakeWindow, run
from tests.app.viewer.fake_session import FakeSession

K = Qt.Key
START_US, PERIOD_US, EXPOSURE_US = 1_000_000, 40_000, 12_400


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    (tmp_path / "cups.aedat4").write_bytes(b"x")
    return tmp_path / "cups.aedat4"


@pytest.fixture
def window(make_window: MakeWindow, tape: FakeSession, file: Path) -> ViewerWindow:
    return make_window(tape, source=str(file), ticks=30)


def shown(window: ViewerWindow) -> int:
    assert window.player is not None
    assert window.player.picture is not None
    return window.player.picture.ordinal


def test_marks_are_set_around_the_frame_on_screen_and_kept(
    window: ViewerWindow, clock: Clock, qtbot: QtBot, file: Path
) -> None:
    first = shown(window)
    qtbot.keyClick(window, K.Key_I)
    run(window, clock, 30)
    last = shown(window)
    assert last > first
    qtbot.keyClick(window, K.Key_O)
    want = Marks(max(0, first * PERIOD_US - 1000), last * PERIOD_US + EXPOSURE_US + 1000)
    assert load(file) == want == window.marking.marks
    assert window.transport.seek._marks == (START_US + want.in_us, START_US + want.out_us)  # type: ignore[operator]
    assert "export --marked" in window.picture._banner
    window.open_source(str(file))
    run(window, clock, 30)
    assert window.marking.marks == want
    assert window.transport.seek._marks[0] is not None


def test_the_same_place_again_takes_it_away_and_a_wrong_side_the_other_one(
    window: ViewerWindow, tape: FakeSession, clock: Clock, qtbot: QtBot, file: Path
) -> None:
    qtbot.keyClick(window, K.Key_Space)
    qtbot.keyClick(window, K.Key_O)
    assert load(file).out_us is not None
    qtbot.keyClick(window, K.Key_O)
    assert load(file) == Marks()
    qtbot.keyClick(window, K.Key_O)
    at = load(file).out_us
    qtbot.keyClick(window, K.Key_Space)
    run(window, clock, 30)
    qtbot.keyClick(window, K.Key_I)
    assert load(file).out_us is None
    assert (load(file).in_us or 0) > (at or 0) - EXPOSURE_US


def test_marks_that_cannot_be_kept_are_said(
    window: ViewerWindow, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    from recordings import marks

    monkeypatch.setattr(marks, "places", lambda _p: (Path("/proc/no/a"), Path("/proc/no/b")))
    qtbot.keyClick(window, K.Key_I)
    assert "cannot be kept" in window.picture._banner
    assert window.marking.marks == Marks()


def test_what_lies_outside_is_dimmed(window: ViewerWindow) -> None:
    bar = window.transport.seek
    before = bar.grab().toImage()
    bar.set_marks(START_US + 500_000, START_US + 1_000_000)
    after = bar.grab().toImage()
    inside = round(bar.x_of(START_US + 750_000))
    outside = round(bar.x_of(START_US + 1_500_000))
    rows = range(bar.height())
    assert all(before.pixel(inside, y) == after.pixel(inside, y) for y in rows)
    assert any(before.pixel(outside, y) != after.pixel(outside, y) for y in rows)


def test_a_live_rig_has_no_marks(make_window: MakeWindow, fake: FakeSession, qtbot: QtBot, file: Path) -> None:
    save(file, Marks(1, 2))
    window = make_window(fake)
    qtbot.keyClick(window, K.Key_I)
    assert window.marking.marks == Marks()
