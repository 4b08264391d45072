"""The rig page is opened and left; which cameras are found, typed and chosen."""

from __future__ import annotations

import threading
from typing import Any

from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from app.cli.device_survey import Survey
from app.rig_discovery import RigDiscovery
from app.viewer.recording_desk import Step
from app.viewer.rig_desk import RigDesk
from app.viewer.window import ViewerWindow
from capture.camera import CameraRole
from tests.app.test_rig_discovery import device
from tests.app.viewer.conftest import Clock, run
from tests.app.viewer.fake_preview import EVENTS, FRAMES, FakePreview
from tests.app.viewer.fake_session import FakeSession
from tests.app.viewer.rig_page.conftest import Ticks

# -- opening and leaving


def test_key_c_opens_it_and_takes_the_cameras_and_gives_them_back(
    window: ViewerWindow, desk: RigDesk, qtbot: QtBot, fake: FakeSession, ticks: Ticks
) -> None:
    qtbot.keyClick(window, Qt.Key.Key_C)
    assert desk.open
    assert window.player is None, "a camera serves one program at a time"
    (preview,) = FakePreview.made
    assert preview.events.camera == preview.frames.camera == "simulated:handheld"
    ticks()
    assert desk.page.start.text() == "Stop"
    qtbot.keyClick(window, Qt.Key.Key_C)
    assert not desk.open
    assert preview.stopped == 1
    assert window.player is not None, "the source comes back"


def test_the_cameras_are_opened_once_what_ran_has_ended(window: ViewerWindow, desk: RigDesk) -> None:
    gate = threading.Event()
    assert window.player is not None
    window.player.session.stop = lambda: gate.wait(20)  # type: ignore[method-assign,assignment,return-value]
    desk.show()
    preview = FakePreview.made[-1]
    assert preview.after is not None
    assert preview.after.is_alive()
    gate.set()


def test_what_is_being_recorded_is_not_ended_by_the_cameras_start(window: ViewerWindow, desk: RigDesk) -> None:
    desk.show("replay:x.aedat4")  # a page without cameras leaves what runs alone
    window.recorder.desk.step = Step.RUNNING
    desk.start()
    assert window.player is not None
    assert "being recorded" in window.notice.text()
    window.recorder.desk.step = Step.IDLE


def test_the_word_rig_and_the_menu_open_it(window: ViewerWindow, desk: RigDesk) -> None:
    window.top.rig.click()
    assert desk.open
    groups = [rows for column in window.help.columns() for _, rows in column]
    assert [keys for rows in groups for keys, text in rows if text.startswith("Rig")] == ["C"]


def test_another_source_closes_it(window: ViewerWindow, desk: RigDesk) -> None:
    desk.show()
    window.open_source("simulated:night")
    assert not desk.open
    assert FakePreview.made[-1].stopped == 1


def test_calibration_and_rig_page_change_places(window: ViewerWindow, desk: RigDesk, qtbot: QtBot) -> None:
    qtbot.keyClick(window, Qt.Key.Key_G)
    assert window.calibration.open
    qtbot.keyClick(window, Qt.Key.Key_C)
    assert desk.open
    assert not window.calibration.open
    qtbot.keyClick(window, Qt.Key.Key_G)
    assert window.calibration.open
    assert not desk.open
    assert FakePreview.made[-1].stopped == 1


def test_a_recording_is_no_rig(desk: RigDesk, ticks: Ticks) -> None:
    desk.show("replay:x.aedat4")
    ticks()
    assert "is a recording" in desk.page.warning.text()
    assert not FakePreview.made
    assert not desk.page.start.isEnabled()


# -- cameras


def test_found_typed_and_simulated_cameras_are_listed(desk: RigDesk, ticks: Ticks) -> None:
    desk.show()
    ticks()
    names = [r.choice.name for r in desk.page.cameras.rows]
    assert names[:3] == ["evk4:1", "evk4:2", "flir:9"]
    assert "simulated:davis" in names
    assert desk.page.found.text() == "3 cameras found."
    row = desk.page.cameras.rows[0]
    assert row.buttons[EVENTS].isEnabled()
    assert not row.buttons[FRAMES].isEnabled()


def test_two_of_the_same_kind_change_places(desk: RigDesk, ticks: Ticks) -> None:
    desk.show()
    ticks()

    def switch(name: str, role: CameraRole) -> Any:
        return next(r for r in desk.page.cameras.rows if r.choice.name == name).buttons[role]

    switch("evk4:1", EVENTS).click()
    switch("flir:9", FRAMES).click()
    switch("evk4:2", EVENTS).click()
    assert (desk.setup.events.camera, desk.setup.frames.camera) == ("evk4:2", "flir:9")
    assert not switch("evk4:1", EVENTS).isChecked()
    assert switch("evk4:2", EVENTS).isChecked()
    assert desk.preview is None, "another choice waits for the start"
    desk.page.start.click()
    assert FakePreview.made[-1].events.camera == "evk4:2"
    switch("evk4:2", EVENTS).click()
    assert not desk.setup.events.there, "a second click takes it away"


def test_the_link_is_judged_before_the_start(desk: RigDesk, ticks: Ticks, found: Survey) -> None:
    found.devices.append(device("davis346:7", "frames", "7"))
    desk.show()
    ticks()
    desk.choose(EVENTS, "evk4:1")
    desk.choose(FRAMES, "")
    ticks()
    assert desk.page.link.text() == "evk4:1: 53 MB/s, 13% of USB 3"
    assert not desk.page.advice.isVisible()
    found.devices[0]["usb_speed"] = "USB 2, 480 Mbit/s"
    desk.page.look.click()
    ticks()
    assert "give it a USB 3 port" in desk.page.advice.text()


def test_a_look_that_raises_is_a_line(desk: RigDesk, ticks: Ticks) -> None:
    def broken() -> Survey:
        raise OSError("no bus")

    desk.choices.discovery = RigDiscovery(broken)
    desk.show()
    ticks()
    assert "cannot be looked for (OSError: no bus)" in desk.page.found.text()
    assert "simulated:davis" in [r.choice.name for r in desk.page.cameras.rows]


def test_looking_never_holds_the_window_up(
    desk: RigDesk, window: ViewerWindow, clock: Clock, ticks: Ticks
) -> None:
    gate = threading.Event()

    def slow() -> Survey:
        gate.wait(30)
        return Survey()

    desk.choices.discovery = RigDiscovery(slow)
    desk.show()
    run(window, clock, 24)
    assert desk.choices.discovery.looking, "nobody has waited for it"
    assert desk.page.found.text() == "Looking for cameras…"
    gate.set()
    ticks()
    assert desk.page.found.text() == "No camera is connected."


def test_an_address_is_typed(desk: RigDesk, ticks: Ticks, qtbot: QtBot) -> None:
    desk.show()
    qtbot.keyClicks(desk.page.address, "genicam:10.0.0.2")
    assert desk.open, "letters that are typed are no keys of the window"
    qtbot.keyClick(desk.page.address, Qt.Key.Key_Return)
    ticks()
    assert desk.setup.frames.camera == "genicam:10.0.0.2"
    assert desk.page.address.text() == ""
    assert desk.page.cameras.rows[3].buttons[FRAMES].isChecked()
    qtbot.keyClicks(desk.page.address, "nonsense")
    qtbot.keyClick(desk.page.address, Qt.Key.Key_Return)
    ticks()
    assert "is no camera" in desk.page.address_error.text()
    assert desk.page.address.text() == "nonsense", "it can be mended"
