"""All keys on one page over the window; any key or click closes it."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QObject, QRect, QRectF, Qt
from PySide6.QtGui import QColor, QKeyEvent, QMouseEvent, QPainter, QPaintEvent
from PySide6.QtWidgets import QWidget

from app.viewer import theme
from app.viewer.keys import KEYS, MOUSE, shown

ROW = 24
COLUMN = 330
KEY_WIDTH = 104


class HelpOverlay(QWidget):
    """Covers its parent while it is shown."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self._covered = parent
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.hide()
        parent.installEventFilter(self)

    def toggle(self) -> None:
        """Show or hide."""
        if self.isVisible():
            self._close()
        else:
            self.setGeometry(self._covered.rect())
            self.show()
            self.raise_()
            self.setFocus()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Keep covering the parent."""
        if event.type() == QEvent.Type.Resize and self.isVisible():
            self.setGeometry(self._covered.rect())
        return super().eventFilter(watched, event)

    def event(self, event: QEvent) -> bool:
        """Take keys before they become shortcuts: the first key only closes the page."""
        if event.type() == QEvent.Type.ShortcutOverride:
            event.accept()
            return True
        return super().event(event)

    def _close(self) -> None:
        self._covered.setFocus()  # else the keys go to whatever button comes next
        self.hide()

    def keyPressEvent(self, _event: QKeyEvent) -> None:
        """Close."""
        self._close()

    def mousePressEvent(self, _event: QMouseEvent) -> None:
        """Close."""
        self._close()

    def columns(self) -> list[list[tuple[str, list[tuple[str, str]]]]]:
        """Groups of (keys, text), in two columns."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for k in KEYS:
            groups.setdefault(k.group, []).append(("  ".join(shown(s) for s in k.keys), k.text))
        groups["Mouse"] = list(MOUSE)
        order = list(groups.items())
        return [order[:2], order[2:]]

    def paintEvent(self, _event: QPaintEvent) -> None:
        """The page."""
        p = QPainter(self)
        p.fillRect(self.rect(), QColor(27, 29, 32, 236))
        columns = self.columns()
        lengths = [sum(len(rows) + 2 for _, rows in c) for c in columns]
        row = min(ROW, max(14, (self.height() - 40) // max(lengths)))
        width = COLUMN * len(columns)
        left = (self.width() - width) // 2
        top = max(16, (self.height() - max(lengths) * row) // 2)
        for i, column in enumerate(columns):
            x, y = left + i * COLUMN, top
            for heading, rows in column:
                p.setPen(theme.QUIET)
                p.drawText(QRect(x, y, COLUMN, row), int(Qt.AlignmentFlag.AlignVCenter), heading)
                y += row
                for keys, text in rows:
                    p.setPen(theme.ACCENT)
                    p.drawText(QRectF(x, y, KEY_WIDTH, row), int(Qt.AlignmentFlag.AlignVCenter), keys)
                    p.setPen(theme.TEXT)
                    p.drawText(
                        QRectF(x + KEY_WIDTH, y, COLUMN - KEY_WIDTH, row),
                        int(Qt.AlignmentFlag.AlignVCenter),
                        text,
                    )
                    y += row
                y += row
