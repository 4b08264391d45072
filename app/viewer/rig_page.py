"""The rig page, in the place of the picture: cameras, both live, settings, wire, focus, overlap, rig file."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import (
    QCheckBox,
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QScrollArea,
    QSlider,
    QStackedWidget,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from app.viewer import theme
from app.viewer.camera_list import CameraList
from app.viewer.control_panel import ControlPanel
from app.viewer.elided import Elided
from app.viewer.live_pane import EVENTS_TABLE, LivePane
from app.viewer.rig_meters import FocusBar, HistogramView, RateBar
from app.viewer.tabbed import tabbed

LEFT_WIDTH = 300
STYLE = f"""
QLineEdit#address, QComboBox {{
    background: {theme.SURFACE.name()}; border: none; border-radius: 4px; padding: 3px 8px;
}}
QComboBox::drop-down {{ border: none; width: 16px; }}
QScrollBar:vertical {{ background: transparent; width: 8px; margin: 0; }}
QScrollBar::handle:vertical {{ background: {theme.LINE.name()}; border-radius: 4px; min-height: 24px; }}
QScrollBar::add-line, QScrollBar::sub-line {{ height: 0; }}
QScrollBar::add-page, QScrollBar::sub-page {{ background: transparent; }}
"""
ADDRESS = "genicam:ADDRESS, aedat4-tcp:HOST:PORT, webcam:0"
MIRROR_TIP = "The beam splitter's mirror flips one view"
SAVE_TIP = "Writes cameras and settings into a rig file"
USE_TIP = "Shows blurred and sharp of these cameras"
START_TIP = "Opens the cameras, or gives them back"


class RigPage(QWidget):
    """Shows what it is told; knows nothing of cameras and processes.

    Signals:
        chosen: role and camera, "" for none.
        typed: an address.
        look_wanted, start_wanted, stop_wanted: the cameras.
        open_wanted, save_wanted, use_wanted, calibrate_wanted, closed: the rig.
        overlap_switched, mirror_switched, peaks_wanted, polarity_wanted: helpers.
        events_wished, frames_wished: a setting's name and value.
    """

    chosen = Signal(object, str)
    typed = Signal(str)
    look_wanted = Signal()
    start_wanted = Signal()
    stop_wanted = Signal()
    open_wanted = Signal()
    save_wanted = Signal()
    use_wanted = Signal()
    calibrate_wanted = Signal()
    closed = Signal()
    overlap_switched = Signal(bool)
    mirror_switched = Signal(bool)
    peaks_wanted = Signal()
    polarity_wanted = Signal()
    events_wished = Signal(str, object)
    frames_wished = Signal(str, object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setStyleSheet(STYLE)
        self.title = QLabel("Rig")
        self.title.setFont(theme.text_font(self.font(), pixels=20))
        self.source = Elided()
        self.source.setStyleSheet(f"color: {theme.QUIET.name()};")
        self.cameras = CameraList()
        self.cameras.setMinimumHeight(120)
        self.cameras.chosen.connect(self.chosen)
        self.found, self.missing = quiet(), Elided()
        self.missing.setStyleSheet(f"color: {theme.QUIET.name()};")
        self.look = tool("Look again", "Search for cameras again", self.look_wanted)
        self.address = QLineEdit()
        self.address.setObjectName("address")
        self.address.setPlaceholderText("or an address…")
        self.address.setToolTip(f"Enter takes it: {ADDRESS}")
        self.address.returnPressed.connect(lambda: self.typed.emit(self.address.text()))
        self.address_error = quiet(wrap=True)
        self.link, self.advice = quiet(wrap=True), quiet(wrap=True)
        self.trigger, self.verdict = quiet(wrap=True), quiet(wrap=True)
        self.polarity = button(
            "Take the other polarity",
            self.polarity_wanted,
            "The wire pulls the other way: exposures start with it",
        )
        self.polarity.hide()
        self.warning = quiet(wrap=True)
        self.start = button("Start", self._start_or_stop, START_TIP)
        self.use = button("Use this rig", self.use_wanted, USE_TIP)
        self.calibrate = button("Calibrate…", self.calibrate_wanted, "Geometry and clock, step by step (G)")
        self.open = button("Open…", self.open_wanted, "Reads a rig file")
        self.save = button("Save…", self.save_wanted, SAVE_TIP)
        self.close_button = button("Close", self.closed, "Back to the picture (C)")
        self.events, self.frames = LivePane("Events", EVENTS_TABLE), LivePane("Image")
        self.overlap = LivePane("Overlap")
        self.beside_word = tool("Side by side", "Both pictures, one beside the other")
        self.overlap_word = tool(
            "Overlap", "Events laid on the image by the rig's map: turn the mirror until edges fall together"
        )
        self.blend = QSlider(Qt.Orientation.Horizontal)
        self.mirror = QCheckBox("mirrored")
        self.mirror.setToolTip(MIRROR_TIP)
        self.map = Elided()
        self.peaks = tool("Focus anew", "Forget the best sharpness so far", self.peaks_wanted)
        self.rate, self.histogram = RateBar(), HistogramView()
        self.events_focus, self.frames_focus = FocusBar(), FocusBar()
        self.events_panel, self.frames_panel = ControlPanel(), ControlPanel()
        self.events_panel.wished.connect(self.events_wished)
        self.frames_panel.wished.connect(self.frames_wished)
        self._running, self._map = False, ""
        self._arrange()
        self.set_overlap(False)

    # layout -------------------------------------------------------------------------------------------------

    def _arrange(self) -> None:
        box = QHBoxLayout(self)
        box.setContentsMargins(20, 12, 20, 12)
        box.setSpacing(22)
        left = QWidget()
        left.setFixedWidth(LEFT_WIDTH)
        left.setLayout(self._left())
        box.addWidget(left)
        box.addLayout(self._right(), 1)

    def _left(self) -> QVBoxLayout:
        upper = QWidget()
        column = QVBoxLayout(upper)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(3)
        column.addWidget(self.title)
        column.addWidget(self.source)
        column.addSpacing(8)
        column.addWidget(self.cameras, 1)
        row = QHBoxLayout()
        row.addWidget(self.found, 1)
        row.addWidget(self.look)
        column.addLayout(row)
        column.addWidget(self.missing)
        column.addSpacing(4)
        column.addWidget(self.address)
        column.addWidget(self.address_error)
        column.addSpacing(8)
        for word, lines in (("Link", (self.link, self.advice)), ("Trigger wire", (self.trigger, self.verdict))):
            column.addWidget(QLabel(word))
            for line in lines:
                column.addWidget(line)
            column.addSpacing(8)
        column.addWidget(self.polarity)
        column.addWidget(self.warning)
        grid = QGridLayout()
        grid.setSpacing(6)
        for i, b in enumerate((self.start, self.calibrate, self.open, self.save, self.use, self.close_button)):
            grid.addWidget(b, i // 2, i % 2)
        left = QVBoxLayout()
        left.setContentsMargins(0, 0, 0, 0)
        left.addWidget(scrolled(upper), 1)  # in a low window; the buttons stay in sight
        left.addLayout(grid)
        return left

    def _right(self) -> QVBoxLayout:
        self.blend.setRange(0, 100)
        self.blend.setValue(50)
        self.blend.setFixedWidth(180)
        tabbed(self.blend, along=True)
        self.blend.setToolTip("Image alone … events alone")
        self.blend.valueChanged.connect(lambda v: self.overlap.set_opacity(v / 100))
        tabbed(self.mirror)
        self.mirror.clicked.connect(lambda on: self.mirror_switched.emit(bool(on)))
        self.map.setStyleSheet(f"color: {theme.QUIET.name()};")
        head = QHBoxLayout()
        head.setSpacing(4)
        for w, on in ((self.beside_word, False), (self.overlap_word, True)):
            w.setCheckable(True)
            w.clicked.connect(lambda _on, o=on: self.overlap_switched.emit(o))
            head.addWidget(w)
        head.addSpacing(12)
        self._image_end, self._events_end = quiet(), quiet()
        self._image_end.setText("image")
        self._events_end.setText("events")
        for item in (self._image_end, self.blend, self._events_end):
            head.addWidget(item)
        head.addSpacing(12)
        head.addWidget(self.mirror)
        head.addWidget(self.map, 1)
        head.addWidget(self.peaks)
        beside = QWidget()
        row = QHBoxLayout(beside)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(16)
        row.addWidget(self.events, 1)
        row.addWidget(self.frames, 1)
        self.views = QStackedWidget()
        self.views.addWidget(beside)
        self.views.addWidget(self.overlap)
        meters = QGridLayout()
        meters.setHorizontalSpacing(16)
        meters.setVerticalSpacing(4)
        for i, meter in enumerate((self.rate, self.histogram, self.events_focus, self.frames_focus)):
            meters.addWidget(meter, i // 2, i % 2)
        for side in (0, 1):
            meters.setColumnStretch(side, 1)
        panels = QHBoxLayout()
        panels.setSpacing(16)
        self._areas = [scrolled(panel) for panel in (self.events_panel, self.frames_panel)]
        for area in self._areas:
            panels.addWidget(area, 1)
        column = QVBoxLayout()
        column.setSpacing(8)
        column.addLayout(head)
        column.addWidget(self.views, 5)
        column.addLayout(meters)
        column.addLayout(panels)
        return column

    # what it is told ----------------------------------------------------------------------------------------

    def set_running(self, running: bool, *, can_start: bool = True) -> None:
        """The cameras run, or could."""
        self._running = running
        self.start.setText("Stop" if running else "Start")
        self.start.setEnabled(running or can_start)
        self.start.setToolTip(START_TIP if running or can_start else "Choose a camera first")

    def set_overlap(self, on: bool) -> None:
        """Both pictures in one, or one beside the other."""
        self.views.setCurrentIndex(1 if on else 0)
        self.beside_word.setChecked(not on)
        self.overlap_word.setChecked(on)
        for w in (self.blend, self.mirror, self._image_end, self._events_end):
            w.setVisible(on)
        self.map.set_whole(self._map if on else "")

    @property
    def overlapping(self) -> bool:
        """Both pictures are shown in one."""
        return self.views.currentIndex() == 1

    def set_map(self, words: str, *, mirrored: bool, free: bool) -> None:
        """What the map is; whether the mirror can be chosen."""
        self._map = words
        self.map.set_whole(words if self.overlapping else "")
        self.mirror.setChecked(mirrored)
        self.mirror.setEnabled(free)
        self.mirror.setToolTip(MIRROR_TIP if free else "As measured; calibrate to change it")

    def set_rig(self, why_not: str) -> None:
        """Whether there is a rig to save and to use, and why not."""
        for b, tip in ((self.save, SAVE_TIP), (self.use, USE_TIP)):
            b.setEnabled(not why_not)
            b.setToolTip(why_not or tip)

    def fit_panels(self) -> None:
        """The settings take what they need, a third of the page at most; the pictures have the rest."""
        wanted = max(p.sizeHint().height() for p in (self.events_panel, self.frames_panel))
        for area in self._areas:
            area.setFixedHeight(max(60, min(wanted + 2, self.height() // 3)))

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Share the height anew."""
        super().resizeEvent(event)
        self.fit_panels()

    def clear_views(self) -> None:
        """Nothing is seen any more."""
        for pane in (self.events, self.frames, self.overlap):
            pane.show_picture(None)
        self.blank()

    def blank(self) -> None:
        """Nothing is measured any more."""
        self.rate.set_hz(0.0)
        self.rate.peak_hz = 0.0
        self.histogram.set_counts(self.histogram.counts[:0], white=False, black=False)
        self.histogram.say("")
        self.events_focus.set_focus(None, None)
        self.frames_focus.set_focus(None, None)

    def _start_or_stop(self) -> None:
        (self.stop_wanted if self._running else self.start_wanted).emit()


