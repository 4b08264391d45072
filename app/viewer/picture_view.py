"""The picture: five views of a blurred frame, its sharp latent and its events.

Raster painting on the numpy buffers. Zoom and pan are shared by both halves.
"""

from __future__ import annotations

from enum import Enum, auto

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QPointF, QRect, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QMouseEvent, QPainter, QPaintEvent, QWheelEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from app.viewer import captions, residual_art, theme
from app.viewer.modes import EventsMode, View
from app.viewer.raster import Layer, difference
from app.viewer.viewport import Pane, Viewport
from capture.rate import Rate

U8 = NDArray[np.uint8]

FRAME = 2  # room around the picture for the red frame of a recording
GAP = 2  # between the panes of side by side
OVERLAY_OPACITY = 0.6
STALE_DIM = 0.3
HANDLE_GRIP = 10  # pixels left and right of the handle that still take hold of it
INSET_SHARE = 0.26
INSET_MARGIN = 14


class _Drag(Enum):
    NONE = auto()
    WIPE = auto()
    PAN = auto()


class PictureView(QWidget):
    """Shows one picture; knows nothing of sessions.

    Signals:
        wiped: the handle's new place, 0…1 over the visible picture.
    """

    wiped = Signal(float)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setMinimumSize(320, 200)
        self.setMouseTracking(True)
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        self.viewport_ = Viewport()
        self.paint_rate = Rate()
        self.paints = 0
        self._view = View.WIPE
        self._events_mode = EventsMode.OFF
        self._wipe = 0.5
        self._blurred, self._sharp, self._difference, self._events = Layer(), Layer(), Layer(), Layer()
        self._inset = Layer()
        self._residual, self._residual_words = Layer(residual_art.TABLE), ""
        self._refusal = ""
        self._label = "sharp"
        self._banner = ""
        self._pill = ""
        self._recording = False
        self._countdown = ""
        self._stale = 0.0
        self._drag = _Drag.NONE
        self._pressed = QPointF()

    # what is shown -------------------------------------------------------------------------------------

    @property
    def view(self) -> View:
        """The view that is shown."""
        return self._view

    @property
    def events_mode(self) -> EventsMode:
        """Where events are drawn."""
        return self._events_mode

    @property
    def wipe(self) -> float:
        """Where the handle stands, 0…1 over the visible picture."""
        return self._wipe

    @property
    def needs_events(self) -> bool:
        """Whether a drawing of the events would be seen."""
        return self._view is View.EVENTS or self._events_mode is not EventsMode.OFF

    @property
    def image_size(self) -> tuple[int, int] | None:
        """(width, height) of the picture that is shown."""
        a = self._blurred.array
        return None if a is None else (int(a.shape[1]), int(a.shape[0]))

    def set_view(self, view: View) -> None:
        """Another view of the same picture."""
        self._view = view
        self._refresh_difference()
        self._hover(None)
        self.update()

    def set_events_mode(self, mode: EventsMode) -> None:
        """Where events are drawn."""
        self._events_mode = mode
        self.update()

    def set_wipe(self, at: float) -> None:
        """Move the wipe handle, 0…1 over the visible picture."""
        self._wipe = min(1.0, max(0.0, at))
        self.update()

    def show_picture(self, blurred: U8, sharp: U8 | None, *, refusal: str = "", label: str = "sharp") -> None:
        """Another picture.

        Args:
            blurred: (H, W, 3) RGB or (H, W) gray.
            sharp: the same size, None when refused.
            refusal: why there is no sharp picture.
            label: what the sharp picture is called, for example with its instant.
        """
        words = (refusal if sharp is None else "", label)
        another = self._blurred.set(blurred)
        another = self._sharp.set(sharp) or another
        if another:
            self._difference.set(None)
            self._refresh_difference()
        if another or words != (self._refusal, self._label):
            self._refusal, self._label = words
            self.update()

    def set_events_art(self, art: U8 | None) -> None:
        """The drawing of the events, (H, W, 4) premultiplied BGRA on the image's grid; None for none."""
        if self._events.set(art):
            self._inset.set(art)
            self.update()

    def set_residual(self, values: U8 | None, words: str = "") -> None:
        """The map of the re-blur residual, (H, W) as in `app.session.Residual`, and words for its scale."""
        if self._residual.set(values) or words != self._residual_words:
            self._residual_words = words
            self.update()

    def set_stale(self, level: float) -> None:
        """Dim the picture: 0 fresh … 1 long out of date."""
        level = round(min(1.0, max(0.0, level)), 2)
        if level != self._stale:
            self._stale = level
            self.update()

    def set_banner(self, text: str) -> None:
        """One line at the foot of the picture, "" for none."""
        if text != self._banner:
            self._banner = text
            self.update()

    def set_pill(self, text: str) -> None:
        """One line at the head of the picture that tells why it stands still, "" for none."""
        if text != self._pill:
            self._pill = text
            self.update()

    def set_recording(self, on: bool) -> None:
        """A red frame around the picture while it is recorded."""
        if on != self._recording:
            self._recording = on
            self.update()

    def set_countdown(self, text: str) -> None:
        """Large figures in the middle of the picture, "" for none."""
        if text != self._countdown:
            self._countdown = text
            self.update()

    def clear(self) -> None:
        """Show nothing."""
        layers = (self._blurred, self._sharp, self._difference, self._events, self._inset, self._residual)
        for layer in layers:
            layer.set(None)
        self._refusal = self._banner = self._pill = self._residual_words = ""
        self.update()

    def fit(self) -> None:
        """Show the whole picture."""
        self.viewport_.fit()
        self.update()

    def _refresh_difference(self) -> None:
        s, b = self._sharp.array, self._blurred.array
        if self._view is View.DIFFERENCE and s is not None and b is not None:
            if self._difference.array is None:
                self._difference.set(difference(s, b))
        else:
            self._difference.set(None)

    # places --------------------------------------------------------------------------------------------

    def panes(self) -> list[Pane]:
        """The rectangles that hold a picture: two side by side, one otherwise."""
        width, height = float(self.width() - 2 * FRAME), float(self.height() - 2 * FRAME)
        if self._view is View.SIDE_BY_SIDE:
            half = (width - GAP) / 2
            return [Pane(FRAME, FRAME, half, height), Pane(FRAME + half + GAP, FRAME, half, height)]
        return [Pane(FRAME, FRAME, width, height)]

    def handle_x(self) -> float:
        """Where the wipe handle stands in the widget."""
        size = self.image_size
        if size is None:
            return self.width() / 2
        seen = self.viewport_.visible(self.panes()[0], size)
        return seen.x + self._wipe * seen.width

    def sizeHint(self) -> QSize:
        """Room for a picture of 1152×768."""
        return QSize(1152 + 2 * FRAME, 768 + 2 * FRAME)

    # painting ------------------------------------------------------------------------------------------

    def paintEvent(self, _event: QPaintEvent) -> None:
        """Blit the scaled layers of the view."""
        self.paints += 1
        self.paint_rate.tick()
        p = QPainter(self)
        p.fillRect(self.rect(), theme.BACKGROUND)
        size = self.image_size
        if size is None:
            return
        panes = self.panes()
        seen = [self.viewport_.visible(pane, size) for pane in panes]
        if self._view is View.SIDE_BY_SIDE:
            self._blit(p, self._blurred, panes[0], size, seen[0])
            self._blit(p, self._sharp, panes[1], size, seen[1])
            captions.label(p, seen[0], "blurred", left=True)
            if not self._refusal:
                self._blit(p, self._residual, panes[1], size, seen[1])
                captions.label(p, seen[1], self._label, left=True)
                self._paint_scale(p, seen[1], left=True)
        elif self._view is View.EVENTS:
            p.fillRect(_rect(seen[0]), theme.EVENT_NEUTRAL)
            self._blit(p, self._events, panes[0], size, seen[0])
            captions.label(p, seen[0], "events", left=True)
        elif self._sharp.array is None:
            self._blit(p, self._blurred, panes[0], size, seen[0])
            captions.label(p, seen[0], "blurred", left=True)
        elif self._view is View.WIPE:
            self._paint_wipe(p, panes[0], size, seen[0])
        elif self._view is View.DIFFERENCE:
            self._blit(p, self._difference, panes[0], size, seen[0])
            captions.label(p, seen[0], f"difference: {self._label} − blurred", left=True)
        else:
            self._blit(p, self._sharp, panes[0], size, seen[0])
            self._blit(p, self._residual, panes[0], size, seen[0])
            captions.label(p, seen[0], self._label, left=True)
            self._paint_scale(p, seen[0], left=True)
        if self._events_mode is EventsMode.OVERLAY and self._view is not View.EVENTS:
            p.setOpacity(OVERLAY_OPACITY)
            for pane, part in zip(panes, seen, strict=True):
                self._blit(p, self._events, pane, size, part)
            p.setOpacity(1.0)
        if self._stale > 0:
            veil = QColor(theme.BACKGROUND)
            veil.setAlphaF(STALE_DIM * self._stale)
            for part in seen:
                p.fillRect(_rect(part), veil)
        if self._events_mode is EventsMode.INSET and self._view is not View.EVENTS:
            self._paint_inset(p, size, seen[-1])
        if self._refusal and self._view is not View.EVENTS:
            captions.refusal(p, seen[-1], self._refusal)
        if self._pill:
            captions.pill(p, seen[0], self._pill)
        if self._countdown:
            captions.countdown(p, _around(seen), self._countdown)
        if self._recording:
            captions.red_frame(p, _around(seen), FRAME)
        if self._banner:
            captions.banner(p, seen[0], self._banner)

    def _blit(self, p: QPainter, layer: Layer, pane: Pane, size: tuple[int, int], clip: Pane) -> None:
        a = layer.array
        if a is None:
            return
        place = self.viewport_.place(pane, size)
        if (a.shape[1], a.shape[0]) != size:
            return  # a drawing for a picture of another size; the right one follows
        image = layer.scaled(place, self.devicePixelRatioF())
        if image is not None:
            p.save()
            p.setClipRect(_rect(clip), Qt.ClipOperation.IntersectClip)
            p.drawImage(place.target[0], place.target[1], image)
            p.restore()

    def _paint_wipe(self, p: QPainter, pane: Pane, size: tuple[int, int], seen: Pane) -> None:
        x = round(self.handle_x())
        left = Pane(seen.x, seen.y, x - seen.x, seen.height)
        right = Pane(x, seen.y, seen.x + seen.width - x, seen.height)
        if left.width > 0:
            self._blit(p, self._blurred, pane, size, left)
        if right.width > 0:
            self._blit(p, self._sharp, pane, size, right)
            self._blit(p, self._residual, pane, size, right)
        captions.label(p, left, "blurred", left=True)
        captions.label(p, right, self._label, left=False)
        self._paint_scale(p, right, left=False)
        captions.handle(p, x, seen, active=self._drag is _Drag.WIPE)

    def _paint_scale(self, p: QPainter, pane: Pane, *, left: bool) -> None:
        """What the colours of the residual mean, or why there are none, below the label."""
        if self._residual_words:
            bar = self._residual.array is not None
            captions.scale(p, pane, self._residual_words, left=left, bar=bar)

    def inset_rect(self) -> QRect | None:
        """Where the inset of the events lies, None without a picture."""
        size = self.image_size
        if size is None:
            return None
        seen = self.viewport_.visible(self.panes()[-1], size)
        width = round(max(140.0, self.width() * INSET_SHARE))
        height = round(width * size[1] / size[0])
        x = seen.x + seen.width - width - INSET_MARGIN
        y = seen.y + seen.height - height - INSET_MARGIN
        return QRect(round(x), round(y), width, height)

    def _paint_inset(self, p: QPainter, size: tuple[int, int], seen: Pane) -> None:
        box = self.inset_rect()
        if box is None:
            return
        p.fillRect(box, theme.EVENT_NEUTRAL)
        a = self._inset.array
        pane = Pane(box.x(), box.y(), box.width(), box.height())
        if a is not None and (a.shape[1], a.shape[0]) == size:
            place = Viewport().place(pane, size)
            image = self._inset.scaled(place, self.devicePixelRatioF())
            if image is not None:
                p.drawImage(place.target[0], place.target[1], image)
        captions.label(p, pane, "events", left=True)

    # hands ---------------------------------------------------------------------------------------------

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Left takes the wipe handle, middle the picture."""
        self._pressed = event.position()
        if event.button() == Qt.MouseButton.MiddleButton:
            self._drag = _Drag.PAN
            self.setCursor(Qt.CursorShape.ClosedHandCursor)
        else:
            super().mousePressEvent(event)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Drag what was taken."""
        at, size = event.position(), self.image_size
        buttons = event.buttons()
        if size is not None and self._drag is _Drag.PAN:
            pane = self._pane_at(self._pressed)
            self.viewport_.pan(pane, size, at.x() - self._pressed.x(), at.y() - self._pressed.y())
            self._pressed = at
            self.update()
        elif size is not None and buttons & Qt.MouseButton.LeftButton and self._view is View.WIPE:
            # A press alone moves nothing, so that a double click can fit the picture.
            if self._drag is _Drag.WIPE or abs(at.x() - self._pressed.x()) >= 3:
                self._drag = _Drag.WIPE
                seen = self.viewport_.visible(self.panes()[0], size)
                self.set_wipe((at.x() - seen.x) / max(seen.width, 1.0))
                self.wiped.emit(self._wipe)
        elif not buttons:
            self._hover(at)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """Let go."""
        self._drag = _Drag.NONE
        self._hover(event.position())
        self.update()

    def mouseDoubleClickEvent(self, _event: QMouseEvent) -> None:
        """Show the whole picture again."""
        self.fit()

    def wheelEvent(self, event: QWheelEvent) -> None:
        """Zoom about the pointer."""
        size = self.image_size
        if size is None:
            return
        at = event.position()
        pane = self._pane_at(at)
        self.viewport_.zoom_at(pane, size, at.x(), at.y(), event.angleDelta().y() / 120)
        event.accept()
        self.update()

    def _pane_at(self, at: QPointF) -> Pane:
        panes = self.panes()
        return next((q for q in panes if q.contains(at.x(), at.y())), panes[0])

    def _hover(self, at: QPointF | None) -> None:
        near = (
            at is not None
            and self._view is View.WIPE
            and self._sharp.array is not None
            and abs(at.x() - self.handle_x()) <= HANDLE_GRIP
        )
        self.setCursor(Qt.CursorShape.SplitHCursor if near else Qt.CursorShape.ArrowCursor)


def _rect(pane: Pane) -> QRectF:
    return QRectF(pane.x, pane.y, pane.width, pane.height)


def _around(panes: list[Pane]) -> QRectF:
    """All of them."""
    out = _rect(panes[0])
    for pane in panes[1:]:
        out = out.united(_rect(pane))
    return out
