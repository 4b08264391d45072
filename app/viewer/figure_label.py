"""A label for a figure that moves: it never gets narrower, so its neighbours stand still."""

from __future__ import annotations

from PySide6.QtGui import QColor
from PySide6.QtWidgets import QLabel, QWidget

from app.viewer import theme


class FigureLabel(QLabel):
    """One line in one colour, as wide as the widest text it has had."""

    def __init__(self, sample: str = "", parent: QWidget | None = None) -> None:
        """`sample` reserves room from the start."""
        super().__init__(parent)
        self._colour: QColor | None = None
        self.set(sample)
        self.setText("")

    def set(self, text: str, colour: QColor = theme.QUIET) -> None:
        """Write a figure."""
        if text != self.text():
            self.setText(text)
            self.setMinimumWidth(max(self.minimumWidth(), self.fontMetrics().horizontalAdvance(text) + 1))
        if colour != self._colour:
            self._colour = colour
            self.setStyleSheet(f"color: {colour.name()};")

    @property
    def colour(self) -> QColor:
        """The colour of the text."""
        return self._colour or theme.QUIET
