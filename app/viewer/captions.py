"""Words on the picture: labels, the wipe handle, refusals, notes. Drawn, not widgets: they cost nothing."""

from __future__ import annotations

from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QPainter, QPainterPath, QPen

from app.viewer import theme
from app.viewer.raster import to_qimage
from app.viewer.residual_art import TOP
from app.viewer.residual_art import bar as colour_bar
from app.viewer.viewport import Pane

MARGIN = 12
SCALE_WIDTH, SCALE_HEIGHT = 140, 8
_SCALE = colour_bar(SCALE_WIDTH, 1)


def label(p: QPainter, pane: Pane, text: str, *, left: bool) -> None:
    """A discreet word in an upper corner; left out where it does not fit whole."""
    width = p.fontMetrics().horizontalAdvance(text)
    if width + 2 * MARGIN > pane.width or pane.height < 40:
        return
    x = pane.x + MARGIN if left else pane.x + pane.width - MARGIN - width
    shaded(p, QPointF(x, pane.y + MARGIN + p.fontMetrics().ascent()), text, QColor(255, 255, 255, 205))


def scale(p: QPainter, pane: Pane, words: str, *, left: bool, bar: bool) -> None:
    """Under a label: words, and the colours of the re-blur residual from 0 to its top in grey levels.

    Words that do not fit are cut off at their end; the colours are left out where there is no room for them.
    """
    room = pane.width - 2 * MARGIN
    metrics = p.fontMetrics()
    if room < SCALE_WIDTH or pane.height < 120:
        return
    words = metrics.elidedText(words, Qt.TextElideMode.ElideRight, int(room))
    y = pane.y + MARGIN + 1.5 * metrics.height()

    def at(width: float) -> float:
        return pane.x + MARGIN if left else pane.x + pane.width - MARGIN - width

    shadowed(p, QPointF(at(metrics.horizontalAdvance(words)), y + metrics.ascent()), words)
    if not bar:
        return
    box = QRectF(at(SCALE_WIDTH), y + metrics.height() + 4, SCALE_WIDTH, SCALE_HEIGHT)
    p.drawImage(box, to_qimage(_SCALE))
    p.save()
    p.setPen(QPen(QColor(255, 255, 255, 90), 1))
    p.drawRect(box)
    p.restore()
    below = box.bottom() + 2 + metrics.ascent()
    for share, mark in ((0.0, "0"), (0.5, f"{TOP // 2}"), (1.0, f"{TOP}+")):
        width = metrics.horizontalAdvance(mark)
        shadowed(p, QPointF(box.x() + share * (SCALE_WIDTH - width), below), mark)


def shadowed(p: QPainter, at: QPointF, text: str) -> None:
    """White text with a shadow: an eighth of the time of `shaded`, and enough on a picture that is dimmed."""
    p.setPen(QColor(0, 0, 0, 190))
    for dx, dy in ((1, 1), (-1, 1), (1, -1), (-1, -1)):
        p.drawText(QPointF(at.x() + dx, at.y() + dy), text)
    p.setPen(QColor(255, 255, 255, 220))
    p.drawText(at, text)


def shaded(p: QPainter, at: QPointF, text: str, colour: QColor) -> None:
    """Text that reads on bright and on dark pictures alike, without a box."""
    path = QPainterPath()
    path.addText(at, p.font(), text)
    p.save()
    p.setRenderHint(QPainter.RenderHint.Antialiasing)
    p.strokePath(
        path,
        QPen(
            QColor(0, 0, 0, 110), 3, Qt.PenStyle.SolidLine, Qt.PenCapStyle.RoundCap, Qt.PenJoinStyle.RoundJoin
        ),
    )
    p.restore()
    p.setPen(colour)
    p.drawText(at, text)


