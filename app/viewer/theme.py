"""Colours, font and style of the window: dark, neutral, one accent."""

from __future__ import annotations

from PySide6.QtGui import QColor, QFont, QFontMetrics, QPalette
from PySide6.QtWidgets import QApplication

BACKGROUND = QColor("#1b1d20")
SURFACE = QColor("#26292d")  # menus and popups, a step above the background
LINE = QColor("#3a3e44")
TEXT = QColor("#d9dce0")
QUIET = QColor("#8f959c")  # figures while nothing is wrong
FAINT = QColor("#6b7178")  # what cannot be used now; why it cannot is written in QUIET
ACCENT = QColor("#f5a623")  # live, selected, wants a look
FAULT = QColor("#ec6468")  # faults and recording only; light enough to be read as text
GOOD = QColor("#6ab07a")
EVENT_ON = QColor("#f5a623")
EVENT_OFF = QColor("#4a90e2")
EVENT_NEUTRAL = QColor("#77797c")

PIXELS = 13

STYLE = f"""
QWidget {{ color: {TEXT.name()}; }}
QMainWindow, QDialog, QMessageBox {{ background: {BACKGROUND.name()}; }}
QToolTip {{ background: {SURFACE.name()}; border: 1px solid {LINE.name()}; padding: 4px; }}
QToolButton {{ background: transparent; border-radius: 4px; padding: 3px 7px; }}
QToolButton, QPushButton {{ border: 1px solid transparent; }}
QToolButton:hover {{ background: {SURFACE.name()}; }}
QToolButton:pressed {{ background: {LINE.name()}; }}
QToolButton:checked {{ color: {ACCENT.name()}; }}
QToolButton:focus, QPushButton:focus {{ border-color: {ACCENT.name()}; }}
QToolButton:disabled {{ color: {FAINT.name()}; }}
QToolButton::menu-indicator {{ image: none; width: 0; }}
QMenu {{ background: {SURFACE.name()}; border: 1px solid {LINE.name()}; padding: 4px 0; }}
QMenu::item {{ padding: 5px 28px 5px 26px; background: transparent; }}
QMenu::item:selected {{ background: {LINE.name()}; }}
QMenu::item:disabled {{ color: {FAINT.name()}; }}
QMenu::separator {{ height: 1px; background: {LINE.name()}; margin: 4px 0; }}
QMenu::indicator {{ width: 6px; height: 6px; left: 10px; border-radius: 3px; background: transparent; }}
QMenu::indicator:checked {{ background: {ACCENT.name()}; }}
QPushButton {{ background: {SURFACE.name()}; border-radius: 4px; padding: 6px 15px; }}
QPushButton:hover {{ background: {LINE.name()}; }}
QPushButton:default {{ color: {ACCENT.name()}; }}
QListView {{ background: {SURFACE.name()}; border: none; outline: none; }}
"""


def css(colour: QColor) -> str:
    """A colour as a style sheet wants it, alpha included."""
    return f"rgba({colour.red()},{colour.green()},{colour.blue()},{colour.alpha()})"


def apply(app: QApplication) -> None:
    """Dress the whole application: style, palette, font with digits of one width."""
    app.setStyle("Fusion")
    app.setFont(text_font(app.font()))
    palette = QPalette()
    roles = QPalette.ColorRole
    for role, colour in {
        roles.Window: BACKGROUND, roles.Base: SURFACE, roles.AlternateBase: BACKGROUND,
        roles.Button: SURFACE, roles.WindowText: TEXT, roles.Text: TEXT, roles.ButtonText: TEXT,
        roles.BrightText: ACCENT, roles.Highlight: LINE, roles.HighlightedText: TEXT,
        roles.ToolTipBase: SURFACE, roles.ToolTipText: TEXT, roles.PlaceholderText: QUIET,
        roles.Link: ACCENT, roles.Accent: ACCENT,
    }.items():  # fmt: skip
        palette.setColor(role, colour)
    for role in (roles.WindowText, roles.Text, roles.ButtonText):
        palette.setColor(QPalette.ColorGroup.Disabled, role, FAINT)
    app.setPalette(palette)
    app.setStyleSheet(STYLE)


def text_font(base: QFont, *, pixels: int = PIXELS) -> QFont:
    """The system's font at the size of the window, tabular digits switched on (OpenType `tnum`)."""
    font = QFont(base)
    font.setPixelSize(pixels)
    font.setFeature(QFont.Tag.fromString("tnum"), 1)
    return font


def widest(metrics: QFontMetrics, *samples: str) -> int:
    """Pixels that the widest of the samples takes: room for figures that must not push their neighbours."""
    return max(metrics.horizontalAdvance(s) for s in samples)
