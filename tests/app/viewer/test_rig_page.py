"""The rig page in the window, on a preview without cameras."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QComboBox, QDoubleSpinBox
from pytestqt.qtbot import QtBot

from app.cli.device_survey import Survey
from app.rig_discovery import RigDiscovery
from app.viewer import theme
from app.viewer.live_pane import blended
from app.viewer.rig_desk import RigDesk
from app.viewer.window import ViewerWindow
from capture.camera import CameraRole
from capture.simulated.presets import configure
from capture.simulated.rig import facts_of
from sync.rig import Rig
from tests.app.test_rig_discovery import device
from tests.app.viewer.conftest import Clock, MakeWindow, run
from tests.app.viewer.fake_preview import EVENTS, FRAMES, FakePreview, view
from tests.app.viewer.fake_session import FakeSession

Ticks = Callable[..., None]


@pytest.fixture(autouse=True)
def _none_made() -> Iterator[None]:
    FakePreview.made.clear()
    yield
    FakePreview.made.clear()


@pytest.fixture
def found() -> Survey:
    """What is connected."""
    return Survey(
        [device("evk4:1", "events", "1"), device("evk4:2", "events", "2"), device("flir:9", "frames", "9")]
    )


@pytest.fixture
def window(make_window: MakeWindow, fake: FakeSession, found: Survey) -> ViewerWindow:
    w = make_window(fake)
    w.rig.choices.discovery = RigDiscovery(lambda: found)
    w.rig.make_preview = FakePreview
    w.resize(1280, 800)
    return w


@pytest.fixture
def desk(window: ViewerWindow) -> RigDesk:
    return window.rig


@pytest.fixture
def ticks(window: ViewerWindow, clock: Clock) -> Ticks:
    """So many looks at the figures; first waits for what runs beside."""

    def go(looks: int = 2) -> None:
        d, deadline = window.rig.choices.discovery, time.monotonic() + 5
        while (d.looking or any(t.is_alive() for t in d._threads)) and time.monotonic() < deadline:
            time.sleep(0.005)
        run(window, clock, 12 * looks)

    return go


def rig_file(tmp_path: Path, **events: Any) -> Path:
    rig = Rig.from_facts("simulated:handheld", facts_of(configure("handheld")))
    rig = rig.model_copy(
        update={
            "name": "ours",
            "events": rig.events.model_copy(update={"camera": "evk4:1", "width": 64, "height": 48, **events}),
            "image": rig.image.model_copy(update={"camera": "flir:9"}),
            "geometry": rig.geometry.model_copy(update={"residual_px": 0.12, "measured": "with a board"}),
        }
    )
    rig.save(tmp_path / "ours.toml")
    return tmp_path / "ours.toml"


@pytest.fixture
def running(desk: RigDesk, ticks: Ticks, tmp_path: Path) -> FakePreview:
    """The page on a rig file of two cameras, both running."""
    desk.show(rig_file(tmp_path))
    preview = FakePreview.made[-1]
    preview.come_up()
    ticks()
    return preview


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


# -- what is seen


def test_both_are_seen_with_their_figures(desk: RigDesk, running: FakePreview) -> None:
    p = desk.page
    assert p.events.shown is not None
    assert p.frames.shown is not None
    assert p.events.words == "4.2 Mev/s"
    assert p.frames.words == "24.9 fps · 8.00 ms"
    assert p.histogram.words.startswith("3.0% white")
    assert "shorten" in p.histogram.words
    assert p.histogram.white
    assert p.rate.hz == 4.2e6
    assert p.events_focus.text == "focus 12.0 · 80% of the best"
    assert p.trigger.text() == "25.0 rising, 25.0 falling edges/s\n24.9 frames/s · 99% matched"
    assert p.verdict.text().startswith("Good")
    assert theme.GOOD.name() in p.verdict.styleSheet()
    assert "flir:9: 22 MB/s" in p.link.text(), "measured now"
    p.grab()


def test_wrong_polarity_can_be_taken_over(
    desk: RigDesk, running: FakePreview, ticks: Ticks, tmp_path: Path
) -> None:
    assert not desk.page.polarity.isVisible()
    running.views.append(view(finding="polarity", words="Wrong polarity."))
    ticks()
    assert desk.page.polarity.isVisible()
    assert theme.ACCENT.name() in desk.page.verdict.styleSheet()
    desk.page.polarity.click()
    assert running.asked[-1][0] == "clock"
    assert running.asked[-1][1].active_high is False
    desk.save(tmp_path / "turned.toml")
    assert Rig.load(tmp_path / "turned.toml").clock.active_high is False


def test_one_camera_alone(desk: RigDesk, ticks: Ticks) -> None:
    desk.show()
    desk.choose(EVENTS, "evk4:1")
    desk.choose(FRAMES, "")
    desk.start()
    preview = FakePreview.made[-1]
    preview.come_up()
    preview.views[-1] = type(preview.views[-1])(
        None, preview.views[-1].events, None, np.empty((0, 256), np.int64), preview.views[-1].figures
    )
    ticks()
    assert desk.page.frames.problem == "No image camera is chosen."
    assert desk.page.events.problem == ""
    assert "Both cameras are needed" in desk.page.verdict.text()
    assert not desk.page.use.isEnabled()
    assert "image camera" in desk.page.use.toolTip()
    desk.set_overlap(True)
    ticks()
    assert "Both cameras are needed" in desk.page.overlap.problem
    desk.page.grab()
    desk.choose(EVENTS, "")
    desk.choose(FRAMES, "flir:9")
    desk.start()
    FakePreview.made[-1].come_up()
    ticks()
    assert desk.page.events.problem == "No event camera is chosen."
    assert desk.page.use.isEnabled(), "frames alone are a rig"


def test_a_camera_that_goes_says_so_and_comes_back_with_its_settings(
    desk: RigDesk, running: FakePreview, ticks: Ticks
) -> None:
    desk.controls.wish(FRAMES, "gain_db", 6.0)
    ticks()
    running.fault(FRAMES, "flir:9: the camera does not answer any more; is it plugged in?")
    ticks()
    assert "is it plugged in" in desk.page.frames.problem
    assert desk.page.events.problem == ""
    desk.page.grab()
    running.asked.clear()
    running.values[FRAMES]["gain_db"] = 0
    running.come_up()
    ticks()
    assert desk.page.frames.problem == ""
    assert ("set", (FRAMES, "gain_db", 6)) in running.asked


def test_cameras_that_cannot_be_opened(desk: RigDesk, ticks: Ticks, tmp_path: Path) -> None:
    desk.show(rig_file(tmp_path))
    FakePreview.made[-1].problem = "evk4: needs neuromorphic-drivers"
    ticks()
    assert "needs neuromorphic-drivers" in desk.page.events.problem
    assert desk.page.start.text() == "Stop"


# -- settings


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


def test_a_camera_that_does_not_answer_holds_nothing_up(
    desk: RigDesk, running: FakePreview, ticks: Ticks
) -> None:
    running.silent = True  # its answer never comes: whoever waited for it would not come back
    cell(desk, FRAMES, "gain_db").editor.setValue(20.0)
    ticks()
    desk.stop()
    ticks()
    assert desk.preview is None


# -- overlap and the rig file


def test_overlap_follows_map_and_mirror(desk: RigDesk, running: FakePreview, ticks: Ticks) -> None:
    desk.page.overlap_word.click()
    assert desk.page.overlapping
    verb, matrix = running.asked[-1]
    assert verb == "overlay"
    assert matrix == pytest.approx(desk.setup.matrix())
    assert desk.page.map.whole == "map of the rig, ±0.12 px"
    assert not desk.page.mirror.isEnabled(), "a measured map keeps its mirror"
    v = view()
    running.views.append(type(v)(v.image, v.events, np.full((48, 64), 200, np.uint8), v.counts, v.figures))
    ticks()
    assert desk.page.overlap.over is not None
    ends = []
    for at in (0, 50, 100):
        desk.page.blend.setValue(at)
        ends.append(desk.page.overlap.grab().toImage().pixelColor(300, 200).getRgb()[:3])
    assert len(set(ends)) == 3
    desk.page.beside_word.click()
    assert running.asked[-1] == ("overlay", None)


def test_the_mirror_can_be_turned_where_nothing_was_measured(desk: RigDesk, ticks: Ticks) -> None:
    desk.show()
    desk.choose(EVENTS, "evk4:1")
    desk.choose(FRAMES, "flir:9")
    desk.start()
    preview = FakePreview.made[-1]
    preview.come_up()
    ticks()
    desk.set_overlap(True)
    assert desk.page.map.whole == "assumed, not calibrated"
    assert desk.page.mirror.isEnabled()
    assert desk.page.mirror.isChecked()
    mirrored = preview.asked[-1][1]
    desk.page.mirror.click()
    plain = preview.asked[-1][1]
    assert np.linalg.det(mirrored[:2, :2]) < 0 < np.linalg.det(plain[:2, :2])


def test_use_goes_on_live_with_the_file(
    desk: RigDesk, running: FakePreview, window: ViewerWindow, tmp_path: Path
) -> None:
    opened: list[Any] = []
    factory = window.factory
    window.factory = lambda source, network: opened.append(source) or factory(source, network)  # type: ignore[func-returns-value]
    desk.page.use.click()
    assert opened == [tmp_path / "ours.toml"], "nothing was changed: the file itself"
    assert not desk.open
    assert running.stopped == 1
    assert window.player is not None


def test_use_writes_what_was_changed_first(
    desk: RigDesk, running: FakePreview, window: ViewerWindow, ticks: Ticks, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr("app.viewer.rig_desk.default_output", lambda: tmp_path / "made" / "rig-1.toml")
    desk.controls.wish(FRAMES, "exposure_us", 5000.0)
    ticks()
    before = Rig.load(tmp_path / "ours.toml")
    desk.page.use.click()
    assert window.source == str(tmp_path / "made" / "rig-1.toml")
    assert Rig.load(tmp_path / "made" / "rig-1.toml").image.settings == {"exposure_us": 5000}
    assert Rig.load(tmp_path / "ours.toml") == before, "the old file stays as it was"


def test_other_serials_than_the_files_are_told(desk: RigDesk, ticks: Ticks, tmp_path: Path) -> None:
    desk.show(rig_file(tmp_path, serial="00000042"))
    FakePreview.made[-1].come_up()
    ticks(60)
    assert desk.page.warning.text().startswith(
        "The rig file is of the event camera 00000042, but events-1 is there"
    )


@pytest.mark.parametrize(
    ("text", "why"), [("a = [", "not valid TOML"), ("version = 7", "version 7"), ("name = 'x'", "events")]
)
def test_an_unreadable_file_is_one_line_and_changes_nothing(
    desk: RigDesk, running: FakePreview, tmp_path: Path, text: str, why: str
) -> None:
    (tmp_path / "bad.toml").write_text(text)
    desk.load(tmp_path / "bad.toml")
    assert why in desk.page.warning.text()
    assert "\n" not in desk.page.warning.text()
    assert theme.FAULT.name() in desk.page.warning.styleSheet()
    assert desk.setup.name == "ours"
    assert running.stopped == 0


def test_open_and_save_go_by_the_dialogs(
    desk: RigDesk, running: FakePreview, tmp_path: Path, monkeypatch: Any, ticks: Ticks
) -> None:
    monkeypatch.setattr("app.viewer.dialogs.rig_to_save", lambda *_a: tmp_path / "new.toml")
    desk.page.save.click()
    assert Rig.load(tmp_path / "new.toml").name == "ours"
    assert "Saved as" in desk.page.warning.text()
    monkeypatch.setattr("app.viewer.dialogs.rig_to_open", lambda *_a: tmp_path / "ours.toml")
    desk.page.open.click()
    ticks()
    assert desk.page.source.whole == str(tmp_path / "ours.toml")
    assert desk.preview is None
    monkeypatch.setattr("app.viewer.dialogs.rig_to_open", lambda *_a: None)
    desk.page.open.click()
    (tmp_path / "folder.toml").mkdir()
    desk.save(tmp_path / "folder.toml")
    assert "cannot be written" in desk.page.warning.text()


def test_nothing_is_cut_off_at_the_smallest_window(
    desk: RigDesk, running: FakePreview, window: ViewerWindow
) -> None:
    window.resize(1280, 800)
    page = desk.page
    page.grab()
    for panel in (page.events_panel, page.frames_panel):
        area = panel.parentWidget()
        assert panel.width() <= area.width()
        for c in panel.cells.values():
            assert c.geometry().right() <= panel.width()
    for w in (page.use, page.close_button, page.verdict, page.link):
        bottom = w.mapTo(page, w.rect().bottomLeft()).y()
        assert bottom < page.height(), w


def test_a_blend_goes_from_the_image_to_the_events() -> None:
    image = np.full((4, 4), 100, np.uint8)
    events = np.full((4, 4), 128, np.uint8)
    events[0, 0], events[0, 1] = 255, 0
    assert (blended(image, events, 0.0) == 100).all()
    alone = blended(image, events, 1.0)
    assert tuple(alone[0, 0]) == theme.EVENT_ON.getRgb()[:3]
    assert np.abs(alone[0, 1].astype(int) - theme.EVENT_OFF.getRgb()[:3]).max() <= 2
    assert (alone[1:] == 0).all()
    half = blended(np.repeat(image[:, :, None], 3, 2), events, 0.5)
    assert (half[1:] == 50).all()
    assert half[0, 0, 0] == 255, "events stay bright over a fading image"
