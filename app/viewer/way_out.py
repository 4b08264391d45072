"""Frames that the network refuses, one after another: a button that shows them as they are."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QObject
from PySide6.QtWidgets import QPushButton, QWidget

from app.viewer.player import Player
from app.viewer.states import PASSED_THROUGH
from app.viewer.tabbed import tabbed

TEXT = "Show without restoring"
PATIENCE_S = 2.0  # a frame or two without their edges need no way out
FOOT = 64  # above the foot of the picture, where lines for the user stand


class WayOut(QPushButton):
    """Lies over the lower part of the picture while nothing is restored; `clicked` as of any button."""

    def __init__(self, over: QWidget) -> None:
        super().__init__(TEXT, over)
        tabbed(self)
        self.setToolTip("The camera's frames as they are, by the network none; N chooses one that restores")
        self._over = over
        self._since: float | None = None  # when the first frame of those in a row was refused
        self.hide()
        over.installEventFilter(self)

    def look(self, player: Player | None, now: float) -> None:
        """Often: whether it is of use."""
        p = None if player is None else player.picture
        refused = p is not None and bool(p.refusal) and p.sharp is None
        self._since = (now if self._since is None else self._since) if refused else None
        wanted = "" if player is None else player.wanted or player.network
        useful = self._since is not None and now - self._since >= PATIENCE_S and wanted != PASSED_THROUGH
        if useful and not self.isVisible():
            choice = None if player is None else player.choice(PASSED_THROUGH)
            useful = choice is not None and choice.usable
        if useful:
            self._place()
        self.setVisible(useful)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Stay in its place."""
        if event.type() == QEvent.Type.Resize and self.isVisible():
            self._place()
        return super().eventFilter(watched, event)

    def _place(self) -> None:
        self.adjustSize()
        self.move((self._over.width() - self.width()) // 2, self._over.height() - self.height() - FOOT)
