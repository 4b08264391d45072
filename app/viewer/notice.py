"""The line at the foot of the picture, for whatever else stands in the picture's place."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QObject, Qt
from PySide6.QtWidgets import QLabel, QWidget

from app.viewer import theme

MARGIN = 12


class Notice(QLabel):
    """Lies over the foot of a widget and takes neither keys nor clicks."""

    def __init__(self, over: QWidget) -> None:
        super().__init__(over)
        self._over = over
        self.setTextFormat(Qt.TextFormat.PlainText)  # it may quote anything
        self.setWordWrap(True)
        self.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.setStyleSheet(f"background: {theme.LINE.name()}; border-radius: 6px; padding: 5px 12px;")
        self.hide()
        over.installEventFilter(self)

    def say(self, text: str) -> None:
        """Show a line; "" for none."""
        if text:
            self.setText(text)
            self._place()
            self.raise_()
        self.setVisible(bool(text))

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Stay at the foot."""
        if event.type() == QEvent.Type.Resize:
            self._place()
        return super().eventFilter(watched, event)

    def _place(self) -> None:
        room = max(120, self._over.width() - 60)
        width = min(room, self.fontMetrics().horizontalAdvance(self.text()) + 30)
        height = self.heightForWidth(width)
        self.setGeometry(
            (self._over.width() - width) // 2, self._over.height() - height - MARGIN, width, height
        )
