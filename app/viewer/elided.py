"""A line that gives way: it ends in … where there is no room for all of it."""

from __future__ import annotations

from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QLabel, QWidget


class Elided(QLabel):
    """One line as long as there is room; all of it in the tooltip.

    Attributes:
        whole: the line.
    """

    def __init__(self, text: str = "", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.whole = ""
        self.set_whole(text)

    def set_whole(self, text: str) -> None:
        """Another line."""
        if text != self.whole:
            self.whole = text
            self.setToolTip(text)
            self._cut()

    def sizeHint(self) -> QSize:
        """Room for all of it."""
        hint = super().sizeHint()
        hint.setWidth(self.fontMetrics().horizontalAdvance(self.whole) + 4)
        return hint

    def minimumSizeHint(self) -> QSize:
        """Any width will do."""
        hint = super().minimumSizeHint()
        hint.setWidth(20)
        return hint

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Cut anew."""
        super().resizeEvent(event)
        self._cut()

    def _cut(self) -> None:
        room = max(20, self.width())
        self.setText(self.fontMetrics().elidedText(self.whole, Qt.TextElideMode.ElideRight, room))
