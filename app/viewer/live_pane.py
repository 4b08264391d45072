"""One camera's picture on the rig page, with what is laid over it and a line where there is none."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QRect, QSize, Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from app.viewer import theme
from app.viewer.raster import Layer
from app.viewer.viewport import Pane, Viewport

U8 = NDArray[np.uint8]


def _colours(ground: QColor) -> U8:
    """(256, 3) RGB for a signed weight: 0 OFF now, 128 nothing (the ground), 255 ON now."""
    weight = np.minimum(1.0, np.abs(np.arange(256) - 128) / 127.0)[:, None]
    rgb = [np.array([c.red(), c.green(), c.blue()]) for c in (theme.EVENT_ON, theme.EVENT_OFF, ground)]
    event = np.where(np.arange(256)[:, None] >= 128, rgb[0], rgb[1])
    colours: U8 = np.round(rgb[2] + weight * (event - rgb[2])).astype(np.uint8)
    return colours


EVENTS_TABLE = [QColor(*(int(v) for v in c)).rgba() for c in _colours(QColor("#2c2f33"))]
_LAID = _colours(QColor(0, 0, 0)).reshape(256, 1, 3)


def blended(image: U8, events: U8, share: float) -> U8:
    """(H, W, 3) RGB: events on the image's pixels laid over it.

    Args:
        image: (H, W, 3) RGB or (H, W) gray.
        events: (H, W) signed weights around 128.
        share: 0 is the image alone, 1 the events alone; between, the image fades while events are bright.
    """
    under = np.asarray(cv2.cvtColor(image, cv2.COLOR_GRAY2RGB), np.uint8) if image.ndim == 2 else image
    laid = np.asarray(cv2.applyColorMap(events, _LAID), np.uint8)
    return np.asarray(cv2.addWeighted(under, 1.0 - share, laid, min(1.0, 2.0 * share), 0.0), np.uint8)


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
        self._ground = Layer(table)
        self._image: U8 | None = None
        self._over: U8 | None = None
        self._viewport = Viewport()

    def sizeHint(self) -> QSize:
        """As large as possible."""
        return QSize(480, 320)

    @property
    def shown(self) -> U8 | None:
        """The picture."""
        return self._image

    @property
    def over(self) -> U8 | None:
        """What is laid over it."""
        return self._over

    def show_picture(self, picture: U8 | None, over: U8 | None = None) -> None:
        """Another picture, and values to lay over it."""
        self._image, self._over = picture, over
        self._compose()

    def set_opacity(self, opacity: float) -> None:
        """Of what is laid over: 0 is the picture alone, 1 what is laid over alone."""
        self.opacity = min(1.0, max(0.0, opacity))
        self._compose()

    def _compose(self) -> None:
        """Here rather than in a paint, and before scaling: pictures are smaller than their place."""
        image, over = self._image, self._over
        if image is not None and over is not None:
            image = blended(image, over, self.opacity)
        if self._ground.set(image):
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
            image = self._ground.scaled(place, ratio)
            if image is not None:
                p.drawImage(x, y, image)
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
