"""Play, step, seek, speed and loop: for recordings only."""

from __future__ import annotations

import math

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QAction, QActionGroup
from PySide6.QtWidgets import QHBoxLayout, QLabel, QMenu, QToolButton, QWidget

from app.session import Timeline
from app.viewer import icons, theme
from app.viewer.seek_bar import SeekBar
from app.viewer.words import clock

SPEEDS = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)


class TransportBar(QWidget):
    """Shows where a recording stands and says what the user wants.

    Signals:
        play_clicked: play or pause.
        stepped: frames, ±1.
        sought: a time of the source, µs.
        speed_chosen: a factor.
        loop_switched: on or off.
    """

    play_clicked = Signal()
    stepped = Signal(int)
    sought = Signal(object)  # an int: one of Qt has 32 bits, too few for µs since 1970
    speed_chosen = Signal(float)
    loop_switched = Signal(bool)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.play = _icon_button("pause", "Pause (Space)")
        self.back = _icon_button("back", "One frame back (,)")
        self.forward = _icon_button("forward", "One frame on (.)")
        self.time = QLabel("00:00.0")
        self.seek = SeekBar()
        self.seek.setToolTip("Event rate over the recording; the bright marks below are the exposures")
        self.speed = QToolButton()
        self.speed.setToolTip("Speed ([ slower, ] faster)")
        self.speed.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.speed.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.loop = _icon_button("loop", "Start again at the end (L)")
        self.loop.setCheckable(True)
        self._menu = QMenu(self)
        self._group = QActionGroup(self)
        for factor in SPEEDS:
            action = QAction(speed_text(factor), self, checkable=True)
            action.setData(factor)
            self._group.addAction(action)
            self._menu.addAction(action)
        self.speed.setMenu(self._menu)
        self.speed.setMinimumWidth(theme.widest(self.fontMetrics(), "×0.25") + 20)
        row = QHBoxLayout(self)
        row.setContentsMargins(8, 0, 8, 2)
        row.setSpacing(2)
        for w in (self.play, self.back, self.forward):
            row.addWidget(w)
        row.addSpacing(8)
        row.addWidget(self.time)
        row.addSpacing(6)
        row.addWidget(self.seek, 1)
        row.addSpacing(6)
        row.addWidget(self.speed)
        row.addWidget(self.loop)
        self.play.clicked.connect(self.play_clicked)
        self.back.clicked.connect(lambda: self.stepped.emit(-1))
        self.forward.clicked.connect(lambda: self.stepped.emit(1))
        self.seek.sought.connect(self._seeking)
        self._group.triggered.connect(lambda a: self.speed_chosen.emit(float(a.data())))
        self.loop.clicked.connect(self.loop_switched)
        self.set_timeline(None)
        self.set_speed(1.0)

    def set_timeline(self, timeline: Timeline | None) -> None:
        """The recording's span and what is in it; None while it is being read."""
        self.seek.set_timeline(timeline)
        self._length = 0 if timeline is None else timeline.end_us - timeline.start_us
        self.time.setMinimumWidth(theme.widest(self.fontMetrics(), f"{clock(0)} / {clock(self._length)}"))
        self._write_time(0)

    def set_position(self, time_us: int) -> None:
        """Where the picture on screen lies."""
        if not self.seek.dragging:
            self.seek.set_position(time_us)
            self._write_time(time_us - self._start())

    def set_playing(self, playing: bool) -> None:
        """What the first button offers."""
        self.play.setIcon(icons.icon("pause" if playing else "play"))
        self.play.setToolTip("Pause (Space)" if playing else "Play (Space)")

    def set_speed(self, factor: float) -> None:
        """Show this speed."""
        self.speed.setText(speed_text(factor))
        for action in self._group.actions():
            action.setChecked(action.data() == factor)

    def set_loop(self, on: bool) -> None:
        """Show whether it starts again at the end."""
        self.loop.setChecked(on)

    def _start(self) -> int:
        t = self.seek.timeline
        return 0 if t is None else t.start_us

    def _seeking(self, time_us: int) -> None:
        self._write_time(time_us - self._start())
        self.sought.emit(time_us)

    def _write_time(self, position_us: int) -> None:
        total = f" / {clock(self._length)}" if self._length else ""
        self.time.setText(f"{clock(position_us)}{total}")


def speed_text(factor: float) -> str:
    """×0.5; "as fast as possible" is infinite."""
    return "×max" if math.isinf(factor) else f"×{factor:g}"


def next_speed(factor: float, steps: int) -> float:
    """The neighbouring speed of the menu."""
    if steps > 0:
        return next((s for s in SPEEDS if s > factor), SPEEDS[-1])
    return next((s for s in reversed(SPEEDS) if s < factor), SPEEDS[0])


def _icon_button(name: str, tip: str) -> QToolButton:
    b = QToolButton()
    b.setIcon(icons.icon(name))
    b.setToolTip(tip)
    b.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    return b
