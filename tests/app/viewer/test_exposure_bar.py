from __future__ import annotations

import pytest
from PySide6.QtCore import QPoint, Qt
from pytestqt.qtbot import QtBot

from app.viewer.exposure_bar import ExposureBar


@pytest.fixture
def bar(qtbot: QtBot) -> ExposureBar:
    b = ExposureBar()
    qtbot.addWidget(b)
    b.resize(900, 34)
    b.show()
    b.set_exposure(12_400, 0.5)
    b.set_mode(held=False, slow=False, waiting=False)
    return b


def knob(bar: ExposureBar, value: float) -> QPoint:
    return QPoint(round(bar.slider.x_of(value)), bar.slider.height() // 2)


def test_length_instant_and_time_are_written(bar: ExposureBar) -> None:
    assert bar.length.text() == "exposure 12.4 ms"
    assert bar.instant.text() == "0.50 · 6\u202f200 µs"
    bar.set_exposure(None, 0.25)
    assert bar.length.text() == "exposure –"
    assert bar.instant.text() == "0.25"


def test_dragging_emits_every_instant_and_holds_its_knob(bar: ExposureBar, qtbot: QtBot) -> None:
    got: list[float] = []
    bar.moved.connect(got.append)
    left = Qt.MouseButton.LeftButton
    qtbot.mousePress(bar.slider, left, pos=knob(bar, 0.5))
    for v in (0.6, 0.7, 0.8):
        qtbot.mouseMove(bar.slider, knob(bar, v))
    bar.set_exposure(12_400, 0.1)  # a picture that comes meanwhile does not pull the knob away
    assert bar.slider.value == pytest.approx(0.8, abs=0.01)
    qtbot.mouseMove(bar.slider, QPoint(5000, 3))
    qtbot.mouseRelease(bar.slider, left, pos=QPoint(5000, 3))
    assert got == pytest.approx([0.5, 0.6, 0.7, 0.8, 1.0], abs=0.01)
    bar.set_exposure(12_400, 0.1)
    assert bar.slider.value == 0.1


def test_one_instant_only_is_said_and_cannot_be_dragged(bar: ExposureBar, qtbot: QtBot) -> None:
    bar.set_fixed(0.5, "glint")
    bar.set_exposure(12_400, 0.9)
    with qtbot.assertNotEmitted(bar.moved):
        qtbot.mouseClick(bar.slider, Qt.MouseButton.LeftButton, pos=knob(bar, 0.9))
    assert bar.slider.value == 0.5
    assert bar.instant.text() == "0.50 · one instant only"
    assert "glint" in bar.slider.toolTip()
    assert not bar.slow.isEnabled()
    bar.set_fixed(None)
    assert bar.slow.isEnabled()


def test_the_way_back_stands_where_live_stood_and_nothing_moves(bar: ExposureBar, qtbot: QtBot) -> None:
    places = [w.geometry() for w in (bar.length, bar.slider, bar.instant, bar.slow)]
    assert bar.back.text() == "live"
    for held, waiting, value in ((True, False, 0.07), (True, True, 0.93), (False, False, 0.5)):
        bar.set_mode(held=held, slow=held, waiting=waiting)
        bar.set_exposure(12_400, value)
        qtbot.wait(5)
        assert [w.geometry() for w in (bar.length, bar.slider, bar.instant, bar.slow)] == places
        assert bar.back.text() == ("back to live" if held else "live")
    bar.set_mode(held=True, slow=False, waiting=False)
    with qtbot.waitSignal(bar.live):
        qtbot.mouseClick(bar.back, Qt.MouseButton.LeftButton)
