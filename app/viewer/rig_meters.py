"""The rig page's meters: a histogram, a rate bar, a focus bar. Each paints what it is told."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QPolygonF
from PySide6.QtWidgets import QWidget

from app.viewer import theme
from app.viewer.words import rate

CHANNELS = (QColor("#d1605e"), QColor("#6ab07a"), QColor("#5b8fd6"))
FULL_HZ = 100e6
"""Events a second at the end of the bar."""
LEAST_HZ = 1e3


class HistogramView(QWidget):
    """How many pixels have each code, by channel; red marks at an end where light is lost."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.counts: NDArray[np.int64] = np.empty((0, 256), np.int64)
        self.white = self.black = False
        self.words = ""
        self.setFixedHeight(52)
        self.setToolTip("Codes 0 to 255 of the frame as it came; amber ends: clipped")

    def set_counts(self, counts: NDArray[np.int64], *, white: bool, black: bool) -> None:
        """(C, 256); which ends are marked."""
        self.counts, self.white, self.black = counts, white, black
        self.update()

    def say(self, words: str) -> None:
        """One line over it."""
        self.words = words
        self.update()

    def paintEvent(self, _event: QPaintEvent) -> None:
        """Outlines, in the square root of the counts, so that small ones are seen."""
        p = QPainter(self)
        p.fillRect(self.rect(), theme.SURFACE)
        if len(self.counts):
            p.setRenderHint(QPainter.RenderHint.Antialiasing)
            w, h = self.width() - 6, self.height()
            # The ends do not set the scale: a clipped sky would flatten everything else.
            top = max(1.0, float(np.sqrt(self.counts[:, 1:255]).max()))
            for i, channel in enumerate(self.counts):
                c = QColor(CHANNELS[i] if len(self.counts) > 1 else theme.TEXT)
                y = h - 1 - np.minimum(1.0, np.sqrt(channel.reshape(128, 2).sum(1) / 2) / top) * (h - 6)
                points = [QPointF(3 + w * k / 127, float(v)) for k, v in enumerate(y)]
                outline = QPolygonF([QPointF(3, h), *points, QPointF(3 + w, h)])
                c.setAlpha(90)
                p.setPen(Qt.PenStyle.NoPen)
                p.setBrush(c)
                p.drawPolygon(outline)
            p.setRenderHint(QPainter.RenderHint.Antialiasing, False)
        for on, x in ((self.black, 0), (self.white, self.width() - 3)):
            if on:
                p.fillRect(x, 0, 3, self.height(), theme.ACCENT)
        p.setPen(theme.TEXT)
        line = self.rect().adjusted(8, 1, -8, 0)
        words = p.fontMetrics().elidedText(self.words, Qt.TextElideMode.ElideRight, line.width())
        p.drawText(line, int(Qt.AlignmentFlag.AlignTop) | int(Qt.AlignmentFlag.AlignLeft), words)


class RateBar(QWidget):
    """Events a second, on a scale of tens; a mark at the highest of late."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.hz = self.peak_hz = 0.0
        self.setFixedHeight(52)
        self.setToolTip("Events a second, from 1 k to 100 M; the mark is the highest of late")

    def sizeHint(self) -> QSize:
        """As wide as there is room."""
        return QSize(200, 52)

    def set_hz(self, hz: float) -> None:
        """Now; the mark sinks slowly."""
        self.hz = hz
        self.peak_hz = max(hz, 0.97 * self.peak_hz)
        self.update()

    @staticmethod
    def share(hz: float) -> float:
        """Place on the bar, 0…1."""
        return min(1.0, max(0.0, math.log(max(hz, LEAST_HZ) / LEAST_HZ) / math.log(FULL_HZ / LEAST_HZ)))

    def paintEvent(self, _event: QPaintEvent) -> None:
        """Bar, marks of the scale, words."""
        p = QPainter(self)
        p.fillRect(self.rect(), theme.SURFACE)
        w, h = self.width(), self.height()
        colour = QColor(theme.ACCENT)
        colour.setAlphaF(0.55)
        p.fillRect(QRectF(0, 18, w * self.share(self.hz), h - 34), colour)
        p.fillRect(QRectF(max(0.0, w * self.share(self.peak_hz) - 2), 18, 2, h - 34), theme.ACCENT)
        p.setPen(theme.QUIET)
        for k, word in ((4, "10 k"), (5, "100 k"), (6, "1 M"), (7, "10 M")):
            x = round(w * self.share(10.0**k))
            p.drawLine(x, h - 16, x, h - 12)
            p.drawText(QRectF(x - 40, h - 15, 80, 15), int(Qt.AlignmentFlag.AlignCenter), word)
        p.setPen(theme.TEXT)
        p.drawText(QRectF(8, 1, w - 16, 16), int(Qt.AlignmentFlag.AlignVCenter), rate(self.hz))


class FocusBar(QWidget):
    """How sharp against the best so far: turn the lens until the bar is full."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.share: float | None = None
        self.value: float | None = None
        self.setFixedHeight(22)

    @property
    def text(self) -> str:
        """What it says."""
        if self.value is None or self.share is None:
            return "focus –"
        digits = 1 if self.value >= 10 else 2
        return f"focus {self.value:.{digits}f} · {self.share:.0%} of the best"

    def set_focus(self, value: float | None, share: float | None) -> None:
        """The number, and its share of the best, 0…1."""
        self.value, self.share = value, share
        self.update()

    def paintEvent(self, _event: QPaintEvent) -> None:
        """The bar, and its words on it."""
        p = QPainter(self)
        p.fillRect(self.rect(), theme.SURFACE)
        if self.share is not None:
            colour = QColor(theme.GOOD if self.share > 0.95 else theme.ACCENT)
            colour.setAlphaF(0.5)
            p.fillRect(QRectF(0, 0, self.width() * min(1.0, self.share), self.height()), colour)
        p.setPen(theme.TEXT if self.share is not None else theme.QUIET)
        p.drawText(self.rect().adjusted(8, 0, -8, 0), int(Qt.AlignmentFlag.AlignVCenter), self.text)
