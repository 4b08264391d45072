from __future__ import annotations

import sys

import numpy as np
import pytest
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QColor, QImage, QPainter, QWheelEvent
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from app.viewer import captions, residual_art, theme
from app.viewer.modes import EventsMode, View
from app.viewer.picture_view import FRAME, PictureView
from app.viewer.viewport import Pane

BLURRED = np.full((60, 80, 3), (200, 40, 40), np.uint8)
SHARP = np.full((60, 80, 3), (40, 60, 220), np.uint8)
RED, BLUE = (200, 40, 40), (40, 60, 220)


@pytest.fixture
def view(qtbot: QtBot) -> PictureView:
    w = PictureView()
    qtbot.addWidget(w)
    w.resize(400 + 2 * FRAME, 300 + 2 * FRAME)  # five times the picture
    w.show_picture(BLURRED, SHARP)
    w.show()
    return w


def at(w: PictureView, x: float, y: float) -> tuple[int, int, int]:
    image: QImage = w.grab().toImage()
    c = QColor(image.pixel(round(x), round(y)))
    return c.red(), c.green(), c.blue()


def art(colour: QColor = theme.EVENT_ON) -> np.ndarray:
    out = np.zeros((60, 80, 4), np.uint8)
    out[:] = (colour.blue(), colour.green(), colour.red(), 255)
    return out


def test_wipe_shows_blurred_left_and_sharp_right_of_the_handle(view: PictureView) -> None:
    assert at(view, 60, 200) == RED
    assert at(view, 180, 200) == RED
    assert at(view, 220, 200) == BLUE
    assert at(view, 390, 200) == BLUE


def test_the_handle_is_dragged_from_anywhere(view: PictureView, qtbot: QtBot) -> None:
    qtbot.mousePress(view, Qt.MouseButton.LeftButton, pos=QPoint(380, 40))
    assert view.wipe == 0.5  # a press alone moves nothing
    with qtbot.waitSignal(view.wiped):
        qtbot.mouseMove(view, QPoint(102, 60))
    qtbot.mouseRelease(view, Qt.MouseButton.LeftButton, pos=QPoint(102, 60))
    assert view.wipe == pytest.approx(0.25, abs=0.01)
    assert at(view, 60, 200) == RED
    assert at(view, 150, 200) == BLUE


def test_side_by_side_shows_both_whole(view: PictureView) -> None:
    view.set_view(View.SIDE_BY_SIDE)
    assert at(view, 100, 150) == RED
    assert at(view, 300, 150) == BLUE
    assert at(view, 100, 20) == theme.BACKGROUND.getRgb()[:3]


def test_sharp_only(view: PictureView) -> None:
    view.set_view(View.SHARP)
    assert at(view, 60, 200) == BLUE


def test_difference_is_grey_where_nothing_changed(view: PictureView) -> None:
    view.set_view(View.DIFFERENCE)
    assert at(view, 200, 200) == (0, 148, 255)
    view.show_picture(BLURRED, BLURRED.copy())
    assert at(view, 200, 200) == (128, 128, 128)


def test_events_only_is_neutral_grey_under_the_events(view: PictureView) -> None:
    view.set_view(View.EVENTS)
    half = art()
    half[:, 40:] = 0
    view.set_events_art(half)
    assert at(view, 100, 200) == theme.EVENT_ON.getRgb()[:3]
    assert at(view, 300, 200) == theme.EVENT_NEUTRAL.getRgb()[:3]


def test_overlay_covers_60_percent(view: PictureView) -> None:
    view.set_events_art(art())
    assert at(view, 60, 200) == RED
    view.set_events_mode(EventsMode.OVERLAY)
    want = [round(0.6 * e + 0.4 * p) for e, p in zip(theme.EVENT_ON.getRgb()[:3], RED, strict=True)]
    assert at(view, 60, 200) == pytest.approx(want, abs=2)


def test_inset_stands_in_the_lower_right_corner(view: PictureView) -> None:
    view.set_events_art(art())
    view.set_events_mode(EventsMode.INSET)
    box = view.inset_rect()
    assert box is not None
    assert at(view, box.center().x(), box.center().y()) == theme.EVENT_ON.getRgb()[:3]
    assert at(view, box.x() - 5, box.center().y()) == BLUE
    assert box.right() < 400
    assert box.bottom() < 300


def test_a_drawing_for_another_size_is_not_shown(view: PictureView) -> None:
    view.set_view(View.EVENTS)
    view.set_events_art(np.full((9, 9, 4), 255, np.uint8))
    assert at(view, 200, 200) == theme.EVENT_NEUTRAL.getRgb()[:3]


