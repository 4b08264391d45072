"""A source whose disk does not answer: the window says so, and goes on being one."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from PySide6.QtWidgets import QFileDialog
from pytestqt.qtbot import QtBot

from app.session import WorkerStatus
from app.viewer import dialogs
from app.viewer.recording_words import name_problem, next_name
from app.viewer.remembered import Remembered
from app.viewer.window import ViewerWindow
from capture.camera import CameraState
from tests.app.viewer.conftest import Clock, MakeWindow, run
from tests.app.viewer.fake_session import FakeSession, Scene


def test_a_source_that_does_not_answer_keeps_nothing_from_being_used(
    make_window: MakeWindow, clock: Clock, fake: FakeSession, scene: Scene, tmp_path: Path
) -> None:
    other = FakeSession(scene, title="other", clock=clock)
    gone, back = tmp_path / "gone.aedat4", threading.Event()
    window = make_window(fake)

    def factory(source: str | Path, network: str) -> FakeSession:
        if source == gone:  # as a file on a network drive that is not there any more
            back.wait(30)
        return other

    window.factory = factory
    began = time.monotonic()
    window.open_source(gone)
    assert time.monotonic() - began < 2
    assert window.opening.looking == str(gone)
    assert f"Looking at {gone}…" in window.picture._banner
    run(window, clock, 5)
    assert window.player is not None
    assert window.player.session is fake  # goes on
    clock.now += 11
    run(window, clock, 20)
    assert "gone.aedat4 has not answered for 10 s" in window.picture._banner
    assert window.opening.looking == ""
    window.open_source(gone)  # a look that is overtaken by another wish
    window.open_source("other")
    run(window, clock, 5)
    assert window.player.session is other
    back.set()


@pytest.mark.parametrize("page", ["calibration", "rig"])
def test_a_source_that_answers_late_does_not_close_a_page_that_was_opened_since(
    make_window: MakeWindow, clock: Clock, fake: FakeSession, scene: Scene, page: str
) -> None:
    back = threading.Event()
    window = make_window(fake)

    def factory(source: str | Path, network: str) -> FakeSession:
        back.wait(30)
        return FakeSession(scene, title="late", clock=clock)

    window.factory = factory
    window.open_source("late.aedat4")
    desk = window.calibration if page == "calibration" else window.rig
    desk.show()
    assert desk.open
    back.set()
    time.sleep(0.1)
    run(window, clock, 20)
    assert desk.open
    assert window.source != "late.aedat4"


def test_a_first_source_that_does_not_answer_is_said_where_the_picture_would_be(
    remembered: Remembered, clock: Clock, qtbot: QtBot, fake: FakeSession, tmp_path: Path
) -> None:
    back = threading.Event()

    def factory(source: str | Path, network: str) -> FakeSession:
        back.wait(30)
        return fake

    window = ViewerWindow(factory, remembered, clock=clock)
    qtbot.addWidget(window)
    window._timer.stop()
    window.show()
    window.open_source(tmp_path / "gone.aedat4")
    assert window.empty.sentence.text() == f"Looking at {tmp_path / 'gone.aedat4'}…"
    assert not window.empty.action.isVisible()
    clock.now += 3
    run(window, clock, 20)
    assert window.empty.action.text() == "Choose another source"
    clock.now += 8
    window.tick()
    assert "gone.aedat4 has not answered for 10 s; see whether its disk" in window.empty.sentence.text()
    assert window.empty.action.text() == "Choose another source"
    back.set()


def test_a_source_that_takes_long_to_open_can_be_left(
    make_window: MakeWindow, clock: Clock, fake: FakeSession
) -> None:
    fake.silent = True
    fake.workers = (WorkerStatus("source", CameraState.STARTING, "opening cups.aedat4"),)
    fake.message = "opening cups.aedat4"
    window = make_window(fake, ticks=20)
    assert window.empty.sentence.text() == "Opening cups.aedat4"
    assert not window.empty.action.isVisible()
    clock.now += 7
    run(window, clock, 20)
    assert window.empty.action.text() == "Choose another source"


def test_folders_that_do_not_answer_are_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, window: ViewerWindow
) -> None:
    back, gone, begun = threading.Event(), Path("/mnt/gone"), []
    there = Path.exists

    def exists(path: Path) -> bool:  # a call on a share that has gone does not come back
        return bool(back.wait(30)) if path.is_relative_to(gone) else there(path)

    def ask(_parent: object, _title: str, start: str, *_more: object) -> tuple[str, str]:
        begun.append(start)
        return "", ""

    monkeypatch.setattr(Path, "exists", exists)
    monkeypatch.setattr(QFileDialog, "getOpenFileName", ask)
    monkeypatch.setattr(QFileDialog, "getSaveFileName", ask)
    began = time.monotonic()
    dialogs.recording(window, gone / "takes")
    dialogs.rig_to_open(window, gone)
    dialogs.rig_to_save(window, gone / "my.toml")
    assert begun == [str(Path.home()), str(Path.home()), str(Path.home() / "my.toml")]
    assert name_problem(gone, "cups") == f"{gone} does not answer; choose another folder"
    assert next_name(gone, "cups") == "cups"
    assert time.monotonic() - began < 5
    back.set()
