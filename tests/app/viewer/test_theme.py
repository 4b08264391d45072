"""Colours of text: they can be read on what they lie on (WCAG 2.2, 1.4.3: 4.5 : 1 for small text)."""

from __future__ import annotations

import pytest
from PySide6.QtGui import QColor
from PySide6.QtWidgets import (
    QAbstractButton,
    QAbstractSlider,
    QCheckBox,
    QLineEdit,
    QPushButton,
    QSlider,
    QToolButton,
)

from app.viewer import theme
from app.viewer.coverage_view import figure_colour
from app.viewer.window import ViewerWindow


def luminance(colour: QColor) -> float:
    parts = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour.getRgbF()[:3]]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


def contrast(a: QColor, b: QColor) -> float:
    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("text", ["TEXT", "QUIET", "ACCENT", "FAULT", "GOOD"])
def test_text_can_be_read(text: str) -> None:
    for ground in (theme.BACKGROUND, theme.SURFACE):
        assert contrast(getattr(theme, text), ground) >= 4.5
    if text in ("TEXT", "ACCENT"):
        assert contrast(getattr(theme, text), theme.LINE) >= 4.5  # selected rows, the line at the foot


@pytest.mark.parametrize("share", [k / 20 for k in range(21)])
def test_figures_can_be_read_on_every_shade_of_amber(share: float) -> None:
    alpha = 0.25 + 0.6 * share
    mixed = [
        alpha * a + (1 - alpha) * b
        for a, b in zip(theme.ACCENT.getRgbF()[:3], theme.SURFACE.getRgbF()[:3], strict=True)
    ]
    assert contrast(figure_colour(1, share), QColor.fromRgbF(*mixed)) >= 4.5


def test_every_control_says_what_it_does(window: ViewerWindow) -> None:
    page = window.rig.page
    for why_not in ("no cameras are chosen", ""):
        page.set_rig(why_not)
    page.set_running(True)
    silent = [
        f"{type(b.parent()).__name__}: {getattr(b, 'text', str)() or type(b).__name__}"
        for b in (*window.findChildren(QAbstractButton), *window.findChildren(QAbstractSlider))
        if isinstance(b, QPushButton | QToolButton | QCheckBox | QSlider) and not b.toolTip()
        if b not in (window.empty.action, window.exposure.back)  # named as things stand
        if not isinstance(b.parent(), QLineEdit)
    ]
    assert silent == []


def test_what_cannot_be_used_can_be_seen() -> None:
    assert contrast(theme.FAINT, theme.BACKGROUND) >= 3
