"""Icons drawn by hand: no font has to carry the glyphs, and they take the window's colours."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QIcon, QPainter, QPainterPath, QPen, QPixmap, QPolygonF

from app.viewer import theme

SIZE = 16


def icon(name: str) -> QIcon:
    """One of `play`, `pause`, `back`, `forward`, `loop`, `full`, `dot`, `resume`, `record`, `stop`.

    Raises:
        KeyError: any other name.
    """
    draw = _DRAW[name]
    out = QIcon()
    for mode, state, colour in (
        (QIcon.Mode.Normal, QIcon.State.Off, theme.TEXT),
        (QIcon.Mode.Normal, QIcon.State.On, theme.ACCENT),
        (QIcon.Mode.Disabled, QIcon.State.Off, theme.FAINT),
    ):
        for ratio in (1, 2):
            pixmap = QPixmap(SIZE * ratio, SIZE * ratio)
            pixmap.setDevicePixelRatio(ratio)
            pixmap.fill(Qt.GlobalColor.transparent)
            p = QPainter(pixmap)
            p.setRenderHint(QPainter.RenderHint.Antialiasing)
            p.setPen(Qt.PenStyle.NoPen)
            p.setBrush(colour)
            draw(p, colour)
            p.end()
            out.addPixmap(pixmap, mode, state)
    return out


def _triangle(p: QPainter, x: float, width: float) -> None:
    p.drawPolygon(QPolygonF([QPointF(x, 3), QPointF(x + width, 8), QPointF(x, 13)]))


def _play(p: QPainter, _c: QColor) -> None:
    _triangle(p, 4, 9)


def _pause(p: QPainter, _c: QColor) -> None:
    p.drawRect(QRectF(4, 3, 3, 10))
    p.drawRect(QRectF(9, 3, 3, 10))


def _forward(p: QPainter, _c: QColor) -> None:
    _triangle(p, 3, 7)
    p.drawRect(QRectF(11, 3, 2, 10))


def _back(p: QPainter, _c: QColor) -> None:
    _triangle(p, 13, -7)
    p.drawRect(QRectF(3, 3, 2, 10))


def _loop(p: QPainter, c: QColor) -> None:
    p.setBrush(Qt.BrushStyle.NoBrush)
    p.setPen(QPen(c, 1.6))
    path = QPainterPath()
    path.arcMoveTo(QRectF(2.5, 3, 11, 10), 60)
    path.arcTo(QRectF(2.5, 3, 11, 10), 60, 300)
    p.drawPath(path)
    p.setPen(Qt.PenStyle.NoPen)
    p.setBrush(c)
    p.drawPolygon(QPolygonF([QPointF(9.5, 0.5), QPointF(14.5, 3.5), QPointF(9.5, 6.5)]))


def _dot(p: QPainter, _c: QColor) -> None:
    p.setBrush(theme.ACCENT)
    p.drawEllipse(QRectF(4.5, 4.5, 7, 7))


def _resume(p: QPainter, _c: QColor) -> None:
    p.setBrush(theme.ACCENT)
    _triangle(p, 4, 9)


def _record(p: QPainter, c: QColor) -> None:
    p.setBrush(c if c == theme.FAINT else theme.FAULT)
    p.drawEllipse(QRectF(3.5, 3.5, 9, 9))


def _stop(p: QPainter, _c: QColor) -> None:
    p.setBrush(theme.FAULT)
    p.drawRect(QRectF(4, 4, 8, 8))


def _full(p: QPainter, c: QColor) -> None:
    p.setBrush(Qt.BrushStyle.NoBrush)
    p.setPen(QPen(c, 1.6))
    for x, y, dx, dy in ((2, 3, 1, 1), (14, 3, -1, 1), (2, 13, 1, -1), (14, 13, -1, -1)):
        p.drawPolyline(QPolygonF([QPointF(x + 4 * dx, y), QPointF(x, y), QPointF(x, y + 4 * dy)]))


_DRAW: dict[str, Callable[[QPainter, QColor], None]] = {
    "play": _play, "pause": _pause, "back": _back, "forward": _forward, "loop": _loop, "full": _full,
    "dot": _dot, "resume": _resume, "record": _record, "stop": _stop,
}  # fmt: skip
