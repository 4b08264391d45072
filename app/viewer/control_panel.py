"""Settings of one camera as controls: built from what the camera says, read back, errors at the control."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QResizeEvent, QWheelEvent
from PySide6.QtWidgets import (
    QAbstractSpinBox,
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QVBoxLayout,
    QWidget,
)

from app.viewer import theme
from app.viewer.elided import Elided
from app.viewer.number_field import NumberField
from app.viewer.rig_words import Row, wrong
from app.viewer.tabbed import tabbed
from capture.camera import Control

FAR = 1e15
"""A field takes any number: what is beyond the camera's bounds is answered with the bounds, not swallowed."""
EDITOR_WIDTH = 104
TWO_FROM = 440  # pixels of width from which two columns have room for names


class _Number(NumberField):
    """A number; the wheel turns it only once it was clicked, so that scrolling changes nothing."""

    def __init__(self, c: Control) -> None:
        super().__init__()
        self.setKeyboardTracking(False)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setButtonSymbols(QAbstractSpinBox.ButtonSymbols.NoButtons)
        self.setRange(-FAR, FAR)
        self.setDecimals(0 if isinstance(c.value, int) else 1 if abs(c.value) >= 1000 else 3)  # type: ignore[arg-type]
        if c.step:
            self.setSingleStep(c.step)
        else:
            self.setStepType(QAbstractSpinBox.StepType.AdaptiveDecimalStepType)

    def wheelEvent(self, event: QWheelEvent) -> None:
        """Only with the focus."""
        if self.hasFocus():
            super().wheelEvent(event)
        else:
            event.ignore()


class _Choice(QComboBox):
    def wheelEvent(self, event: QWheelEvent) -> None:
        """Scrolling chooses nothing."""
        event.ignore()


