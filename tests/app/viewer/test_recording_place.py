"""Folders of recordings that cannot be looked into, and names that the disk does not take."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable, Iterator
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
from tests.app.viewer.test_recording import end

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


@pytest.fixture
def asleep(share: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """From `clear` to `set` no look below the folder comes back."""
    awake, stat = threading.Event(), Path.stat
    awake.set()

    def slow(path: Path, **more: bool) -> os.stat_result:
        if path.is_relative_to(share):
            awake.wait(30)
        return stat(path, **more)

    monkeypatch.setattr(Path, "stat", slow)
    yield awake
    awake.set()


def test_a_disk_that_wakes_up_is_heard_without_a_change_of_the_form(
    share: Path, asleep: threading.Event, make_window: MakeWindow, fake: FakeSession, clock: Clock, qtbot: QtBot
) -> None:
    window = make_window(fake)
    share.mkdir()
    window.top.record.click()
    asleep.clear()
    window.record_bar.named.emit("plates")
    assert "does not answer" in window.record_bar.note.toolTip()
    asleep.set()

    def heard() -> None:
        run(window, clock, 1)
        assert window.recorder.desk.problem == ""
        assert "does not answer" not in window.record_bar.note.toolTip()

    qtbot.waitUntil(heard, timeout=5000)


@pytest.mark.parametrize("failed", [False, True])
def test_the_report_does_not_wait_for_a_share_that_has_gone(
    failed: bool, share: Path, asleep: threading.Event, make_window: MakeWindow, fake: FakeSession,
    clock: Clock, qtbot: QtBot,
) -> None:  # fmt: skip
    window = make_window(fake)
    made = share / "cups"
    share.mkdir()
    if failed:
        made.mkdir()
    desk = window.recorder.desk
    desk.made, desk.step = made, Step.RUNNING
    fake.recording.state = RecordingState.RECORDING
    run(window, clock, 1)
    if failed:
        fake.recording.failed("killed by SIGKILL")
    else:
        end(fake, made)
    asleep.clear()
    began = time.monotonic()
    run(window, clock, 40)
    assert time.monotonic() - began < 5
    assert desk.step is Step.REPORT
    assert not window.record_bar.replay.isEnabled()
    assert ("does not answer" in window.record_bar.lines[2].toolTip()) == failed
    asleep.set()

    def heard() -> None:
        run(window, clock, 1)
        assert window.record_bar.replay.isEnabled()
        assert ("what was written before is in" in window.record_bar.lines[2].toolTip()) == failed

    qtbot.waitUntil(heard, timeout=5000)
