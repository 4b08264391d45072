"""How large the window is at the first start: as planned, or as much of the screen as there is."""

from __future__ import annotations

from PySide6.QtCore import QSize
from PySide6.QtGui import QGuiApplication

PLANNED = QSize(1280, 800)
_FRAME_PX = 8, 40
"""What the system draws around a window: its edges, its title."""


def first_size() -> QSize:
    """Logical pixels. A screen of 1920 × 1080 at twice the size has 960 × 540 of them."""
    screen = QGuiApplication.primaryScreen()
    if screen is None or QGuiApplication.platformName() in ("offscreen", "minimal"):
        return PLANNED  # nobody looks: pictures of the window are to have the planned size
    return within(screen.availableSize())


def within(room: QSize) -> QSize:
    """The planned size, cut to what of a screen is left inside the window's frame."""
    return PLANNED.boundedTo(QSize(room.width() - _FRAME_PX[0], room.height() - _FRAME_PX[1]))
