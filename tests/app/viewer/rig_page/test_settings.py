"""Settings of the cameras on the rig page: sent, read back, refused at their control."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PySide6.QtWidgets import QComboBox, QDoubleSpinBox
from pytestqt.qtbot import QtBot

from app.viewer.rig_desk import RigDesk
from app.viewer.window import ViewerWindow
from capture.camera import CameraRole
from tests.app.viewer.fake_preview import EVENTS, FRAMES, FakePreview
from tests.app.viewer.rig_page.conftest import Ticks


def cell(desk: RigDesk, role: CameraRole, name: str) -> Any:
    return (desk.page.events_panel if role is EVENTS else desk.page.frames_panel).cells[name]


def test_controls_are_made_of_what_the_camera_can(desk: RigDesk, running: FakePreview) -> None:
    exposure = cell(desk, FRAMES, "exposure_us")
    assert exposure.label.whole == "Exposure, µs"
    assert isinstance(exposure.editor, QDoubleSpinBox)
    assert exposure.editor.text() == "8000"
    assert "20 to 66" in exposure.editor.toolTip()
    assert isinstance(cell(desk, EVENTS, "edges").editor, QComboBox)
    assert cell(desk, FRAMES, "auto_exposure").value() is False
    grey = cell(desk, FRAMES, "– Frame rate")
    assert not grey.editor.isEnabled()
    assert "flir:9: cannot be set" in grey.toolTip() or "flir:9: cannot be set" in grey.editor.toolTip()


def test_a_value_is_sent_and_what_the_camera_made_of_it_is_shown(
    desk: RigDesk, running: FakePreview, ticks: Ticks
) -> None:
    editor = cell(desk, FRAMES, "exposure_us").editor
    editor.setValue(12_000.6)
    ticks()
    assert running.asked[-1] == ("set", (FRAMES, "exposure_us", 12_000.6))
    assert editor.text() == "12001", "read back"
    assert desk.setup.changed[FRAMES] == {"exposure_us": 12_001}
    bias = cell(desk, EVENTS, "bias_diff_on").editor
    bias.setValue(12)
    ticks()
    assert running.asked[-1] == ("set", (EVENTS, "bias_diff_on", 12))
    assert isinstance(running.asked[-1][1][2], int)
    choice = cell(desk, EVENTS, "edges").editor
    choice.activated.emit(1)
    assert running.asked[-1] == ("set", (EVENTS, "edges", "rising"))
    cell(desk, FRAMES, "auto_exposure").editor.click()
    assert running.asked[-1] == ("set", (FRAMES, "auto_exposure", True))


def test_out_of_range_is_told_at_the_control_and_not_sent(
    desk: RigDesk, running: FakePreview, ticks: Ticks
) -> None:
    c = cell(desk, FRAMES, "exposure_us")
    running.asked.clear()
    c.editor.setValue(5.0)
    assert not running.asked
    assert c.error.isVisible()
    assert "goes from 20 to 66" in c.error.text()
    assert c.editor.value() == 8000.0
    c.editor.setValue(9000.0)
    ticks()
    assert not c.error.isVisible()


def test_what_the_camera_refuses_is_told_at_the_control(
    desk: RigDesk, running: FakePreview, ticks: Ticks
) -> None:
    running.refuse = "flir:9: gain_db cannot be set to 20 (locked)"
    c = cell(desk, FRAMES, "gain_db")
    c.editor.setValue(20.0)
    ticks()
    assert c.error.text() == "gain_db cannot be set to 20 (locked)"
    assert c.editor.value() == 3.0, "as it is, not as it was typed"
    assert desk.setup.changed[FRAMES] == {}


def test_a_camera_that_was_away_for_a_moment_gets_what_was_changed(
    desk: RigDesk, running: FakePreview, ticks: Ticks
) -> None:
    """In one request: a long exposure may need the lower rate first. Also where nobody saw that it was away."""
    cell(desk, FRAMES, "exposure_us").editor.setValue(9000.0)
    ticks()
    cell(desk, FRAMES, "gain_db").editor.setValue(12.0)
    ticks()
    cell(desk, FRAMES, "exposure_us").editor.setValue(15_000.0)
    ticks()
    running.sets.clear()
    running.come_up()  # its process was started again, and has told who it is
    ticks()
    assert running.sets == [{"exposure_us": 15_000, "gain_db": 12}]
    running.sets.clear()
    running.fault(FRAMES, "flir:9: the camera does not answer any more; is it plugged in?")
    ticks()
    running.come_up()
    ticks()
    assert running.sets == [{"exposure_us": 15_000, "gain_db": 12}]


def test_a_camera_that_was_away_gets_what_a_rig_file_has_by_now(
    desk: RigDesk, running: FakePreview, ticks: Ticks, tmp_path: Path
) -> None:
    cell(desk, FRAMES, "gain_db").editor.setValue(12.0)
    ticks()
    desk.save(tmp_path / "saved.toml")
    running.sets.clear()
    running.come_up()  # with the settings of the start, which are older than the file's
    ticks()
    assert running.sets == [{"gain_db": 12}]
    # A camera that is opened anew has them from the file.
    desk.start()
    again = FakePreview.made[-1]
    assert again.frames.settings["gain_db"] == 12
    again.come_up()
    ticks()
    again.come_up()
    ticks()
    assert again.sets == []


def test_a_camera_that_does_not_answer_holds_nothing_up(
    desk: RigDesk, running: FakePreview, ticks: Ticks
) -> None:
    running.silent = True  # its answer never comes: whoever waited for it would not come back
    cell(desk, FRAMES, "gain_db").editor.setValue(20.0)
    ticks()
    desk.stop()
    ticks()
    assert desk.preview is None


@pytest.mark.parametrize("size", [(720, 480), (960, 540), (1280, 800)])
def test_nothing_of_the_page_is_cut_or_covered_in_a_small_window(
    window: ViewerWindow, desk: RigDesk, running: FakePreview, ticks: Ticks, qtbot: QtBot, size: tuple[int, int]
) -> None:
    window.resize(*size)
    ticks()
    qtbot.wait(50)
    page = desk.page
    for b in (page.start, page.calibrate, page.open, page.save, page.use, page.close_button):
        assert b.height() >= b.sizeHint().height()
    upper = page.look.parentWidget()
    assert upper is not None
    assert page.cameras.geometry().bottom() < page.look.geometry().top()
    cut = [c.label.whole for c in page.events_panel.cells.values() if c.label.text().endswith("…")]
    assert size[0] < 960 or cut == []
