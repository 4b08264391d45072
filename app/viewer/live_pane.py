"""One camera's picture on the rig page, with what is laid over it and a line where there is none."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QRect, QSize, Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from app.viewer import theme
from app.viewer.raster import Layer
from app.viewer.viewport import Pane, Viewport

U8 = NDArray[np.uint8]


def _table(ground: QColor | None) -> list[int]:
    """256 colours 0xAARRGGBB for a signed weight: 0 OFF now, 128 nothing, 255 ON now.

    `ground` is what nothing looks like, None: nothing is transparent.
    """
    out = []
    for v in range(256):
        weight = min(1.0, abs(v - 128) / 127.0)
        c = theme.EVENT_ON if v >= 128 else theme.EVENT_OFF
        if ground is None:
            out.append(QColor(c.red(), c.green(), c.blue(), round(255 * weight)).rgba())
            continue
        pairs = ((ground.red(), c.red()), (ground.green(), c.green()), (ground.blue(), c.blue()))
        out.append(QColor(*(round(g + weight * (e - g)) for g, e in pairs)).rgba())
    return out


EVENTS_TABLE = _table(QColor("#2c2f33"))
OVER_TABLE = _table(None)


class LivePane(QWidget):
    """Paints a picture as large as fits; knows nothing of cameras.

    Args:
        title: in the upper left corner.
        table: for pictures of values (`raster.Layer`).
    """

    def __init__(self, title: str, table: list[int] | None = None, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setMinimumSize(200, 130)
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        self.title, self.words, self.problem = title, "", ""
        self.opacity = 0.5
        self.paints = 0
        self._ground, self._over = Layer(table), Layer(OVER_TABLE)
        self._viewport = Viewport()

    def sizeHint(self) -> QSize:
        """As large as possible."""
        return QSize(480, 320)

    @property
    def shown(self) -> U8 | None:
        """The picture."""
        return self._ground.array

    @property
    def over(self) -> U8 | None:
        """What is laid over it."""
        return self._over.array

    def show_picture(self, picture: U8 | None, over: U8 | None = None) -> None:
        """Another picture, and values to lay over it."""
        another = self._ground.set(picture)
        if self._over.set(over) or another:
            self.update()

    def set_opacity(self, opacity: float) -> None:
        """Of what is laid over: 0 is the picture alone, 1 what is laid over alone."""
        self.opacity = min(1.0, max(0.0, opacity))
        self.update()

    def say(self, words: str, problem: str = "") -> None:
        """Figures for the upper right corner; why nothing comes, which dims the picture."""
        if (words, problem) != (self.words, self.problem):
            self.words, self.problem = words, problem
            self.update()

    def paintEvent(self, _event: QPaintEvent) -> None:
        """Picture, then words."""
        self.paints += 1
        p = QPainter(self)
        p.fillRect(self.rect(), theme.BACKGROUND.darker(130))
        a = self._ground.array
        if a is not None:
            pane = Pane(0, 0, self.width(), self.height())
            place = self._viewport.place(pane, (int(a.shape[1]), int(a.shape[0])))
            ratio = self.devicePixelRatioF()
            x, y, w, h = place.target
            # Both fade against each other: at one end the frame alone, at the other the events alone.
            laid = self._over.scaled(place, ratio) if self._over.array is not None else None
            p.setOpacity(1.0 if laid is None else min(1.0, 2 * (1 - self.opacity)))
            image = self._ground.scaled(place, ratio)
            if image is not None:
                p.drawImage(x, y, image)
            if laid is not None:
                p.setOpacity(min(1.0, 2 * self.opacity))
                p.drawImage(x, y, laid)
            p.setOpacity(1.0)
            if self.problem:
                p.fillRect(QRect(x, y, w, h), QColor(27, 29, 32, 170))
        self._write(p)

    def _write(self, p: QPainter) -> None:
        inner = self.rect().adjusted(10, 7, -10, -7)
        m = p.fontMetrics()
        for text, side in ((self.title, Qt.AlignmentFlag.AlignLeft), (self.words, Qt.AlignmentFlag.AlignRight)):
            if text:
                width = m.horizontalAdvance(text) + 12
                x = inner.left() - 4 if side is Qt.AlignmentFlag.AlignLeft else inner.right() - width + 4
                plate = QRect(x, inner.top() - 2, width, m.height() + 4)
                p.fillRect(plate, QColor(27, 29, 32, 150))
                p.setPen(theme.TEXT)
                p.drawText(plate, int(Qt.AlignmentFlag.AlignCenter), text)
        if self.problem:
            p.setPen(theme.TEXT)
            p.drawText(
                inner.adjusted(14, 30, -14, 0),
                int(Qt.AlignmentFlag.AlignCenter) | int(Qt.TextFlag.TextWordWrap), self.problem,
            )  # fmt: skip
