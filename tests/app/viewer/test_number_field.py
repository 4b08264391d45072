"""Numbers typed with a comma or a point, whatever the computer's language."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from PySide6.QtCore import QLocale
from pytestqt.qtbot import QtBot

from app.viewer.number_field import NumberField, with_point
from app.viewer.recording_bar import RecordingBar


@pytest.mark.parametrize("decimal_comma", [False, True])
@pytest.mark.parametrize(("typed", "value"), [
    ("1.5", 1.5), ("1,5", 1.5), ("12,25", 12.25), ("-0,5", -0.5), ("1,234.5", 1234.5), ("7", 7.0),
])  # fmt: skip
def test_a_comma_is_not_passed_over(typed: str, value: float, decimal_comma: bool) -> None:
    assert float(with_point(typed, decimal_comma)) == value


def test_thousands_are_grouped_where_the_comma_does_that() -> None:
    assert with_point("10,000", comma=False) == "10000"
    assert with_point("10,000", comma=True) == "10.000"
    assert with_point("10,000 µs", comma=False) == "10000 µs"


@pytest.mark.parametrize("default", ["C", "de_DE"])
def test_fields_mean_what_is_typed(qtbot: QtBot, default: str) -> None:
    before = QLocale()
    QLocale.setDefault(QLocale(default))
    try:
        bar, field = RecordingBar(), NumberField()
        field.setRange(-1e6, 1e6)
        field.setDecimals(3)
        for widget in (bar, field):
            qtbot.addWidget(widget)
        for box in (bar.before, bar.countdown, field):
            for typed in ("2,5", "2.5"):
                box.setValue(0.0)
                box.selectAll()
                qtbot.keyClicks(box, typed)
                box.interpretText()
                assert box.value() == 2.5, typed
                assert box.text().startswith("2.5"), "shown with a point, without zeros that say nothing"
    finally:
        QLocale.setDefault(before)


@pytest.mark.parametrize("typed", ["10,5", "10.5"])
def test_a_whole_number_is_not_made_of_one_with_decimals(qtbot: QtBot, typed: str) -> None:
    field = NumberField()
    qtbot.addWidget(field)
    field.setRange(0, 1e6)
    field.setDecimals(0)
    field.setKeyboardTracking(False)
    field.setValue(7)
    field.selectAll()
    qtbot.keyClicks(field, typed)
    field.interpretText()
    assert field.value() == 7


def test_the_computers_language_says_what_a_comma_before_three_digits_is() -> None:
    code = "from app.viewer.number_field import with_point; print(with_point('1,234'))"
    for language, shown in (("C", "1234"), ("de_DE.UTF-8", "1.234")):
        environment = {**os.environ, "LC_ALL": language, "QT_QPA_PLATFORM": "offscreen"}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
        assert done.stdout.strip() == shown
