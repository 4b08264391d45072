"""The row of a recording: its name before, figures meanwhile, the health report after. Hidden otherwise."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import (
    QApplication,
    QBoxLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QStackedWidget,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from app.viewer import theme
from app.viewer.elided import Elided
from app.viewer.number_field import NumberField
from app.viewer.tabbed import tabbed

ANSWERS_WIDTH = 420  # of "Record all the same", "Cancel" and some words beside them


class RecordingBar(QStackedWidget):
    """Shows what a `RecordingDesk` says; knows nothing of sessions.

    Signals:
        named: another name was typed.
        timed: seconds kept from before, seconds of countdown.
        started, cancelled: the form's end.
        folder_wanted: another place is wished for.
        opened, replayed: what can be done with a recording that is there.
    """

    named = Signal(str)
    timed = Signal(float, float)
    started = Signal()
    cancelled = Signal()
    folder_wanted = Signal()
    opened = Signal()
    replayed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.name = QLineEdit()
        self.name.setMaxLength(100)
        self.place = QToolButton()
        self.before = _seconds(60.0, "So much of what came before the start belongs to the recording")
        self.countdown = _seconds(10.0, "From the wish to the start")
        self.start = QPushButton("Record")
        self.note = Elided()
        self.figures = QLabel()
        self.lost = Elided()
        self.lines = [Elided(), Elided(), Elided()]
        self.open = QPushButton("Open folder")
        self.replay = QPushButton("Replay now")
        self.name.setToolTip("The folder that is made for this recording")
        self.start.setToolTip("Begins, after the countdown (Enter, R)")
        self.open.setToolTip("Shows the recording's files")
        self.replay.setToolTip("Plays the recording here; the cameras stop")
        for page in (self._form(), self._running(), self._report()):
            self.addWidget(page)
        self.hide()

    def _form(self) -> QWidget:
        page, self._form_row = _row()
        cancel = QPushButton("Cancel")
        cancel.setToolTip("Nothing is recorded (Esc)")
        self.place.setToolTip("Where recordings are made")
        for w in (self.place, self.start, cancel):
            tabbed(w)
        self.name.setMinimumWidth(120)
        self._choices, answers = QHBoxLayout(), QHBoxLayout()
        for line in (self._choices, answers):
            line.setSpacing(10)
        for item in (
            QLabel("Name"), self.name, self.place, QLabel("keep before"), self.before, QLabel("countdown"),
            self.countdown,
        ):  # fmt: skip
            self._choices.addWidget(item, 1 if item is self.name else 0)
        answers.addWidget(self.note, 1)
        answers.addWidget(self.start)
        answers.addWidget(cancel)
        self._form_row.addLayout(self._choices)
        self._form_row.addLayout(answers, 1)
        self.name.textEdited.connect(self.named)
        self.name.returnPressed.connect(self.started)
        self.place.clicked.connect(self.folder_wanted)
        for box in (self.before, self.countdown):
            box.valueChanged.connect(lambda _v: self.timed.emit(self.before.value(), self.countdown.value()))
            box.lineEdit().returnPressed.connect(self.started)
        self.start.clicked.connect(self.started)
        cancel.clicked.connect(self.cancelled)
        return page

    def _running(self) -> QWidget:
        page, row = _row()
        self.dot = QLabel("●")
        self.dot.setStyleSheet(f"color: {theme.FAULT.name()};")
        self.lost.setStyleSheet(f"color: {theme.QUIET.name()};")
        row.addWidget(self.dot)
        row.addWidget(self.figures)
        row.addWidget(self.lost, 1)
        return page

    def _report(self) -> QWidget:
        page, row = _row()
        column = QVBoxLayout()
        column.setSpacing(2)
        for line in self.lines:
            column.addWidget(line)
        row.addLayout(column, 1)
        close = QPushButton("Close")
        close.setToolTip("The recording stays (Esc)")
        for button in (self.open, self.replay, close):
            row.addWidget(tabbed(button), 0, Qt.AlignmentFlag.AlignBottom)
        self.open.clicked.connect(self.opened)
        self.replay.clicked.connect(self.replayed)
        close.clicked.connect(self.cancelled)
        return page

    # what it says ------------------------------------------------------------------------------------------

    def ask(self, name: str, folder: Path, before_s: float, countdown_s: float) -> None:
        """Show the form."""
        for box, value in ((self.before, before_s), (self.countdown, countdown_s)):
            box.blockSignals(True)
            box.setValue(value)
            box.blockSignals(False)
        self.name.setText(name)
        self.set_place(folder)
        self.note_down("", wrong=False, start="Record", can=True)
        self._page(0)
        self.name.setFocus()
        self.name.selectAll()

    def set_place(self, folder: Path) -> None:
        """Where it will be."""
        name = folder.name or str(folder)
        self.place.setText(f"in {name if len(name) <= 18 else name[:16] + '…'}…")
        self.place.setToolTip(f"Recordings are made in {folder}")

    def note_down(self, note: str, *, wrong: bool, start: str, can: bool) -> None:
        """One line beside the form, and what its button says."""
        self.note.setStyleSheet(f"color: {(theme.ACCENT if wrong else theme.QUIET).name()};")
        self.note.set_whole(note)
        self.start.setText(start)
        self.start.setEnabled(can)

    def run(self, figures: list[str], lost: str, *, writing: bool) -> None:
        """Show figures."""
        self.dot.setVisible(writing)
        self.figures.setText("  ·  ".join(figures))
        calm = "nothing lost" if writing else ""
        self.lost.set_whole(f"·  {lost or calm}" if lost or calm else "")
        self.lost.setStyleSheet(f"color: {(theme.ACCENT if lost else theme.QUIET).name()};")
        self._page(1)

    def conclude(self, lines: list[str], *, troubled: bool, there: bool) -> None:
        """Show the report; `there`: a recording was made, whatever became of it."""
        for n, (label, text) in enumerate(zip(self.lines, lines, strict=True)):
            label.set_whole(text)
            colour = theme.TEXT if n == 0 else theme.ACCENT if troubled and n == 1 else theme.QUIET
            label.setStyleSheet(f"color: {colour.name()};")
        self.open.setEnabled(there)
        self.replay.setEnabled(there)
        self._page(2)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """The form takes two lines where it does not fit on one."""
        super().resizeEvent(event)
        directions = QBoxLayout.Direction
        one = self.width() >= self._choices.sizeHint().width() + ANSWERS_WIDTH
        direction = directions.LeftToRight if one else directions.TopToBottom
        if direction != self._form_row.direction():
            self._form_row.setDirection(direction)
            if self.currentIndex() == 0:
                self._fit_height()

    def put_away(self) -> None:
        """Hide it."""
        self._let_keys_go()
        self.hide()

    def _let_keys_go(self) -> None:
        """What is about to be hidden must not keep the keys, nor hand them to whatever button comes next."""
        field, parent = QApplication.focusWidget(), self.parentWidget()
        if field is not None and parent is not None and self.isAncestorOf(field):
            parent.setFocus()

    def _page(self, index: int) -> None:
        if index != self.currentIndex():
            self._let_keys_go()
        self.setCurrentIndex(index)
        self._fit_height()
        self.show()

    def _fit_height(self) -> None:
        page = self.currentWidget()
        assert page is not None
        self.setFixedHeight(page.sizeHint().height())


def _row() -> tuple[QWidget, QHBoxLayout]:
    page = QWidget()
    row = QHBoxLayout(page)
    row.setContentsMargins(14, 4, 8, 2)
    row.setSpacing(10)
    return page, row


def _seconds(most: float, tip: str) -> NumberField:
    box = NumberField()
    box.setRange(0.0, most)
    box.setDecimals(1)
    box.setSuffix(" s")
    box.setToolTip(tip)
    box.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
    return box
