"""What runs ends beside the window; what needs its cameras waits for that."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot

from app.viewer.calibration_run import CalibrationWish
from app.viewer.closing import Closing
from app.viewer.window import ViewerWindow
from tests.app.viewer.conftest import Clock, MakeWindow, run
from tests.app.viewer.fake_preview import FakePreview
from tests.app.viewer.fake_session import FakeSession, Scene


class Slow(FakeSession):
    """Ends only when a test lets it."""

    gate: threading.Event
    fault = ""

    def stop(self) -> None:
        assert self.gate.wait(20)
        super().stop()
        if self.fault:
            raise RuntimeError(self.fault)


@pytest.fixture
def slow(scene: Scene, clock: Clock) -> Slow:
    session = Slow(scene, clock=clock)
    session.gate = threading.Event()
    return session


@pytest.fixture
def window(make_window: MakeWindow, slow: Slow, fake: FakeSession, qtbot: QtBot) -> ViewerWindow:
    """Runs `slow`; every other source is `fake`."""
    window = make_window(slow)
    window.factory = lambda source, network, *, rig=None: fake  # type: ignore[assignment,misc]
    slow.calls.clear()
    return window


def test_the_next_source_is_opened_once_the_cameras_are_free(
    window: ViewerWindow, slow: Slow, fake: FakeSession, clock: Clock, qtbot: QtBot
) -> None:
    window.open_source("simulated:night")
    window.open_source("simulated:davis")  # the last wish counts
    assert window.closing.going, "it has not been waited for"
    run(window, clock, 20)
    assert fake.calls == []
    assert window.empty.isVisible()
    assert "Closing" in window.empty.sentence.text()
    slow.gate.set()
    qtbot.waitUntil(lambda: not window.closing.going)
    run(window, clock, 20)
    assert ("start",) in fake.calls
    assert fake.calls.count(("start",)) == 1
    assert window.source == "simulated:davis"
    assert window.pages.currentWidget() is window.picture


def test_a_calibration_waits_as_well(
    window: ViewerWindow, slow: Slow, fake: FakeSession, clock: Clock, qtbot: QtBot, tmp_path: Path
) -> None:
    desk = window.calibration
    desk.wish = CalibrationWish(tmp_path / "rig.toml")
    desk.run.program = (sys.executable, "-c", "import time; time.sleep(60)")
    desk.show()
    desk.page.start.click()
    run(window, clock, 5)
    assert not desk.run.running
    slow.gate.set()
    qtbot.waitUntil(lambda: not window.closing.going)
    run(window, clock, 1)
    assert desk.run.running
    desk.run.stop()


def test_a_calibration_that_is_given_up_before_it_began_never_begins(
    window: ViewerWindow, slow: Slow, fake: FakeSession, clock: Clock, qtbot: QtBot, tmp_path: Path
) -> None:
    desk = window.calibration
    desk.wish = CalibrationWish(tmp_path / "rig.toml")
    desk.show()
    desk.page.start.click()
    desk.page.stop.click()
    slow.gate.set()
    qtbot.waitUntil(lambda: not window.closing.going)
    run(window, clock, 20)
    assert not desk.run.running
    assert not desk.open
    assert ("start",) in fake.calls


def test_the_window_waits_at_its_end(window: ViewerWindow, slow: Slow) -> None:
    threading.Timer(0.3, slow.gate.set).start()
    window.close()
    assert ("stop",) in slow.calls
    assert not window.closing.going


def test_what_goes_wrong_at_an_end_is_said(
    window: ViewerWindow, slow: Slow, clock: Clock, qtbot: QtBot
) -> None:
    slow.fault = "the ring is stuck"
    window.open_source("simulated:night")
    slow.gate.set()
    qtbot.waitUntil(lambda: not window.closing.going)
    run(window, clock, 20)
    assert "the ring is stuck" in window.picture._banner


def test_one_after_another() -> None:
    closing, order, gate = Closing(), [], threading.Event()
    closing.begin(lambda: (gate.wait(20), order.append(1)))
    closing.begin(lambda: order.append(2))
    closing.then(lambda: order.append(3))
    closing.look()
    assert order == []
    gate.set()
    closing.wait()
    closing.look()
    assert order == [1, 2], "the end of the program forgets what was to be done"
    closing.then(lambda: order.append(4))
    assert order == [1, 2, 4]


def test_a_source_that_waits_does_not_take_the_cameras_of_the_rig_page(
    window: ViewerWindow, slow: Slow, fake: FakeSession, clock: Clock, qtbot: QtBot
) -> None:
    window.rig.make_preview = FakePreview  # type: ignore[assignment]
    window.open_source("simulated:night")
    window.rig.show()
    slow.gate.set()
    qtbot.waitUntil(lambda: not window.closing.going)
    run(window, clock, 20)
    assert window.rig.open
    assert ("start",) not in fake.calls
