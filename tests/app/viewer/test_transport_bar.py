from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QColor
from pytestqt.qtbot import QtBot

from app.session import Timeline
from app.viewer import theme
from app.viewer.seek_bar import bars, coverage
from app.viewer.transport_bar import SPEEDS, TransportBar, next_speed, speed_text


def timeline(n: int = 10, open_us: int = 50_000, span: int = 1_000_000) -> Timeline:
    starts = 5_000_000 + np.arange(n, dtype=np.int64) * (span // n)
    rate = np.zeros(100, np.float32)
    rate[50:] = 1e6
    return Timeline(5_000_000, 5_000_000 + span, rate, np.stack([starts, starts + open_us], axis=1))


@pytest.fixture
def bar(qtbot: QtBot) -> TransportBar:
    b = TransportBar()
    qtbot.addWidget(b)
    b.resize(900, 40)
    b.set_timeline(timeline())
    b.show()
    return b


def test_dragging_the_seek_bar_gives_times_of_the_source(bar: TransportBar, qtbot: QtBot) -> None:
    got: list[int] = []
    bar.sought.connect(got.append)
    left = Qt.MouseButton.LeftButton
    middle = QPoint(round(bar.seek.x_of(5_500_000)), 10)
    qtbot.mousePress(bar.seek, left, pos=middle)
    bar.set_position(5_900_000)  # a picture on its way does not pull the position back
    assert bar.time.text().startswith("00:00.")
    qtbot.mouseMove(bar.seek, QPoint(-50, 10))
    qtbot.mouseRelease(bar.seek, left, pos=QPoint(-50, 10))
    assert got[0] == pytest.approx(5_500_000, abs=2000)
    assert got[-1] == 5_000_000
    bar.set_position(5_700_000)
    assert bar.time.text() == "00:00.7 / 00:01.0"


def test_rate_and_exposures_are_drawn(bar: TransportBar) -> None:
    bar.set_position(5_000_000)
    image = bar.seek.grab().toImage()

    def lit(t: int, y: int) -> bool:
        return QColor(image.pixel(round(bar.seek.x_of(t)), y)) != QColor(theme.BACKGROUND) and (
            QColor(image.pixel(round(bar.seek.x_of(t)), y)).lightness() > 55
        )

    assert lit(5_800_000, 12)
    assert not lit(5_230_000, 12)
    row = bar.seek.height() - 5
    assert lit(5_225_000, row)  # inside the exposure that starts at 5.2 s
    assert not lit(5_280_000, row)  # between two


def test_without_a_timeline_nothing_can_be_sought(bar: TransportBar, qtbot: QtBot) -> None:
    bar.set_timeline(None)
    with qtbot.assertNotEmitted(bar.sought):
        qtbot.mouseClick(bar.seek, Qt.MouseButton.LeftButton, pos=QPoint(100, 10))


def test_buttons_say_what_the_user_wants(bar: TransportBar, qtbot: QtBot) -> None:
    got: list[object] = []
    bar.play_clicked.connect(lambda: got.append("play"))
    bar.stepped.connect(got.append)
    bar.loop_switched.connect(got.append)
    bar.speed_chosen.connect(got.append)
    for b in (bar.play, bar.back, bar.forward, bar.loop):
        qtbot.mouseClick(b, Qt.MouseButton.LeftButton)
    bar._group.actions()[0].trigger()
    assert got == ["play", -1, 1, True, 0.1]


def test_speeds() -> None:
    assert (SPEEDS[0], SPEEDS[-1]) == (0.1, 8.0)
    assert next_speed(1.0, 1) == 2.0
    assert next_speed(0.1, -1) == 0.1
    assert next_speed(math.inf, -1) == 8.0
    assert [speed_text(f) for f in (0.1, 1.0, math.inf)] == ["×0.1", "×1", "×max"]


@given(st.integers(1, 300), st.integers(1, 60), st.integers(0, 30_000))
def test_coverage_adds_up_to_the_time_the_shutter_was_open(columns: int, n: int, open_us: int) -> None:
    t = timeline(n, min(open_us, 1_000_000 // n - 1))
    share = coverage(t, columns)
    total = float(np.sum(t.exposures_us[:, 1] - t.exposures_us[:, 0]))
    assert np.all((share >= 0) & (share <= 1))
    assert float(share.sum()) * 1_000_000 / columns == pytest.approx(total, rel=1e-3, abs=2.0)


@given(st.integers(1, 500), st.integers(1, 500))
def test_the_highest_rate_is_never_lost_between_columns(bins: int, columns: int) -> None:
    rate = np.ones(bins, np.float32)
    rate[bins // 2] = 100
    if bins >= columns:
        assert bars(rate, columns).max() == 1.0
    assert bars(rate, columns).shape == (columns,)
    assert not bars(np.zeros(bins, np.float32), columns).any()


def test_times_since_1970_are_sought_whole_and_again_at_the_end(bar: TransportBar, qtbot: QtBot) -> None:
    since = 1_615_007_563_000_000
    bar.set_timeline(Timeline(since, since + 2_000_000, np.ones(9, np.float32), np.zeros((0, 2), np.int64)))
    got: list[int] = []
    bar.sought.connect(got.append)
    middle = QPoint(bar.seek.width() // 2, 10)
    qtbot.mousePress(bar.seek, Qt.MouseButton.LeftButton, pos=middle)
    qtbot.mouseRelease(bar.seek, Qt.MouseButton.LeftButton, pos=middle)
    assert got == [pytest.approx(since + 1_000_000, abs=20_000)] * 2
    assert bar.time.text().startswith(("00:01.0", "00:00.9"))