def test_stale_dims_and_fresh_does_not(view: PictureView) -> None:
    fresh = at(view, 60, 200)
    view.set_stale(1.0)
    dim = at(view, 60, 200)
    assert dim[0] < 0.75 * fresh[0]
    view.set_stale(0.0)
    assert at(view, 60, 200) == fresh


def test_a_refusal_is_named_over_the_blurred_picture(view: PictureView) -> None:
    view.show_picture(BLURRED, None, refusal="no trigger edge within 2 ms")
    assert at(view, 30, 250) == RED
    assert at(view, 390, 250) == RED
    strip = view.grab().toImage().copy(FRAME, 130, 400, 40)
    colours = {QColor(strip.pixel(x, y)).name() for x in range(400) for y in range(40)}
    assert theme.ACCENT.name() in colours


def test_the_corner_labels_are_there_only_where_they_fit(view: PictureView) -> None:
    def letters(x0: int, x1: int) -> bool:
        image = view.grab().toImage().copy(x0, 4, x1 - x0, 24)
        bright = [QColor(image.pixel(x, y)).lightness() for x in range(image.width()) for y in range(24)]
        return max(bright) > 180

    assert letters(4, 100)
    assert letters(300, 400)
    view.set_wipe(0.05)
    assert not letters(4, 20)
    assert letters(300, 400)


def wheel(w: PictureView, x: float, y: float, notches: int) -> None:
    p = QPointF(x, y)
    event = QWheelEvent(
        p, w.mapToGlobal(p), QPoint(), QPoint(0, 120 * notches), Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier, Qt.ScrollPhase.NoScrollPhase, False,
    )  # fmt: skip
    QApplication.sendEvent(w, event)


def test_wheel_zooms_about_the_pointer_middle_pans_double_click_fits(view: PictureView, qtbot: QtBot) -> None:
    marked = SHARP.copy()
    marked[30, 60] = (255, 255, 255)
    view.show_picture(BLURRED, marked)
    x, y = FRAME + 60.5 * 5, FRAME + 30.5 * 5
    wheel(view, x, y, 6)
    assert not view.viewport_.fitted
    assert at(view, x, y) == (255, 255, 255)
    qtbot.mousePress(view, Qt.MouseButton.MiddleButton, pos=QPoint(300, 150))
    qtbot.mouseMove(view, QPoint(260, 140))
    qtbot.mouseRelease(view, Qt.MouseButton.MiddleButton, pos=QPoint(260, 140))
    assert at(view, x - 40, y - 10) == (255, 255, 255)
    assert at(view, x, y) == BLUE
    wipe = view.wipe
    qtbot.mouseDClick(view, Qt.MouseButton.LeftButton, pos=QPoint(50, 50))
    assert view.viewport_.fitted
    assert view.wipe == wipe


@pytest.mark.parametrize("notches", [0, 3, 9])
def test_both_halves_always_show_the_same_pixels(view: PictureView, notches: int) -> None:
    a = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    view.show_picture(a, a.copy())
    wheel(view, 130, 222, notches)
    view.set_view(View.SHARP)
    sharp = view.grab().toImage().copy(0, 60, 190, 100)
    view.set_view(View.WIPE)
    view.set_wipe(1.0)
    assert view.grab().toImage().copy(0, 60, 190, 100) == sharp
    view.set_view(View.SIDE_BY_SIDE)
    both = view.grab().toImage()
    left, right = (q.x for q in view.panes())
    shift = round(right - left)
    rows = range(110, 190, 7)
    assert all(both.pixel(x, y) == both.pixel(x + shift, y) for x in range(60, 150) for y in rows)


def test_nothing_is_painted_again_for_the_same_picture(view: PictureView, qtbot: QtBot) -> None:
    qtbot.waitExposed(view)
    qtbot.wait(30)
    before = view.paints
    for _ in range(5):
        view.show_picture(BLURRED, SHARP)
        view.set_stale(0.0)
        view.set_banner("")
        qtbot.wait(2)
    assert view.paints == before
    view.show_picture(BLURRED, SHARP.copy())
    qtbot.waitUntil(lambda: view.paints == before + 1)


def test_updates_do_not_drop_references_to_none(view: PictureView, qtbot: QtBot) -> None:
    """PySide6 6.12.0 on Python 3.11 loses one reference to None a call, and aborts after some thousands."""
    before = sys.getrefcount(None)
    for _ in range(1000):
        view.update()
    assert sys.getrefcount(None) > before - 500


def halves(top: int) -> np.ndarray:
    """A map that is high in the upper half and 0 in the lower one."""
    values = np.zeros((60, 80), np.uint8)
    values[:30] = top
    return values


