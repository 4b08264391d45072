"""The seek bar of a recording: event rate, exposures, position."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QMouseEvent, QPainter, QPaintEvent, QPen, QPixmap, QResizeEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from app.session import Timeline
from app.viewer import theme

STRIP = 3  # height of the strip of exposures
EDGE = 6


class SeekBar(QWidget):
    """Draws a `Timeline` and gives back times.

    Signals:
        sought: a time of the source in µs, while dragging and at its end.
    """

    sought = Signal(object)  # an int: one of Qt has 32 bits, too few for µs since 1970

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self._timeline: Timeline | None = None
        self._at_us = 0
        self._still: QPixmap | None = None  # what does not move, drawn once for a size
        self._dragging = False
        self._marks: tuple[int | None, int | None] = (None, None)

    @property
    def dragging(self) -> bool:
        """Whether the pointer holds the position."""
        return self._dragging

    @property
    def timeline(self) -> Timeline | None:
        """What is drawn."""
        return self._timeline

    def set_timeline(self, timeline: Timeline | None) -> None:
        """Another recording; None while it is being computed."""
        self._timeline, self._still = timeline, None
        self.update()

    def set_marks(self, in_us: int | None, out_us: int | None) -> None:
        """In and out, on the source's time axis; None: not set."""
        if (in_us, out_us) != self._marks:
            self._marks = (in_us, out_us)
            self.update()

    def set_position(self, time_us: int) -> None:
        """Where the picture on screen lies."""
        if not self._dragging and time_us != self._at_us:
            self._at_us = time_us
            self.update()

    def x_of(self, time_us: int) -> float:
        """Where a time lies in the widget."""
        t = self._timeline
        if t is None or t.end_us <= t.start_us:
            return EDGE
        f = (time_us - t.start_us) / (t.end_us - t.start_us)
        return EDGE + min(1.0, max(0.0, f)) * (self.width() - 2 * EDGE)

    def sizeHint(self) -> QSize:
        """Wide and low."""
        return QSize(400, 34)

    def minimumSizeHint(self) -> QSize:
        """Still usable."""
        return QSize(120, 34)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Draw the still part anew."""
        self._still = None
        super().resizeEvent(event)

    def paintEvent(self, _event: QPaintEvent) -> None:
        """The still part, then the position."""
        if self._still is None:
            self._still = self._draw_still()
        p = QPainter(self)
        p.drawPixmap(0, 0, self._still)
        if self._timeline is None:
            return
        self._paint_marks(p)
        x = self.x_of(self._at_us)
        p.setRenderHint(QPainter.RenderHint.Antialiasing)
        p.setPen(QPen(theme.ACCENT, 2))
        p.drawLine(QPointF(x, 3), QPointF(x, self.height() - 3))

    def _paint_marks(self, p: QPainter) -> None:
        """What lies outside of the marks is dimmed; brackets stand at them."""
        dim = QColor(theme.BACKGROUND)
        dim.setAlpha(170)
        low, high = EDGE, self.width() - EDGE
        for at, inward in zip(self._marks, (1, -1), strict=True):
            if at is None:
                continue
            x = round(self.x_of(at))
            left, right = (low, x) if inward > 0 else (x, high)
            outside = QRectF(left, 0, right - left, self.height())
            p.fillRect(outside, dim)
            p.setPen(QPen(theme.TEXT, 2))
            p.drawLine(x, 3, x, self.height() - 3)
            for y in (3, self.height() - 3):
                p.drawLine(x, y, x + 5 * inward, y)

    def _draw_still(self) -> QPixmap:
        ratio = self.devicePixelRatioF()
        still = QPixmap(round(self.width() * ratio), round(self.height() * ratio))
        still.setDevicePixelRatio(ratio)
        still.fill(Qt.GlobalColor.transparent)
        p = QPainter(still)
        columns = max(1, self.width() - 2 * EDGE)
        base = self.height() - 4 - STRIP - 2
        t = self._timeline
        if t is None:
            p.setPen(QPen(theme.LINE, 1))
            p.drawLine(EDGE, base, EDGE + columns, base)
            return still
        heights = bars(t.event_rate_hz, columns)
        p.setPen(Qt.PenStyle.NoPen)
        for i, h in enumerate(heights):
            p.fillRect(QRectF(EDGE + i, base - h * (base - 4), 1, h * (base - 4) + 1), theme.LINE.lighter(135))
        strip = QColor(theme.TEXT)
        for i, share in enumerate(coverage(t, columns)):
            if share > 0:
                strip.setAlphaF(0.3 + 0.6 * float(share))
                p.fillRect(QRectF(EDGE + i, base + 3, 1, STRIP), strip)
        return still

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Go to the pointer."""
        if event.button() == Qt.MouseButton.LeftButton and self._timeline is not None:
            self._dragging = True
            self._go(event)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Follow the pointer."""
        if self._dragging:
            self._go(event)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """Stay there."""
        if self._dragging:
            self._go(event)
            self._dragging = False
            self.sought.emit(self._at_us)  # what plays has run on under a pointer that was held still

    def _go(self, event: QMouseEvent) -> None:
        t = self._timeline
        if t is None:
            return
        f = (event.position().x() - EDGE) / max(1, self.width() - 2 * EDGE)
        at = round(t.start_us + min(1.0, max(0.0, f)) * (t.end_us - t.start_us))
        if at != self._at_us:
            self._at_us = at
            self.update()
            self.sought.emit(at)


def bars(rate_hz: NDArray[np.float32], columns: int) -> NDArray[np.float32]:
    """(columns,) heights 0…1: the highest rate within each column, as a square root so that calm shows."""
    n = len(rate_hz)
    top = float(rate_hz.max(initial=0.0))
    if n == 0 or top <= 0:
        return np.zeros(columns, np.float32)
    edges = np.linspace(0, n, columns + 1)
    first = np.minimum(edges[:-1].astype(np.int64), n - 1)
    peak = np.maximum.reduceat(rate_hz, first) if n >= columns else rate_hz[first]
    return np.sqrt(np.maximum(peak, 0) / top).astype(np.float32)


def coverage(timeline: Timeline, columns: int) -> NDArray[np.float32]:
    """(columns,) share 0…1 of each column's time during which the shutter was open."""
    span = timeline.end_us - timeline.start_us
    spans = timeline.exposures_us
    if span <= 0 or len(spans) == 0:
        return np.zeros(columns, np.float32)
    at = np.clip((spans - timeline.start_us) * (columns / span), 0, columns)
    # Open time up to each column's edge: sum over exposures of the part that lies before it.
    edges = np.arange(columns + 1, dtype=np.float64)
    starts, ends = np.sort(at[:, 0]), np.sort(at[:, 1])

    def before(points: NDArray[np.float64]) -> NDArray[np.float64]:
        k = np.searchsorted(points, edges, side="right")
        total = np.concatenate(([0.0], np.cumsum(points)))
        return edges * k - total[k]

    open_until = before(starts) - before(ends)
    # An exposure shorter than a column still shows.
    share = np.diff(open_until)
    return np.clip(share, 0, 1).astype(np.float32)
