"""Folders of recordings that cannot be looked into, and names that the disk does not take."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from app.recorder import RecordingState
from app.viewer.recording_desk import Step
from app.viewer.recording_words import name_problem, next_name
from app.viewer.remembered import Remembered
from app.viewer.window import ViewerWindow
from tests.app.viewer.conftest import Clock, MakeWindow, run
from tests.app.viewer.fake_session import FakeSession

Lose = Callable[[int], None]


@pytest.fixture
def share(remembered: Remembered, tmp_path: Path) -> Path:
    """Where recordings are made."""
    remembered.recordings = tmp_path / "share"
    return tmp_path / "share"


@pytest.fixture
def lose(share: Path, monkeypatch: pytest.MonkeyPatch) -> Lose:
    """From then on every look below the folder fails, with this number."""

    def now(number: int) -> None:
        stat = Path.stat

        def refused(path: Path, **more: bool) -> os.stat_result:
            if path.is_relative_to(share):
                raise OSError(number, os.strerror(number), str(path))
            return stat(path, **more)

        monkeypatch.setattr(Path, "stat", refused)

    return now


@pytest.mark.parametrize("number", [errno.EACCES, errno.ENOTCONN, errno.EIO])
def test_the_form_opens_where_the_folder_cannot_be_looked_into(
    number: int, share: Path, lose: Lose, make_window: MakeWindow, fake: FakeSession, clock: Clock, qtbot: QtBot
) -> None:
    window = make_window(fake)
    lose(number)
    qtbot.keyClick(window, Qt.Key.Key_R)
    bar = window.record_bar
    assert bar.isVisible()
    assert bar.name.text() == "take-001"
    assert f"{share} cannot be looked into ({os.strerror(number)})" in bar.note.toolTip()
    assert not bar.start.isEnabled()
    # Another folder is all it takes.
    window.recorder.desk.choose(folder=share.parent)
    run(window, clock, 13)
    assert window.recorder.desk.problem == ""


def test_a_name_of_more_bytes_than_a_disk_takes_is_told(
    tmp_path: Path, window: ViewerWindow, remembered: Remembered, qtbot: QtBot
) -> None:
    remembered.recordings = tmp_path
    window.top.record.click()
    window.record_bar.named.emit("長" * 90)
    assert "too long" in window.record_bar.note.toolTip()
    assert not window.record_bar.start.isEnabled()
    assert "too long" in name_problem(tmp_path, "長" * 90)
    (tmp_path / ("長" * 84)).mkdir()
    assert "too long" in name_problem(tmp_path, next_name(tmp_path, "長" * 84))


def test_a_share_that_goes_while_it_is_written_to_stands_in_the_report(
    share: Path, lose: Lose, make_window: MakeWindow, fake: FakeSession, clock: Clock
) -> None:
    window = make_window(fake)
    desk = window.recorder.desk
    desk.made, desk.step = share / "cups", Step.RUNNING
    fake.recording.state = RecordingState.RECORDING
    run(window, clock, 1)
    lose(errno.ENOTCONN)
    fake.recording.failed("killed by SIGKILL")
    run(window, clock, 13)
    assert "cannot be looked into" in window.record_bar.lines[2].toolTip()
    assert not window.record_bar.replay.isEnabled()
