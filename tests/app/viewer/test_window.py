"""The window: keys, pictures, held instants, recordings, what is remembered."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtCore import QMimeData, QPoint, QPointF, QSize, Qt, QUrl
from PySide6.QtGui import QAction, QDropEvent
from PySide6.QtWidgets import QFileDialog, QMenu, QMessageBox
from pytestqt.qtbot import QtBot

from app.viewer import dialogs
from app.viewer.first_size import within
from app.viewer.keys import KEYS
from app.viewer.modes import EventsMode, View
from app.viewer.remembered import Remembered
from app.viewer.window import ViewerWindow
from recordings.open import FORMATS
from tests.app.viewer.conftest import Clock, MakeWindow, run
from tests.app.viewer.fake_session import FakeSession

K = Qt.Key


def test_pictures_are_shown_and_closing_stops_the_session(window: ViewerWindow, fake: FakeSession) -> None:
    assert window.pages.currentWidget() is window.picture
    assert window.picture.image_size == (96, 64)
    assert window.windowTitle() == "Halfmirror – simulated:handheld"
    assert not window.transport.isVisible()
    window.close()
    assert fake.calls[-1] == ("stop",)


def test_keys_1_to_5_and_e_choose_what_is_shown(window: ViewerWindow, qtbot: QtBot) -> None:
    for key, view in zip(
        (K.Key_2, K.Key_3, K.Key_4, K.Key_5, K.Key_1), [*list(View)[1:], View.WIPE], strict=True
    ):
        qtbot.keyClick(window, key)
        assert window.picture.view is view
        assert window.top.view.text() == f"View  {view.value}"
    modes = []
    for _ in range(3):
        qtbot.keyClick(window, K.Key_E)
        modes.append(window.picture.events_mode)
    assert modes == [EventsMode.INSET, EventsMode.OVERLAY, EventsMode.OFF]


def test_events_arrive_on_the_picture(window: ViewerWindow, clock: Clock, qtbot: QtBot) -> None:
    qtbot.keyClick(window, K.Key_5)

    def drawn() -> bool:
        run(window, clock, 1)
        return window.picture._events.array is not None

    qtbot.waitUntil(drawn)


def test_arrows_hold_and_move_and_escape_goes_back(
    window: ViewerWindow, fake: FakeSession, clock: Clock, qtbot: QtBot
) -> None:
    qtbot.keyClick(window, K.Key_Right)
    qtbot.keyClick(window, K.Key_Right)
    run(window, clock, 10)
    assert window.exposure.slider.value == pytest.approx(0.54)
    assert window.exposure.back.text() == "back to live"
    run(window, clock, 12)
    assert window.strip.age.text() == "held"
    assert fake.held is not None
    qtbot.keyClick(window, K.Key_Escape)
    assert fake.held is None
    assert window.exposure.back.text() == "live"


def test_dragging_the_slider_asks_coalesced_and_stays_held_after_release(
    window: ViewerWindow, fake: FakeSession, clock: Clock, qtbot: QtBot
) -> None:
    fake.answer_s = 0.05
    slider, left = window.exposure.slider, Qt.MouseButton.LeftButton
    y = slider.height() // 2
    qtbot.mousePress(slider, left, pos=QPoint(round(slider.x_of(0.5)), y))
    for k in range(41):
        qtbot.mouseMove(slider, QPoint(round(slider.x_of(0.5 + k / 100)), y))
        if k % 10 == 0:
            run(window, clock, 1)
    qtbot.mouseRelease(slider, left, pos=QPoint(round(slider.x_of(0.9)), y))
    run(window, clock, 30)
    asked = fake.named("request_latents")
    assert 2 <= len(asked) <= 5
    assert asked[-1][1] == pytest.approx((0.9,), abs=0.01)
    assert window.player is not None
    assert window.player.showing.held
    assert window.player.showing.shown_latent == pytest.approx(0.9, abs=0.01)


def test_slow_motion_by_key_moves_the_knob(window: ViewerWindow, clock: Clock, qtbot: QtBot) -> None:
    qtbot.keyClick(window, K.Key_S)
    run(window, clock, 10)
    seen = set()
    for _ in range(60):
        run(window, clock, 1)
        seen.add(window.exposure.slider.value)
    assert len(seen) > 15
    assert window.exposure.slow.isChecked()
    qtbot.mouseClick(window.exposure.slow, Qt.MouseButton.LeftButton)
    assert not window.exposure.slow.isChecked()
    assert window.player is not None
    assert window.player.showing.held


def test_slow_motion_of_one_instant_says_why_not(
    window: ViewerWindow, fake: FakeSession, clock: Clock, qtbot: QtBot
) -> None:
    fake.network = "glint"
    run(window, clock, 20)
    assert window.exposure.instant.text() == "0.50 · one instant only"
    qtbot.keyClick(window, K.Key_S)
    assert window.picture._banner == "glint restores one instant only: no slow motion."
    assert not window.keys["slow"].isChecked()


def test_stale_pictures_are_dimmed_but_not_while_held(
    window: ViewerWindow, fake: FakeSession, clock: Clock, qtbot: QtBot
) -> None:
    fake.silent = True
    run(window, clock, 80)
    assert window.picture._stale == 1.0
    assert "age 1." in window.strip.age.text()
    qtbot.keyClick(window, K.Key_Space)
    run(window, clock, 1)
    assert window.picture._stale == 0.0


def test_the_network_chooser_opens_by_key_and_switches(
    window: ViewerWindow, fake: FakeSession, clock: Clock, qtbot: QtBot
) -> None:
    fake.answer_s = 0.1
    qtbot.keyClick(window, K.Key_N)
    assert window.chooser.isVisible()
    qtbot.keyClick(window.chooser.list, K.Key_Down)
    qtbot.keyClick(window.chooser.list, K.Key_Return)
    assert fake.named("select_network") == [("select_network", "none")]
    assert window.top.network.text() == "Network  edi → none…"
    run(window, clock, 40)
    assert window.top.network.text() == "Network  none"


def test_recordings_have_transport_keys(
    make_window: MakeWindow, tape: FakeSession, clock: Clock, qtbot: QtBot
) -> None:
    window = make_window(tape, source="cups.aedat4", ticks=30)
    assert window.transport.isVisible()
    assert window.transport.seek.timeline is not None
    for key, call in (
        (K.Key_Space, ("pause", {})),
        (K.Key_Period, ("step", {"frames": 1})),
        (K.Key_Comma, ("step", {"frames": -1})),
        (K.Key_Space, ("play", {})),
        (K.Key_L, ("loop", {"on": True})),
        (K.Key_BracketRight, ("speed", {"factor": 2.0})),
        (K.Key_BracketLeft, ("speed", {"factor": 1.0})),
    ):
        qtbot.keyClick(window, key)
        assert tape.calls[-1] == call
        run(window, clock, 2)
    assert window.remembered.recent == ["cups.aedat4"]
    qtbot.mouseClick(window.transport.seek, Qt.MouseButton.LeftButton, pos=QPoint(200, 10))
    run(window, clock, 10)
    assert tape.named("seek")
    assert window.transport.loop.isChecked()


def test_transport_keys_do_nothing_live(window: ViewerWindow, fake: FakeSession, qtbot: QtBot) -> None:
    before = list(fake.calls)
    for key in (K.Key_Period, K.Key_Comma, K.Key_L, K.Key_BracketLeft):
        qtbot.keyClick(window, key)
    assert fake.calls == before


def test_a_snapshot_is_written_and_its_place_said(
    window: ViewerWindow, clock: Clock, qtbot: QtBot, tmp_path: Path
) -> None:
    qtbot.keyClick(window, K.Key_P)

    def said() -> bool:
        run(window, clock, 1)
        return "Saved" in window.picture._banner

    qtbot.waitUntil(said)
    assert str(tmp_path / "snapshots") in window.picture._banner
    assert len(list((tmp_path / "snapshots").glob("*.png"))) == 3
    run(window, clock, 60 * 10)
    assert window.picture._banner == ""


def test_the_map_of_the_residual_by_key_with_its_number(
    window: ViewerWindow, fake: FakeSession, clock: Clock, qtbot: QtBot
) -> None:
    qtbot.keyClick(window, K.Key_B)
    assert window.keys["residual"].isChecked()
    run(window, clock, 20)
    assert window.picture._residual.array is not None
    assert window.picture._residual_words == "re-blur residual 2.4"
    assert window.strip.reblur.text() == "re-blur 2.4"
    qtbot.keyClick(window, K.Key_Space)  # held, it stays
    run(window, clock, 5)
    assert window.picture._residual_words == "re-blur residual 2.4"
    qtbot.keyClick(window, K.Key_B)
    run(window, clock, 2)
    assert window.picture._residual.array is None
    assert window.picture._residual_words == ""
    assert [c[1]["on"] for c in fake.named("residual")] == [True, False]


def test_a_network_of_one_instant_says_that_it_has_no_residual(
    window: ViewerWindow, fake: FakeSession, clock: Clock, qtbot: QtBot
) -> None:
    fake.network = "glint"
    run(window, clock, 20)
    qtbot.keyClick(window, K.Key_B)
    run(window, clock, 20)
    assert window.picture._residual_words == "no re-blur residual: one instant only"
    assert "glint restores one instant only" in window.strip.reblur.toolTip()
    assert window.picture._residual.array is None


def test_the_wish_for_residuals_outlives_the_source(
    window: ViewerWindow, fake: FakeSession, clock: Clock, qtbot: QtBot
) -> None:
    qtbot.keyClick(window, K.Key_B)
    window.open_source("simulated:night", "edi")
    run(window, clock, 20)
    assert fake.named("residual") == [("residual", {"on": True})] * 2
    assert window.picture._residual.array is not None


def test_another_source_stops_the_first(
    make_window: MakeWindow, fake: FakeSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    window = make_window(fake)
    path = tmp_path / "cups.aedat4"
    monkeypatch.setattr(dialogs, "recording", lambda *_: path)
    fake.calls.clear()
    window.keys["open"].trigger()
    assert fake.calls == [("stop",), ("start",)]
    assert window.remembered.folder == tmp_path
    assert window.remembered.source == str(path)
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(tmp_path / "street.aedat4"))])
    drop = QDropEvent(
        QPointF(9, 9), Qt.DropAction.CopyAction, data, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    )
    window.dropEvent(drop)
    assert window.source == str(tmp_path / "street.aedat4")


def test_every_key_is_in_a_menu_or_on_the_help_page_and_unique(window: ViewerWindow) -> None:
    def actions(menu: QMenu) -> list[QAction]:
        out = []
        for a in menu.actions():
            sub = a.menu()
            out += actions(sub) if isinstance(sub, QMenu) else [a]
        return out

    top = window.top
    shown = [a for m in (top.source_menu, top.view_menu, top.play_menu, top.help_menu) for a in actions(m)]
    reachable = {a.text() for a in shown}
    # Networks have their own button, events their submenu.
    assert {k.text for k in KEYS} - reachable == {"Networks", "Events: off, inset, overlay"}
    keys = [k for key in KEYS for k in key.keys]
    assert len(keys) == len(set(keys))
    assert "G" in keys


def test_help_covers_the_window_and_any_key_closes_it_without_acting(
    window: ViewerWindow, qtbot: QtBot
) -> None:
    qtbot.keyClick(window, K.Key_F1)
    assert window.help.isVisible()
    assert window.help.size() == window.centralWidget().size()
    qtbot.keyClick(window.help, K.Key_4)
    assert not window.help.isVisible()
    assert window.picture.view is View.WIPE


def test_full_screen_and_escape(window: ViewerWindow, qtbot: QtBot) -> None:
    qtbot.keyClick(window, K.Key_F11)
    assert window.isFullScreen()
    qtbot.keyClick(window, K.Key_Escape)
    assert not window.isFullScreen()


def test_the_age_shown_is_the_oldest_since_the_last_reading(
    make_window: MakeWindow, fake: FakeSession, clock: Clock
) -> None:
    fake.fps, fake.latency_s = 10.0, 0.03
    window = make_window(fake, ticks=30)
    seen = set()
    for _ in range(60):
        run(window, clock, 1)
        seen.add(int(window.strip.age.text().split()[1]))
    # Between 30 and 130 ms at every moment, at its worst about 130: the figure does not jump about.
    assert min(seen) > 100


def test_a_long_name_does_not_widen_the_menu_of_recent_recordings(
    window: ViewerWindow, remembered: Remembered
) -> None:
    path = "/data/" + 8 * "a_very_long_name_" + "end.aedat4"
    remembered.opened(path)
    window.top._fill_sources()
    recent = next(a.menu() for a in window.top.source_menu.actions() if a.text() == "Recent")
    first = recent.actions()[0]  # type: ignore[union-attr]
    assert len(first.text()) < 60
    assert first.text().startswith("a_very_long")
    assert "end.aedat4" in first.text()
    assert first.toolTip() == path


def test_a_recording_of_our_own_is_opened_by_any_of_its_files(
    window: ViewerWindow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is a folder; the dialog for files cannot give one."""
    for name, opened in (
        ("cups/streams.hmc", "cups"),
        ("bag/metadata.yaml", "bag"),
        ("cups/recording.toml", "cups"),
        ("a.npz", "a.npz"),
        ("", None),
    ):
        picked = str(tmp_path / name) if name else ""
        monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_a, picked=picked: (picked, ""))
        assert dialogs.recording(window, None) == (None if opened is None else tmp_path / opened)


