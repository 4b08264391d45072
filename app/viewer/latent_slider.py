"""The slider inside the exposure: which instant of it is shown."""

from __future__ import annotations

from PySide6.QtCore import QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QMouseEvent, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QWidget

from app.viewer import theme

EDGE = 9  # room for the knob at both ends


class LatentSlider(QWidget):
    """0…1 with end ticks; one tick only for a network that gives one instant.

    Signals:
        moved: the instant under the pointer, while it is dragged.
        released: the pointer has let go.
    """

    moved = Signal(float)
    released = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self._value = 0.5
        self._fixed: float | None = None
        self._active = False
        self._dragging = False

    @property
    def value(self) -> float:
        """The instant, 0…1."""
        return self._value if self._fixed is None else self._fixed

    @property
    def dragging(self) -> bool:
        """Whether the pointer holds the knob."""
        return self._dragging

    def set_value(self, value: float) -> None:
        """Move the knob without a signal."""
        value = min(1.0, max(0.0, value))
        if value != self._value:
            self._value = value
            self.update()

    def set_fixed(self, at: float | None) -> None:
        """The one instant there is, or None when any can be asked for."""
        if at != self._fixed:
            self._fixed = at
            self._dragging = False
            free = at is None
            self.setCursor(Qt.CursorShape.PointingHandCursor if free else Qt.CursorShape.ArrowCursor)
            self.update()

    def set_active(self, active: bool) -> None:
        """Whether an exposure is held: the knob takes the accent."""
        if active != self._active:
            self._active = active
            self.update()

    def x_of(self, value: float) -> float:
        """Where an instant lies in the widget."""
        return EDGE + value * (self.width() - 2 * EDGE)

    def sizeHint(self) -> QSize:
        """Wide and low."""
        return QSize(240, 26)

    def minimumSizeHint(self) -> QSize:
        """Still usable."""
        return QSize(80, 26)

    def paintEvent(self, _event: QPaintEvent) -> None:
        """The line, its ends, the knob."""
        p = QPainter(self)
        p.setRenderHint(QPainter.RenderHint.Antialiasing)
        y = self.height() / 2
        a, b, x = self.x_of(0), self.x_of(1), self.x_of(self.value)
        p.setPen(QPen(theme.LINE, 2))
        p.drawLine(QPointF(a, y), QPointF(b, y))
        p.setPen(QPen(theme.FAINT, 1.5))
        for end in (a, b):
            p.drawLine(QPointF(end, y - 5), QPointF(end, y + 5))
        if self._fixed is not None:
            p.setPen(QPen(theme.TEXT, 2))
            p.drawLine(QPointF(x, y - 7), QPointF(x, y + 7))
            return
        colour = theme.ACCENT if self._active or self._dragging else theme.TEXT
        if self._active or self._dragging:
            p.setPen(QPen(theme.ACCENT, 2))
            p.drawLine(QPointF(a, y), QPointF(x, y))
        p.setPen(Qt.PenStyle.NoPen)
        p.setBrush(colour)
        p.drawEllipse(QRectF(x - 6, y - 6, 12, 12))

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Take the knob to the pointer."""
        if event.button() == Qt.MouseButton.LeftButton and self._fixed is None:
            self._dragging = True
            self._go(event)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Follow the pointer."""
        if self._dragging:
            self._go(event)

    def mouseReleaseEvent(self, _event: QMouseEvent) -> None:
        """Let go; what is held stays held."""
        if self._dragging:
            self._dragging = False
            self.update()
            self.released.emit()

    def _go(self, event: QMouseEvent) -> None:
        self._value = min(1.0, max(0.0, (event.position().x() - EDGE) / max(1, self.width() - 2 * EDGE)))
        self.update()
        self.moved.emit(self._value)
