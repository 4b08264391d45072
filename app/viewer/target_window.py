"""The calibration target on a whole screen, in turn with its negative so that an event camera sees it."""

from __future__ import annotations

import sys
import time

import numpy as np
from PySide6.QtCore import Qt, QTimer
from PySide6.QtGui import QGuiApplication, QImage, QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QResizeEvent
from PySide6.QtWidgets import QApplication, QWidget

from calibration.geometry.targets import BlinkingBoard, screen
from capture.errors import UsageError

_KEEP_AWAKE_MS = 5


class TargetWindow(QWidget):
    """Paints one of two pictures, pixel by pixel of the screen.

    Args:
        target: the board and how long each picture stands.
        still: only the board itself.
    """

    def __init__(self, target: BlinkingBoard, *, still: bool = False) -> None:
        super().__init__()
        self.target, self.still = target, still
        self.phase = 0
        self._pictures: list[QImage] = []
        self._began = time.monotonic()
        self.setWindowTitle("Halfmirror – target")
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        self.setCursor(Qt.CursorShape.BlankCursor)
        self._timer = QTimer(self)
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self._turn)
        if not still:
            self._timer.start(_KEEP_AWAKE_MS)

    def show_beside(self, other: QWidget) -> None:
        """Fill a screen that `other` is not on, so that both can be seen; where there is none, the same."""
        here = other.screen()
        screen = next((s for s in QGuiApplication.screens() if s is not here), here)
        self.setScreen(screen)
        self.move(screen.geometry().topLeft())
        self.showFullScreen()

    def _turn(self) -> None:
        # By the clock, not by counting ticks: a tick that comes late must not lengthen the phases after it.
        phase = self.target.phase_at(time.monotonic() - self._began)
        if phase != self.phase:
            self.phase = phase
            self.update()

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Draw both pictures for the new size, in the screen's own pixels."""
        ratio = self.devicePixelRatioF()
        w, h = max(1, round(self.width() * ratio)), max(1, round(self.height() * ratio))
        self._pictures = []
        try:
            for negative in (False, True):
                gray = np.ascontiguousarray(screen(self.target.board, w, h, negative=negative))
                image = QImage(gray.data, w, h, w, QImage.Format.Format_Grayscale8).copy()
                image.setDevicePixelRatio(ratio)
                self._pictures.append(image)
        except UsageError:
            self._pictures = []  # a window that is only just being made
        super().resizeEvent(event)

    def paintEvent(self, event: QPaintEvent) -> None:
        """The picture of this phase."""
        painter = QPainter(self)
        if self._pictures:
            painter.drawImage(0, 0, self._pictures[self.phase])
        else:
            painter.fillRect(self.rect(), Qt.GlobalColor.white)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Esc and Q end it; Space stops and goes on."""
        if event.key() in (Qt.Key.Key_Escape, Qt.Key.Key_Q):
            self.close()
        elif event.key() == Qt.Key.Key_Space and not self.still:
            if self._timer.isActive():
                self._timer.stop()
            else:
                self._timer.start(_KEEP_AWAKE_MS)

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        """Ends it, for a screen without a keyboard."""
        self.close()


def show(target: BlinkingBoard, *, still: bool = False) -> int:
    """Show the target on the whole screen until it is closed; returns the program's exit code."""
    app = QApplication.instance() or QApplication([sys.argv[0] if sys.argv else "halfmirror"])
    assert isinstance(app, QApplication)
    window = TargetWindow(target, still=still)
    window.showFullScreen()
    return int(app.exec())
