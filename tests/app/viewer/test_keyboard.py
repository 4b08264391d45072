"""Someone without a mouse: where the keys go, what Tab reaches, what Esc leaves."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtCore import Qt, QTimer
from PySide6.QtWidgets import QApplication, QMenu, QPushButton, QWidget
from pytestqt.qtbot import QtBot

from app.session import WorkerStatus
from app.viewer.modes import View
from app.viewer.recording_desk import Step
from app.viewer.remembered import Remembered
from app.viewer.window import ViewerWindow
from capture.camera import CameraState
from tests.app.viewer.conftest import Clock, MakeWindow, run
from tests.app.viewer.fake_session import FakeSession

K = Qt.Key


def press(qtbot: QtBot, key: Qt.Key) -> None:
    """As the system does it: to what has the focus, not to the window."""
    target = QApplication.focusWidget()
    assert target is not None
    qtbot.keyClick(target, key)


@pytest.fixture
def window(remembered: Remembered, make_window: MakeWindow, fake: FakeSession, tmp_path: Path) -> ViewerWindow:
    remembered.recordings = tmp_path
    return make_window(fake)


def test_nothing_is_pressed_by_a_window_that_just_opened(window: ViewerWindow, qtbot: QtBot) -> None:
    assert QApplication.focusWidget() is window.middle
    press(qtbot, K.Key_Space)
    assert window.player is not None
    assert window.player.showing.held


@pytest.mark.parametrize("by", ["Esc", "click", "Tab and Enter"])
def test_keys_work_again_once_the_form_of_a_recording_is_gone(
    window: ViewerWindow, clock: Clock, qtbot: QtBot, by: str
) -> None:
    """A hidden field kept the focus and swallowed every letter and digit."""
    press(qtbot, K.Key_R)
    assert QApplication.focusWidget() is window.record_bar.name
    cancel = next(b for b in window.record_bar.findChildren(QPushButton) if b.text() == "Cancel")
    if by == "Esc":
        press(qtbot, K.Key_Escape)
    elif by == "click":
        qtbot.mouseClick(cancel, Qt.MouseButton.LeftButton)
    else:
        cancel.setFocus(Qt.FocusReason.TabFocusReason)
        press(qtbot, K.Key_Return)
    assert window.recorder.desk.step is Step.IDLE
    run(window, clock, 1)
    assert QApplication.focusWidget() is window.middle
    press(qtbot, K.Key_2)
    assert window.picture.view is View.SIDE_BY_SIDE


@pytest.mark.parametrize("key", [K.Key_Space, K.Key_Return])
def test_menus_open_by_tab_and_key(window: ViewerWindow, qtbot: QtBot, key: Qt.Key) -> None:
    opened: list[QMenu] = []
    for menu in (window.top.source_menu, window.top.view_menu):
        menu.aboutToShow.connect(lambda m=menu: opened.append(m))
        menu.aboutToShow.connect(lambda m=menu: QTimer.singleShot(50, m.close))  # it is waited for
    press(qtbot, K.Key_Tab)
    assert QApplication.focusWidget() is window.top.source
    window.top.view.setFocus(Qt.FocusReason.TabFocusReason)
    press(qtbot, key)
    assert opened == [window.top.view_menu]
    assert not window.player.showing.held, "Space was the button's"  # type: ignore[union-attr]
    press(qtbot, K.Key_Escape)
    assert QApplication.focusWidget() is window.middle


def test_a_click_leaves_the_keys_where_they_are(window: ViewerWindow, qtbot: QtBot) -> None:
    window.top.full.clicked.disconnect()
    qtbot.mouseClick(window.top.full, Qt.MouseButton.LeftButton)
    assert QApplication.focusWidget() is window.middle
    window.top.full.setFocus(Qt.FocusReason.TabFocusReason)
    qtbot.mouseClick(window.picture, Qt.MouseButton.LeftButton)
    assert QApplication.focusWidget() is window.middle


def test_all_buttons_of_the_calibration_are_reached(window: ViewerWindow, qtbot: QtBot) -> None:
    window.calibration.show()
    page, began = window.calibration.page, []
    page.begun.disconnect()
    page.begun.connect(lambda: began.append(1))
    seen: list[QWidget | None] = []
    for _ in range(40):
        press(qtbot, K.Key_Tab)
        seen.append(QApplication.focusWidget())
    buttons = [b for b in page.findChildren(QPushButton) if b.isVisible()]
    assert len(buttons) == 4
    assert all(b in seen for b in buttons)
    page.start.setFocus(Qt.FocusReason.TabFocusReason)
    press(qtbot, K.Key_Return)
    assert began == [1]


def test_escape_closes_the_calibration_but_not_one_that_runs(
    window: ViewerWindow, clock: Clock, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    window.calibration.show()
    monkeypatch.setattr(type(window.calibration.run), "running", property(lambda _self: True))
    press(qtbot, K.Key_Escape)
    assert window.calibration.open
    assert window.notice.isVisible()
    assert "G stops it" in window.notice.text()
    monkeypatch.undo()
    press(qtbot, K.Key_Escape)
    assert not window.calibration.open
    run(window, clock, 1)
    assert window.notice.isHidden()


def test_the_dot_of_a_faulted_worker_opens_by_key(
    window: ViewerWindow, clock: Clock, qtbot: QtBot, fake: FakeSession
) -> None:
    fake.workers = (*fake.workers[:2], WorkerStatus("restore", CameraState.FAULTED, "out of memory"))
    run(window, clock, 13)
    window.strip.workers.setFocus(Qt.FocusReason.TabFocusReason)
    press(qtbot, K.Key_Space)
    popup = window.strip.workers.popup
    assert popup is not None
    assert popup.text.text() == "out of memory"
    assert popup.focusWidget() is popup.copy_button
    qtbot.keyClick(popup.copy_button, K.Key_Return)
    assert popup.copy_button.text() == "Copied"
    qtbot.keyClick(popup.restart_button, K.Key_Return)
    assert ("restart", {"worker": "restore"}) in fake.calls
    assert not popup.isVisible()


def test_keys_are_the_windows_again_after_the_page_of_keys(window: ViewerWindow, qtbot: QtBot) -> None:
    press(qtbot, K.Key_F1)
    assert window.help.isVisible()
    press(qtbot, K.Key_Escape)
    assert not window.help.isVisible()
    assert QApplication.focusWidget() is window.middle
