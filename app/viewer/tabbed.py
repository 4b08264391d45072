"""What pointer and keys press alike: Tab leads to it, a click leaves the keys where they are."""

from __future__ import annotations

from typing import TypeVar

from PySide6.QtCore import QEvent, QObject, Qt
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QAbstractButton, QWidget

AnyWidget = TypeVar("AnyWidget", bound=QWidget)

ENTER = (Qt.Key.Key_Return, Qt.Key.Key_Enter)
PRESS = (Qt.Key.Key_Space, *ENTER)
_ALONG = (Qt.Key.Key_Left, Qt.Key.Key_Right)


class _Keys(QObject):
    """Takes the keys that press a widget before they become the window's shortcuts, where it has the focus."""

    def __init__(self, widget: QWidget, *, along: bool) -> None:
        super().__init__(widget)
        self._taken = (*PRESS, *_ALONG) if along else PRESS

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Space is left to Qt; Enter presses a button, too."""
        if not isinstance(event, QKeyEvent) or event.key() not in self._taken:
            return False
        if event.modifiers() & ~Qt.KeyboardModifier.KeypadModifier:
            return False
        if event.type() is QEvent.Type.ShortcutOverride:
            event.accept()
            return True
        if (
            event.type() is QEvent.Type.KeyPress
            and event.key() in ENTER
            and isinstance(watched, QAbstractButton)
        ):
            if not event.isAutoRepeat():
                watched.click()
            return True
        return False


def tabbed(widget: AnyWidget, *, along: bool = False) -> AnyWidget:
    """Let Tab reach a widget, and Space and Enter press it; `along`: ← and → are its own as well."""
    widget.setFocusPolicy(Qt.FocusPolicy.TabFocus)
    widget.installEventFilter(_Keys(widget, along=along))
    return widget