def handle(p: QPainter, x: float, seen: Pane, *, active: bool) -> None:
    """The wipe's line and grip."""
    p.save()
    p.setRenderHint(QPainter.RenderHint.Antialiasing)
    colour = theme.ACCENT if active else QColor(255, 255, 255, 200)
    p.setPen(QPen(QColor(0, 0, 0, 70), 3))
    p.drawLine(QPointF(x, seen.y), QPointF(x, seen.y + seen.height))
    p.setPen(QPen(colour, 1))
    p.drawLine(QPointF(x, seen.y), QPointF(x, seen.y + seen.height))
    middle = seen.y + seen.height / 2
    p.setPen(QPen(QColor(0, 0, 0, 90), 1))
    p.setBrush(theme.ACCENT if active else QColor(240, 240, 240, 235))
    p.drawRoundedRect(QRectF(x - 4, middle - 20, 8, 40), 4, 4)
    p.restore()


def refusal(p: QPainter, seen: Pane, text: str) -> None:
    """Why there is no sharp picture, by name, across the middle of where it would be."""
    inner = QRectF(seen.x + 24, seen.y, max(seen.width - 48, 10), seen.height)
    flags = int(Qt.TextFlag.TextWordWrap | Qt.AlignmentFlag.AlignCenter)
    words = f"Not restored: {text}"
    box = p.boundingRect(inner, flags, words)
    band = QRectF(seen.x, box.y() - 12, seen.width, box.height() + 24)
    p.fillRect(band, QColor(27, 29, 32, 205))
    p.setPen(theme.ACCENT)
    p.drawText(inner, flags, words)


def pill(p: QPainter, seen: Pane, text: str) -> None:
    """A line at the head of the picture, in the accent: why the picture stands still and how it goes on.

    In a narrow picture it lies below the labels in the corners.
    """
    metrics = p.fontMetrics()
    corners = 2 * (metrics.horizontalAdvance("unchanged  0.00") + 2 * MARGIN)
    below = metrics.horizontalAdvance(text) + 24 + corners > seen.width
    _capsule(p, seen, text, seen.y + MARGIN + (metrics.height() + 6 if below else 0), theme.ACCENT)


def countdown(p: QPainter, seen: QRectF, text: str) -> None:
    """Figures that nobody overlooks, over the middle of the picture."""
    p.save()
    font = theme.text_font(p.font(), pixels=int(max(40, min(220, seen.height() / 3))))
    p.setFont(font)
    metrics = p.fontMetrics()
    at = QPointF(
        seen.center().x() - metrics.horizontalAdvance(text) / 2,
        seen.center().y() + (metrics.ascent() - metrics.descent()) / 2,
    )
    shaded(p, at, text, QColor(255, 255, 255, 225))
    p.restore()


def red_frame(p: QPainter, seen: QRectF, width: int) -> None:
    """Around the picture, not over it: this is being recorded."""
    half = width / 2
    p.save()
    pen = QPen(theme.FAULT, width)
    pen.setJoinStyle(Qt.PenJoinStyle.MiterJoin)
    p.setPen(pen)
    p.setBrush(Qt.BrushStyle.NoBrush)
    left, top, right, bottom = (round(v) for v in seen.getCoords())  # type: ignore[attr-defined]
    p.drawRect(QRectF(left, top, right - left, bottom - top).adjusted(-half, -half, half, half))
    p.restore()


def banner(p: QPainter, seen: Pane, text: str) -> None:
    """A line at the foot of the picture."""
    _capsule(p, seen, text, seen.y + seen.height - MARGIN - p.fontMetrics().height() - 10, theme.TEXT)


def _capsule(p: QPainter, seen: Pane, text: str, y: float, colour: QColor) -> None:
    metrics = p.fontMetrics()
    words = metrics.elidedText(text, Qt.TextElideMode.ElideMiddle, int(max(40, seen.width - 60)))
    width = metrics.horizontalAdvance(words) + 24
    box = QRectF(seen.x + (seen.width - width) / 2, y, width, metrics.height() + 10)
    p.save()
    p.setRenderHint(QPainter.RenderHint.Antialiasing)
    p.setPen(Qt.PenStyle.NoPen)
    p.setBrush(QColor(27, 29, 32, 205))
    p.drawRoundedRect(box, box.height() / 2, box.height() / 2)
    p.restore()
    p.setPen(colour)
    p.drawText(box, int(Qt.AlignmentFlag.AlignCenter), words)
