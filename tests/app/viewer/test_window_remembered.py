"""What a window remembers between starts, and how that is forgotten."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtCore import Qt, QTimer
from PySide6.QtWidgets import QMessageBox
from pytestqt.qtbot import QtBot

from app.viewer.first_size import first_size
from app.viewer.modes import EventsMode, View
from app.viewer.remembered import Remembered
from app.viewer.settings_file import SettingsFile
from app.viewer.window import ViewerWindow
from tests.app.viewer.conftest import Clock, MakeWindow, run
from tests.app.viewer.fake_session import FakeSession

K = Qt.Key


def test_a_rig_file_is_remembered_for_programs_of_other_folders(
    make_window: MakeWindow, fake: FakeSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "wire.toml").touch()
    monkeypatch.chdir(tmp_path)
    window = make_window(fake, source="wire.toml")
    assert window.remembered.source == str(tmp_path / "wire.toml")


def test_window_and_choices_are_remembered_and_reset(
    make_window: MakeWindow, fake: FakeSession, clock: Clock, remembered: Remembered, qtbot: QtBot
) -> None:
    first = make_window(fake)
    qtbot.keyClick(first, K.Key_4)
    qtbot.keyClick(first, K.Key_E)
    fake.network = "none"
    run(first, clock, 10)
    first.close()
    second = make_window(fake)
    assert (second.picture.view, second.picture.events_mode) == (View.DIFFERENCE, EventsMode.INSET)
    assert remembered.network == "none"
    assert remembered.source == "simulated"
    second.resize(760, 560)  # the offscreen display is 800 pixels wide
    second.close()
    third = ViewerWindow(lambda _s, _n: fake, remembered, clock=clock)
    qtbot.addWidget(third)
    third._timer.stop()
    assert (third.width(), third.height()) == (760, 560)
    third.forget()
    assert third.picture.view is View.WIPE
    assert remembered.source == ""
    assert remembered.geometry is None


def test_a_reset_that_cannot_be_written_is_told(
    window: ViewerWindow, remembered: Remembered, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_path: Path, _target: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "replace", refused)
    window.forget()
    assert f"{tmp_path / 'viewer.json'} cannot be written" in window.picture._banner
    monkeypatch.undo()
    window.forget()
    assert window.picture._banner == "Window and choices are as at the first start."


def test_a_reset_lasts_while_the_network_runs_on(
    make_window: MakeWindow, fake: FakeSession, clock: Clock, remembered: Remembered
) -> None:
    fake.network = "none"
    window = make_window(fake, ticks=20)
    assert remembered.network == "none"
    window.forget()
    run(window, clock, 20)
    window.close()
    assert remembered.network == ""


def test_what_was_chosen_is_remembered_without_a_proper_end(
    make_window: MakeWindow, fake: FakeSession, clock: Clock, tmp_path: Path, qtbot: QtBot
) -> None:
    window = make_window(fake)
    window.resize(1000, 700)
    fake.network = "none"
    run(window, clock, 20)
    window._settled.setInterval(10)
    window.resize(1010, 705)
    qtbot.waitUntil(lambda: not window._settled.isActive())
    again = Remembered(SettingsFile(tmp_path / "viewer.json"))
    assert again.network == "none"
    assert again.geometry == window.saveGeometry()


def test_enter_alone_forgets_nothing(window: ViewerWindow, qtbot: QtBot) -> None:
    asked: list[str] = []

    def answer() -> None:
        box = window.findChild(QMessageBox)
        assert box is not None
        asked.append(box.text())
        qtbot.keyClick(box, K.Key_Return)

    window.remembered.source = "simulated:night"
    QTimer.singleShot(100, answer)
    window.ask_to_forget()
    assert "recent recordings" in asked[0]
    assert window.remembered.source == "simulated:night"


def test_what_is_forgotten_holds_at_once_for_size_and_recordings(
    window: ViewerWindow, fake: FakeSession, remembered: Remembered, qtbot: QtBot
) -> None:
    window.recorder._timed(5.0, 3.0)
    window.recorder.toggle()
    assert window.record_bar.before.value() == 5.0
    window.showMaximized()
    qtbot.waitUntil(window.isMaximized)
    normal, show_normal = [], window.showNormal
    window.showNormal = lambda: (normal.append(1), show_normal())  # type: ignore[method-assign,assignment]
    fake.calls.clear()
    window.forget()
    assert normal, "under X11 a window that fills the screen is not resized"
    desk = window.recorder.desk
    assert (desk.preroll_s, desk.countdown_s) == (0.0, 0.0)
    assert fake.named("arm")[-1] == ("arm", 0.0, False), "nothing is kept in memory any more"
    assert not window.isMaximized()
    assert window.size() == first_size()
    window.recorder.toggle()
    assert (window.record_bar.before.value(), window.record_bar.countdown.value()) == (0.0, 0.0)


def test_a_network_that_gave_no_picture_is_not_remembered(
    make_window: MakeWindow, fake: FakeSession, clock: Clock, remembered: Remembered
) -> None:
    fake.silent, fake.network = True, "gem"
    window = make_window(fake, ticks=20)
    assert remembered.network == ""
    fake.silent = False
    run(window, clock, 20)
    window.close()
    assert remembered.network == "gem"
