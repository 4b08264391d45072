"""Cameras to choose from: what opens each, what it is, and a switch for each stream that it gives."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QFrame, QHBoxLayout, QScrollArea, QToolButton, QVBoxLayout, QWidget

from app.rig_discovery import Choice
from app.viewer import theme
from app.viewer.elided import Elided
from app.viewer.tabbed import tabbed
from capture.camera import CameraRole


class CameraRow(QWidget):
    """One camera.

    Signals:
        switched: role, on.
    """

    switched = Signal(object, bool)

    def __init__(self, choice: Choice, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.choice = choice
        name = Elided(choice.name or "cannot be opened")
        facts = Elided(choice.facts)
        facts.setStyleSheet(f"color: {theme.QUIET.name()};")
        self.buttons: dict[CameraRole, QToolButton] = {}
        row = QHBoxLayout()
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(0)
        row.addWidget(name, 1)
        for role, word, gives in (
            (CameraRole.EVENTS, "events", choice.events), (CameraRole.FRAMES, "image", choice.frames),
        ):  # fmt: skip
            b = QToolButton()
            b.setText(word)
            b.setCheckable(True)
            tabbed(b)
            b.setEnabled(bool(choice.name) and gives)
            camera = "event camera" if role is CameraRole.EVENTS else "image camera"
            b.setToolTip(f"Take it as the {camera}" if b.isEnabled() else f"It is no {camera}")
            b.clicked.connect(lambda on, r=role: self.switched.emit(r, on))
            self.buttons[role] = b
            row.addWidget(b)
        if not choice.name:
            name.setStyleSheet(f"color: {theme.QUIET.name()};")
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 3, 0, 3)
        box.setSpacing(0)
        box.addLayout(row)
        box.addWidget(facts)


class CameraList(QScrollArea):
    """The list.

    Signals:
        chosen: role and name of the camera, "" when none is wanted any more.
    """

    chosen = Signal(object, str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.rows: list[CameraRow] = []
        self._choices: tuple[Choice, ...] = ()
        self._picked: dict[CameraRole, str] = {}
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setWidgetResizable(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._inside = QWidget()
        self._box = QVBoxLayout(self._inside)
        self._box.setContentsMargins(0, 0, 6, 0)
        self._box.setSpacing(0)
        self._box.addStretch(1)
        self.setWidget(self._inside)

    def set_choices(self, choices: Sequence[Choice]) -> None:
        """Other cameras; those picked stay picked."""
        if tuple(choices) == self._choices:
            return
        self._choices = tuple(choices)
        for old in self.rows:
            self._box.removeWidget(old)
            old.hide()
            old.deleteLater()
        self.rows = []
        for i, choice in enumerate(choices):
            row = CameraRow(choice)
            row.switched.connect(lambda role, on, n=choice.name: self.chosen.emit(role, n if on else ""))
            self.rows.append(row)
            self._box.insertWidget(i, row)
        self.set_picked(self._picked)

    def set_picked(self, picked: dict[CameraRole, str]) -> None:
        """Which camera is in which place."""
        self._picked = dict(picked)
        for row in self.rows:
            for role, b in row.buttons.items():
                b.setChecked(bool(row.choice.name) and picked.get(role) == row.choice.name)
