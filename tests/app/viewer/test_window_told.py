"""What the window tells in words: what cannot start, is late, fails, or is no result."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
from PySide6.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from PySide6.QtGui import QDragEnterEvent, QDropEvent
from pytestqt.qtbot import QtBot

from app.session import WorkerStatus
from app.viewer.calibration_run import CalibrationWish
from app.viewer.modes import EventsMode, View
from app.viewer.remembered import Remembered
from app.viewer.window import ViewerWindow
from capture.camera import CameraState
from capture.errors import CameraError, UsageError
from sync.exposure import Refusal
from tests.app.viewer.conftest import Clock, MakeWindow, run
from tests.app.viewer.fake_session import FakeSession

K = Qt.Key


def test_what_cannot_start_is_said_where_the_picture_would_be(
    remembered: Remembered, clock: Clock, qtbot: QtBot, fake: FakeSession
) -> None:
    errors: list[Exception] = [
        UsageError("no such file: cups.aedat4; check the path"),
        CameraError("DAVIS346: no camera found\nTraceback (most recent call last):"),
        KeyError("width"),
    ]

    def factory(source: str | Path, network: str) -> FakeSession:
        if errors:
            raise errors.pop(0)
        return fake

    window = ViewerWindow(factory, remembered, clock=clock)
    qtbot.addWidget(window)
    window._timer.stop()
    window.show()
    for text in (
        "no such file: cups.aedat4; check the path.", "DAVIS346: no camera found.", "KeyError: 'width'.",
    ):  # fmt: skip
        window.open_source("cups.aedat4")
        assert window.pages.currentWidget() is window.empty
        assert window.empty.sentence.text() == text
        assert window.empty.action.text() == "Choose another source"
    window.open_source("simulated")
    run(window, clock, 5)
    assert window.pages.currentWidget() is window.picture


def test_a_start_that_raises_leaves_no_session(
    make_window: MakeWindow, fake: FakeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start() -> None:
        raise CameraError("the camera is used by another program")

    monkeypatch.setattr(fake, "start", start)
    window = make_window(fake)
    assert window.empty.sentence.text() == "the camera is used by another program."
    assert window.player is None
    assert fake.calls[-1] == ("stop",)


def test_starting_faulted_and_late_sources_are_explained(
    make_window: MakeWindow, fake: FakeSession, clock: Clock, qtbot: QtBot
) -> None:
    fake.silent = True
    running = fake.workers
    fake.message = "preparing the simulated scene 43 %"
    window = make_window(fake, ticks=13)
    text = window.empty.sentence.text
    assert text() == "Preparing the simulated scene 43 %"
    fake.message = ""
    fake.workers = (WorkerStatus("events", CameraState.STARTING, "opening"), *running[1:])
    run(window, clock, 13)
    assert text() == "Starting events: opening…"
    clock.now += 20  # a scene that takes long to draw is no reason for worry afterwards
    run(window, clock, 13)
    fake.workers = running
    run(window, clock, 13)
    assert text() == "Waiting for the first picture…"
    clock.now += 7
    run(window, clock, 13)
    assert text().startswith("No picture has come yet. Events arrive at 15.0 kev/s")
    fake.workers = (WorkerStatus("source", CameraState.FAULTED, "no such file: cups.aedat4"),)
    run(window, clock, 13)
    assert text() == "no such file: cups.aedat4."
    assert window.empty.action.text() == "Try again"  # a camera may be there by now
    qtbot.mouseClick(window.empty.action, Qt.MouseButton.LeftButton)
    assert fake.calls[-1] == ("restart", {"worker": "source"})
    fake.workers = running
    fake.fault("frames", "no Blackfly S found")
    run(window, clock, 13)
    assert text() == "Frames stopped with a fault. no Blackfly S found."
    qtbot.mouseClick(window.empty.action, Qt.MouseButton.LeftButton)
    assert fake.calls[-1] == ("restart", {"worker": "frames"})


def test_a_remembered_network_that_cannot_run_gives_way_by_name(
    remembered: Remembered, clock: Clock, qtbot: QtBot, fake: FakeSession
) -> None:
    def factory(source: str | Path, network: str) -> FakeSession:
        if network != "edi":
            raise UsageError(f"no weights for {network}")
        return fake

    remembered.network = "efnet"
    window = ViewerWindow(factory, remembered, clock=clock)
    qtbot.addWidget(window)
    window._timer.stop()
    window.open_source("simulated")
    run(window, clock, 5)
    assert window.picture._banner == "efnet cannot run: no weights for efnet. edi runs instead."
    window.open_source("simulated", "efnet")  # asked for by name, it is refused by name
    assert window.empty.sentence.text() == "no weights for efnet."


def test_no_events_to_draw_leads_back_to_the_picture(
    window: ViewerWindow, fake: FakeSession, clock: Clock, qtbot: QtBot
) -> None:
    fake.with_events = False
    qtbot.keyClick(window, K.Key_5)
    run(window, clock, 60)
    assert window.pages.currentWidget() is window.picture  # a still scene has none for a while
    run(window, clock, 90)
    assert window.pages.currentWidget() is window.empty
    qtbot.mouseClick(window.empty.action, Qt.MouseButton.LeftButton)
    run(window, clock, 13)
    assert window.pages.currentWidget() is window.picture
    assert window.picture.view is View.WIPE


def test_flags_refusals_and_messages_are_on_the_picture(
    window: ViewerWindow, fake: FakeSession, clock: Clock
) -> None:
    fake.flags = ("saturated 12 %", "NaN replaced")
    run(window, clock, 13)
    assert window.picture._banner == "saturated 12 % · NaN replaced"
    fake.message = "the event camera is being opened again"
    run(window, clock, 13)
    assert window.picture._banner == fake.message
    fake.refusal = "no trigger edge within 2 ms"
    run(window, clock, 5)
    assert window.picture._refusal == fake.refusal


def test_frames_of_a_recording_without_exposure_come_with_what_helps(
    make_window: MakeWindow, tape: FakeSession, clock: Clock
) -> None:
    window = make_window(tape, source="/films/my cups.aedat4")
    unstamped = f"{Refusal.NO_EXPOSURE.value} – frame 3 carries no start and end of exposure"
    tape.refusal = unstamped
    run(window, clock, 13)
    first, second = window.picture._refusal.splitlines()
    assert first == f"{unstamped}."
    assert "halfmirror replay '/films/my cups.aedat4' --exposure-us N" in second
    assert "network none (N)" in second
    tape.refusal = f"{Refusal.NO_EXPOSURE.value} – frame 3: neither trigger edges nor arrival times relate it"
    run(window, clock, 13)
    assert window.picture._refusal == tape.refusal, "a length would not help here"


def test_random_weights_never_pass_for_a_result(
    window: ViewerWindow, fake: FakeSession, clock: Clock, qtbot: QtBot
) -> None:
    fake.flags = ("random weights: not a result",)
    run(window, clock, 13)
    assert window.picture._label == "random weights: not a result"
    assert "random weights: not a result" in window.picture._banner
    fake.message = "something else"  # takes the banner's place, not the label's
    qtbot.keyClick(window, K.Key_Right)
    run(window, clock, 13)
    assert window.picture._banner == "something else"
    assert window.picture._label == "random weights: not a result  0.52"


def test_a_session_that_fails_later_does_not_take_the_window_with_it(
    window: ViewerWindow, fake: FakeSession, clock: Clock, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("the worker is gone")

    monkeypatch.setattr(fake, "poll", broken)
    run(window, clock, 3)
    assert window.picture._banner == "the worker is gone."
    monkeypatch.undo()
    monkeypatch.setattr(fake, "hold", broken)
    qtbot.keyClick(window, K.Key_Right)
    assert window.isVisible()


def test_a_network_that_was_replaced_unasked_is_named(
    make_window: MakeWindow, fake: FakeSession, clock: Clock
) -> None:
    """A worker that was killed begins anew with the first network; who chose another one must hear of it."""
    window = make_window(fake)
    window.wish(lambda p: p.select("glint"))
    run(window, clock, 20)
    assert window.player is not None
    assert window.player.network == "glint"
    assert "glint" not in window.picture._banner
    fake._switch, fake.message = (clock.now, "edi"), "preparing edi"
    fake.command("restart", worker="restore")
    run(window, clock, 20)
    fake.workers = tuple(replace(w, state=CameraState.RUNNING) for w in fake.workers)
    fake.message = ""
    run(window, clock, 13)
    assert window.picture._banner.startswith("edi restores now, no longer glint")
    run(window, clock, 400)
    fake.message = "edi failed (no memory); frames pass through"
    fake._switch = (clock.now, "none")
    run(window, clock, 20)
    assert window.picture._banner == fake.message


def test_events_that_cannot_be_drawn_are_told_once(
    window: ViewerWindow, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    artist = window.presenter._artist
    monkeypatch.setattr(artist, "ask", lambda _commission: None)
    artist.fault = "events cannot be drawn: out of memory."
    run(window, clock, 2)
    assert window.picture._banner == artist.fault
    run(window, clock, 400)  # it fails again with every picture
    assert window.picture._banner == ""
    window.set_events_mode(EventsMode.OVERLAY)
    artist.fault = "events cannot be drawn: out of memory."
    run(window, clock, 2)
    assert window.picture._banner == artist.fault


def test_live_is_said_of_pictures_that_are(make_window: MakeWindow, fake: FakeSession, clock: Clock) -> None:
    fake.silent = True
    window = make_window(fake, ticks=13)
    window.set_view(View.SHARP)
    assert window.exposure.back.text() == ""
    fake.silent = False
    run(window, clock, 13)
    assert window.exposure.back.text() == "live"
    fake.silent = True
    clock.now += 2
    run(window, clock, 13)
    assert window.exposure.back.text() == "late"


def test_a_source_that_does_not_open_leaves_nothing_of_the_one_before(
    make_window: MakeWindow, tape: FakeSession, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "cups.aedat4"
    path.touch()
    window = make_window(tape, source=str(path))
    assert (window.top._source_name, window.keys["loop"].isEnabled()) == (str(path), True)
    assert "edi" in window.top.network.text()

    def start() -> None:
        raise CameraError("the camera is used by another program")

    monkeypatch.setattr(tape, "start", start)
    window.open_source("simulated:night")
    run(window, clock, 13)
    assert window.player is None
    assert (window.top._source_name, window.top.network.text()) == ("", "Network")
    assert not window.keys["loop"].isEnabled()
    assert window.keys["record"].isEnabled()


def test_a_source_that_is_none_leaves_what_runs_alone(
    remembered: Remembered, clock: Clock, qtbot: QtBot, fake: FakeSession
) -> None:
    def factory(source: str | Path, network: str) -> FakeSession:
        if str(source).endswith(".png"):
            raise UsageError(f"{source}: no known format")
        return fake

    window = ViewerWindow(factory, remembered, clock=clock)
    qtbot.addWidget(window)
    window._timer.stop()
    window.show()
    window.open_source("simulated")
    run(window, clock, 5)
    fake.calls.clear()
    window.open_source("holiday.png")
    run(window, clock, 5)
    assert ("stop",) not in fake.calls
    assert window.pages.currentWidget() is window.picture
    assert window.picture._banner == "holiday.png: no known format."
    assert (window.source, window.problem) == ("simulated", "")


def test_what_is_dropped_is_opened_or_refused_in_words(make_window: MakeWindow, fake: FakeSession) -> None:
    window = make_window(fake)
    fake.calls.clear()
    for urls, line in (
        ([QUrl.fromLocalFile("/a.aedat4"), QUrl.fromLocalFile("/b.toml")], "2 files were dropped; drop one"),
        ([QUrl("https://example.org/a.aedat4")], "Only files on this computer"),
    ):
        data = QMimeData()
        data.setUrls(urls)
        at, left, none = QPointF(9, 9), Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
        enter = QDragEnterEvent(at.toPoint(), Qt.DropAction.CopyAction, data, left, none)
        enter.ignore()
        window.dragEnterEvent(enter)
        assert enter.isAccepted(), "a cursor that forbids gives no reason"
        window.dropEvent(QDropEvent(at, Qt.DropAction.CopyAction, data, left, none))
        assert line in window.picture._banner
    assert fake.calls == []


@pytest.mark.parametrize(("possible", "taken"), [
    (Qt.DropAction.CopyAction | Qt.DropAction.MoveAction, Qt.DropAction.CopyAction),
    (Qt.DropAction.LinkAction | Qt.DropAction.MoveAction, Qt.DropAction.LinkAction),
    (Qt.DropAction.MoveAction, None),
])  # fmt: skip
def test_a_drop_never_takes_the_file_away_from_where_it_lies(
    window: ViewerWindow, tmp_path: Path, possible: Qt.DropAction, taken: Qt.DropAction | None
) -> None:
    """Whoever dragged a file that was "moved" deletes it; a move is what file managers propose first."""
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(tmp_path / "cups.aedat4"))])
    left, none = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    enter = QDragEnterEvent(QPoint(9, 9), possible, data, left, none)
    drop = QDropEvent(QPointF(9, 9), possible, data, left, none)
    assert drop.proposedAction() is not Qt.DropAction.LinkAction
    opened: list[object] = []
    window.open_source = opened.append  # type: ignore[method-assign,assignment]
    for event, handle in ((enter, window.dragEnterEvent), (drop, window.dropEvent)):
        event.setDropAction(Qt.DropAction.MoveAction)
        event.ignore()
        handle(event)  # type: ignore[operator]
        assert event.isAccepted() == (taken is not None)
        assert taken is None or event.dropAction() == taken
    assert opened == ([] if taken is None else [tmp_path / "cups.aedat4"])


def test_nothing_takes_a_running_calibration_away(
    window: ViewerWindow, tmp_path: Path, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    window.calibration.wish = CalibrationWish(tmp_path / "rig.toml")
    window.calibration.run.program = (sys.executable, "-c", "import time; time.sleep(60)")
    window.calibration.show()
    window.calibration.begin()
    window.open_source("simulated:night")
    assert window.calibration.run.running
    assert window.notice.text() == "The calibration goes on; G stops it."
    window.calibration.run.stop()


def test_a_recording_that_does_not_open_has_nothing_to_play(
    make_window: MakeWindow, tape: FakeSession, clock: Clock
) -> None:
    tape.silent = True
    tape.workers = (WorkerStatus("source", CameraState.FAULTED, "cups.aedat4 has no frame camera"),)
    window = make_window(tape, ticks=13)
    assert not window.transport.isVisible()
    tape.workers = ()
    run(window, clock, 13)
    assert window.transport.isVisible()
