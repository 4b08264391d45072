"""Where the target has been seen, in thirds of the field, and how sharp it was."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent
from PySide6.QtWidgets import QWidget

from app.viewer import theme

WANTED = 4
DARK_FROM = 0.5  # of a full field: black is read better from here on, white before
SHARP_PX, BLURRED_PX = 0.8, 2.0
"""Smear in event pixels: below the first a view is sharp, beyond the second it is not used."""


class CoverageView(QWidget):
    """Nine fields that fill with amber as points of the target are found in them."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._counts: list[list[int]] = []
        self.setToolTip("Points of the target in each third of the event camera's field")

    def sizeHint(self) -> QSize:
        """Of a field of 3 to 2."""
        return QSize(210, 140)

    @property
    def counts(self) -> list[list[int]]:
        """As set."""
        return self._counts

    def set_counts(self, counts: Sequence[Sequence[int]]) -> None:
        """3 × 3 numbers of points; empty for none yet."""
        self._counts = [list(r) for r in counts]
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Nine fields."""
        painter = QPainter(self)
        w, h = self.width() / 3, self.height() / 3
        for i in range(3):
            for j in range(3):
                n = self._counts[i][j] if self._counts else 0
                share = min(1.0, n / (3 * WANTED))
                box = QRectF(j * w + 1, i * h + 1, w - 2, h - 2)
                painter.fillRect(box, theme.SURFACE)
                if n:
                    colour = QColor(theme.ACCENT)
                    colour.setAlphaF(0.25 + 0.6 * share)
                    painter.fillRect(box, colour)
                painter.setPen(figure_colour(n, share))
                painter.drawText(box, Qt.AlignmentFlag.AlignCenter, str(n) if n else "–")


def figure_colour(n: int, share: float) -> QColor:
    """Of a field's figure, to be read on every shade of amber between empty and full."""
    if not n:
        return theme.QUIET
    return QColor(Qt.GlobalColor.black if share > DARK_FROM else Qt.GlobalColor.white)


class BlurMeter(QWidget):
    """A bar: short is sharp."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._blur: float | None = None
        self.setFixedHeight(24)
        self.setToolTip("Smear of the target in event pixels; hold it still")

    def sizeHint(self) -> QSize:
        """As wide as the fields above it."""
        return QSize(210, 24)

    @property
    def text(self) -> str:
        """What it says."""
        if self._blur is None:
            return "blur –"
        word = "sharp" if self._blur <= SHARP_PX else "soft" if self._blur <= BLURRED_PX else "too blurred"
        return f"blur {self._blur:.2f} px · {word}"

    def set_blur(self, blur_px: float | None) -> None:
        """Event pixels; None unknown."""
        self._blur = blur_px
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        """The bar, and its words on it."""
        painter = QPainter(self)
        painter.fillRect(self.rect(), theme.SURFACE)
        if self._blur is not None:
            share = min(1.0, self._blur / (1.5 * BLURRED_PX))
            colour = QColor(theme.GOOD if self._blur <= SHARP_PX else theme.ACCENT)
            if self._blur > BLURRED_PX:
                colour = QColor(theme.FAULT)
            colour.setAlphaF(0.6)
            painter.fillRect(QRectF(0, 0, self.width() * share, self.height()), colour)
        painter.setPen(theme.TEXT)
        painter.drawText(
            self.rect().adjusted(8, 0, -8, 0),
            Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft,
            self.text,
        )