class ControlCell(QWidget):
    """One setting: its label, its editor, and below them why the last wish failed.

    Signals:
        wished: name and value.
    """

    wished = Signal(str, object)

    def __init__(self, row: Row, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.control = row.control
        self.label = Elided(row.label)
        self.error = QLabel()
        self.error.setTextFormat(Qt.TextFormat.PlainText)
        self.error.setWordWrap(True)
        self.error.setStyleSheet(f"color: {theme.FAULT.name()};")
        self.error.hide()
        self.editor = self._editor(row.control)
        self.editor.setFixedWidth(EDITOR_WIDTH)
        self.editor.setMinimumHeight(22)
        for w in (self, self.label, self.editor):
            w.setToolTip(f"{row.label}\n{row.tip}")
        if row.control is None:
            self.label.setStyleSheet(f"color: {theme.QUIET.name()};")
            self.editor.setEnabled(False)
        line = QHBoxLayout()
        line.setContentsMargins(0, 0, 0, 0)
        line.addWidget(self.label, 1)
        line.addWidget(self.editor)
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(1)
        box.addLayout(line)
        box.addWidget(self.error)

    def _editor(self, c: Control | None) -> QWidget:
        if c is None:
            nothing = QLabel("–")
            nothing.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
            return nothing
        if isinstance(c.value, bool):
            switch = QCheckBox()
            switch.setChecked(c.value)
            tabbed(switch)
            switch.clicked.connect(lambda on: self.wished.emit(c.name, bool(on)))
            return switch
        if c.choices or isinstance(c.value, str):
            choice = _Choice()
            tabbed(choice)
            for text in c.choices or (c.value,):
                choice.addItem(str(text) or "none", text)
            choice.setCurrentIndex(max(0, choice.findData(c.value)))
            choice.activated.connect(lambda i: self.wished.emit(c.name, choice.itemData(i)))
            return choice
        number = _Number(c)
        number.setValue(float(c.value))
        number.valueChanged.connect(lambda _v: self._typed())
        return number

    def _typed(self) -> None:
        c = self.control
        assert c is not None
        assert isinstance(self.editor, _Number)
        value = self.editor.value()
        if why := wrong(c, value):
            self.say(why)
            self.set_value(c.value)
            return
        self.say("")
        self.wished.emit(c.name, int(value) if isinstance(c.value, int) and value.is_integer() else value)

    def value(self) -> Any:
        """What is shown."""
        if isinstance(self.editor, QCheckBox):
            return self.editor.isChecked()
        if isinstance(self.editor, QComboBox):
            return self.editor.currentData()
        return self.editor.value() if isinstance(self.editor, QDoubleSpinBox) else None

    def set_value(self, value: Any) -> None:
        """As the camera said it; wishes nothing."""
        editor = self.editor
        editor.blockSignals(True)
        if isinstance(editor, QCheckBox):
            editor.setChecked(bool(value))
        elif isinstance(editor, QComboBox):
            editor.setCurrentIndex(max(0, editor.findData(value)))
        elif isinstance(editor, QDoubleSpinBox):
            editor.setValue(float(value))
        editor.blockSignals(False)

    def say(self, why: str) -> None:
        """Why a wish failed; "" for nothing."""
        self.error.setText(why)
        self.error.setVisible(bool(why))


class ControlPanel(QWidget):
    """All settings of one camera, in two columns, or one where their names would be cut.

    Signals:
        wished: name and value.
    """

    wished = Signal(str, object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.cells: dict[str, ControlCell] = {}
        self._shape: tuple[Any, ...] | None = None
        self._columns = 2
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setVerticalSpacing(4)
        self._grid.setColumnStretch(0, 1)

    def set_rows(self, rows: Sequence[Row]) -> None:
        """Other settings, or the same with other values and bounds: those keep their place, their error, and
        what is just being typed.
        """
        shape = tuple((r.label, None if r.control is None else _kind(r.control)) for r in rows)
        if shape == self._shape:
            for r in rows:
                cell = self.cells[_key(r)]
                cell.control = r.control
                for w in (cell, cell.label, cell.editor):
                    w.setToolTip(f"{r.label}\n{r.tip}")
                if r.control is not None and not cell.editor.hasFocus():
                    cell.set_value(r.control.value)
            return
        self._shape = shape
        for old in self.cells.values():
            self._grid.removeWidget(old)
            old.hide()
            old.deleteLater()
        self.cells = {}
        for r in rows:
            cell = ControlCell(r)
            cell.wished.connect(self.wished)
            self.cells[_key(r)] = cell
        self._place()

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Another width may want another number of columns."""
        super().resizeEvent(event)
        columns = 2 if self.width() >= TWO_FROM else 1
        if columns != self._columns:
            self._columns = columns
            self._place()

    def _place(self) -> None:
        height = max(1, -(-len(self.cells) // self._columns))
        for i, cell in enumerate(self.cells.values()):
            self._grid.addWidget(cell, i % height, i // height, Qt.AlignmentFlag.AlignTop)
        self._grid.setColumnStretch(1, self._columns - 1)
        self._grid.setHorizontalSpacing(22 if self._columns == 2 else 0)
        for row in range(self._grid.rowCount()):
            self._grid.setRowStretch(row, int(row == height))
        self._grid.setRowStretch(height, 1)

    def set_values(self, values: dict[str, Any]) -> None:
        """As read back."""
        for name, value in values.items():
            cell = self.cells.get(name)
            if cell is not None and cell.control is not None:
                cell.set_value(value)

    def say(self, name: str, why: str) -> None:
        """Why a wish about this setting failed; "" for nothing."""
        if name in self.cells:
            self.cells[name].say(why)


def _kind(c: Control) -> tuple[Any, ...]:
    """What its editor is made of."""
    kind = "switch" if isinstance(c.value, bool) else "word" if isinstance(c.value, str) else "number"
    return c.name, kind, c.choices


def _key(row: Row) -> str:
    return row.control.name if row.control is not None else f"– {row.label}"