@pytest.mark.parametrize("mode", [View.WIPE, View.SIDE_BY_SIDE, View.SHARP])
def test_the_residual_glows_on_the_sharp_picture_alone(view: PictureView, mode: View) -> None:
    view.set_view(mode)
    view.set_residual(halves(255), "re-blur residual 3.1")
    x, low = 390, 215
    top = at(view, x, 140)
    assert min(top[:2]) > 220, "yellow where it is high"
    dim = at(view, x, low)
    *over, alpha = (int(v) for v in residual_art.COLOURS[0])  # blue, green, red
    want = [(c * (255 - alpha) + o * alpha) / 255 for c, o in zip(BLUE, over[::-1], strict=True)]
    assert dim == pytest.approx(want, abs=1), "dimmed where it is 0"
    if mode is not View.SHARP:
        assert at(view, 60, 150) == RED, "the blurred picture stays as it is"
    view.set_residual(None)
    assert at(view, x, low) == BLUE


@pytest.mark.parametrize("mode", [View.DIFFERENCE, View.EVENTS])
def test_other_views_have_no_residual(view: PictureView, mode: View) -> None:
    view.set_view(mode)
    view.grab()  # with some fonts the first paint of a text differs from all later ones
    before = view.grab().toImage()
    view.set_residual(halves(255), "re-blur residual 3.1")
    assert view.grab().toImage() == before


def test_a_residual_of_another_size_waits_for_its_picture(view: PictureView) -> None:
    before = view.grab().toImage()
    view.set_residual(np.full((30, 40), 255, np.uint8))
    assert view.grab().toImage() == before


def test_the_scale_stands_below_the_label_and_leaves_where_there_is_no_room(view: PictureView) -> None:
    view.set_view(View.SHARP)
    view.set_residual(halves(0), "re-blur residual 3.1")
    with_scale = view.grab().toImage()
    view.set_residual(halves(0), "")
    changed = np.argwhere(pixels(with_scale) != pixels(view.grab().toImage()))
    assert len(changed) > 200
    assert changed[:, 0].max() < 110
    assert changed[:, 1].max() < 160
    view.set_view(View.WIPE)
    view.set_wipe(0.9)
    view.set_residual(halves(0), "")
    before = view.grab().toImage()
    view.set_residual(halves(0), "re-blur residual 3.1")
    assert view.grab().toImage() == before


def pixels(image: QImage) -> np.ndarray:
    a = image.convertToFormat(QImage.Format.Format_Grayscale8)
    data = np.frombuffer(a.constBits(), np.uint8).reshape(a.height(), a.bytesPerLine())
    return data[:, : a.width()].astype(int)


def test_the_colours_of_the_residual_are_ordered_by_lightness() -> None:
    """So that they read alike in grey and by every kind of colour vision (here deuteranopia, Machado 2009)."""
    bar = residual_art.bar(129, 1)[0, :, 2::-1].astype(float) / 255
    linear = np.where(bar <= 0.04045, bar / 12.92, ((bar + 0.055) / 1.055) ** 2.4)
    deuteranopia = np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    )
    for seen in (linear, linear @ deuteranopia.T):
        lightness = seen @ (0.2126, 0.7152, 0.0722)
        assert (np.diff(lightness) > -1e-3).all()
        assert lightness[-1] > lightness[0] + 0.6
    assert (np.diff(residual_art.COLOURS[:, 3].astype(int)) >= 0).all()


@pytest.mark.parametrize(("width", "below"), [(340, True), (900, False)])
def test_the_line_at_the_head_leaves_the_labels_in_the_corners(qtbot: QtBot, width: int, below: bool) -> None:
    image = QImage(width, 200, QImage.Format.Format_RGB32)
    image.fill(0)
    p = QPainter(image)
    captions.pill(p, Pane(0, 0, width, 200), "held · Esc goes back to live")
    line = p.fontMetrics().height()
    p.end()
    painted = [y for y in range(200) if image.pixelColor(width // 2, y).value() > 0]
    assert (painted[0] > captions.MARGIN + line) == below


def test_the_difference_says_of_what_it_is(qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> None:
    """All grey where nothing was done to the picture, and no result with weights drawn by chance."""
    said: list[str] = []
    monkeypatch.setattr(captions, "label", lambda _p, _pane, text, *, left: said.append(text))
    view = PictureView()
    qtbot.addWidget(view)
    view.resize(400, 300)
    view.set_view(View.DIFFERENCE)
    image = np.zeros((30, 40, 3), np.uint8)
    view.show_picture(image, image, label="unchanged")
    view.grab()
    assert said[-1] == "difference: unchanged − blurred"