def paint(label: QLabel, text: str, colour: Any = theme.QUIET) -> None:
    """Text and colour of a line; an empty one takes no room."""
    if label.text() != text:
        label.setText(text)
    style = f"color: {colour.name()};"
    if label.styleSheet() != style:
        label.setStyleSheet(style)
    label.setVisible(bool(text))


def quiet(*, wrap: bool = False) -> QLabel:
    """A line in the colour of what is not wrong."""
    label = QLabel()
    label.setTextFormat(Qt.TextFormat.PlainText)
    label.setWordWrap(wrap)
    label.setStyleSheet(f"color: {theme.QUIET.name()};")
    return label


def button(text: str, wanted: Any, tip: str) -> QPushButton:
    """A button; a click on it leaves the keys where they are."""
    b = tabbed(QPushButton(text))
    b.setToolTip(tip)
    b.clicked.connect(wanted)
    return b


def tool(text: str, tip: str, wanted: Any = None) -> QToolButton:
    """A word that can be pressed."""
    b = tabbed(QToolButton())
    b.setText(text)
    b.setToolTip(tip)
    if wanted is not None:
        b.clicked.connect(wanted)
    return b


def scrolled(inside: QWidget) -> QScrollArea:
    """Scrolls up and down only."""
    area = QScrollArea()
    area.setFrameShape(QFrame.Shape.NoFrame)
    area.setWidgetResizable(True)
    area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    area.setWidget(inside)
    return area