def test_every_format_can_be_found_in_the_dialog() -> None:
    for known in FORMATS:
        assert all(f"*{end}" in dialogs.RECORDINGS for end in known.extensions), known.name


def test_the_first_window_is_no_larger_than_the_screen() -> None:
    assert within(QSize(1920, 1080)) == QSize(1280, 800)
    # A small panel, and a screen of 1920 × 1080 at twice the size.
    assert within(QSize(1024, 600)) == QSize(1016, 560)
    assert within(QSize(960, 540)) == QSize(952, 500)


def test_a_window_as_at_the_first_start_asks_the_screen(
    window: ViewerWindow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.viewer.window.first_size", lambda: QSize(800, 520))
    window.forget()
    assert window.size() == QSize(800, 520)


@pytest.mark.parametrize(("typed", "is_there", "yes", "written"), [
    ("mine.toml", True, False, "mine.toml"),  # the dialog has asked
    ("mine", False, False, "mine.toml"),
    ("mine", True, False, None),
    ("mine", True, True, "mine.toml"),
    ("rig.v2", False, False, "rig.v2.toml"),  # not rig.toml, which nobody has named
])  # fmt: skip
def test_an_ending_that_is_added_replaces_no_other_rig_file_unasked(
    window: ViewerWindow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    typed: str, is_there: bool, yes: bool, written: str | None,
) -> None:  # fmt: skip
    if is_there:
        (tmp_path / "mine.toml").touch()
    buttons = QMessageBox.StandardButton
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_a: (str(tmp_path / typed), ""))
    monkeypatch.setattr(QMessageBox, "question", lambda *_a: buttons.Yes if yes else buttons.No)
    made = dialogs.rig_to_save(window, tmp_path / "rig.toml")
    assert made == (None if written is None else tmp_path / written)
