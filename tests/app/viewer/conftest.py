"""Qt without a display, settings in a temporary folder, a window on a fake session."""

from __future__ import annotations

import os

os.environ["QT_QPA_PLATFORM"] = "offscreen"  # before Qt is imported

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import QStandardPaths
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication

from app.viewer import remembered as remembered_module
from app.viewer import theme
from app.viewer.remembered import Remembered
from app.viewer.settings_file import SettingsFile
from app.viewer.window import ViewerWindow
from tests.app.viewer.fake_session import FakeSession, Scene


class Clock:
    """Time that a test moves by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="session")
def qapp_args() -> list[str]:
    return ["halfmirror"]


@pytest.fixture(autouse=True)
def _dressed(qapp: QApplication, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    QStandardPaths.setTestModeEnabled(True)
    # Nothing may read or write the settings of the person who runs the tests.
    monkeypatch.setattr(remembered_module, "usual_path", lambda: tmp_path / "user" / "viewer.json")
    if not qapp.styleSheet():
        theme.apply(qapp)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def scene() -> Scene:
    return Scene(96, 64, frames=6, events_per_frame=600)


@pytest.fixture
def remembered(tmp_path: Path) -> Remembered:
    return Remembered(SettingsFile(tmp_path / "viewer.json"))


@pytest.fixture
def fake(scene: Scene, clock: Clock) -> FakeSession:
    return FakeSession(scene, clock=clock)


@pytest.fixture
def tape(scene: Scene, clock: Clock) -> FakeSession:
    """A recording of 2 s."""
    return FakeSession(scene, title="cups.aedat4", recording=True, seconds=2.0, clock=clock)


MakeWindow = Callable[..., ViewerWindow]


@pytest.fixture
def make_window(remembered: Remembered, clock: Clock, tmp_path: Path) -> Iterator[MakeWindow]:
    """A window whose timer is off: tests call `tick` and move the clock."""
    windows: list[ViewerWindow] = []

    def make(
        session: FakeSession, *, source: str = "simulated", ticks: int = 3, **more: object
    ) -> ViewerWindow:
        remembered.snapshots = tmp_path / "snapshots"
        window = ViewerWindow(lambda _s, _n: session, remembered, clock=clock, **more)  # type: ignore[arg-type]
        window._timer.stop()
        window.resize(900, 640)
        window.show()
        window.open_source(source, session.network)
        assert QTest.qWaitForWindowActive(window)  # else it gets no keys
        run(window, clock, ticks)
        windows.append(window)
        return window

    yield make
    for window in windows:
        window.close()
        window.deleteLater()


@pytest.fixture
def window(make_window: MakeWindow, fake: FakeSession) -> ViewerWindow:
    return make_window(fake)


def run(window: ViewerWindow, clock: Clock, ticks: int, step_s: float = 1 / 60) -> None:
    """So many ticks of the window's timer, with the clock."""
    for _ in range(ticks):
        clock.now += step_s
        window.tick()
