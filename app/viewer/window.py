"""The window: puts the widgets together and does what the user wishes; a presenter fills them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from PySide6.QtCore import Qt, QTimer
from PySide6.QtGui import QCloseEvent, QDragEnterEvent, QDropEvent, QMoveEvent, QResizeEvent
from PySide6.QtWidgets import QAbstractSpinBox, QLineEdit, QMainWindow, QStackedWidget, QVBoxLayout, QWidget

from app.session import SessionFactory
from app.viewer import dialogs
from app.viewer.calibration_desk import CalibrationDesk
from app.viewer.calibration_run import CalibrationWish
from app.viewer.closing import Closing
from app.viewer.empty_state import EmptyState
from app.viewer.exposure_bar import ExposureBar
from app.viewer.first_size import first_size
from app.viewer.help_overlay import HelpOverlay
from app.viewer.marking import Marking
from app.viewer.modes import EventsMode, View
from app.viewer.network_chooser import NetworkChooser
from app.viewer.notice import Notice
from app.viewer.opening import Opening
from app.viewer.picture_view import PictureView
from app.viewer.player import Player
from app.viewer.presenter import TOAST_S, Presenter
from app.viewer.record_presenter import RecordPresenter
from app.viewer.recording_bar import RecordingBar
from app.viewer.remembered import Remembered
from app.viewer.rig_desk import RigDesk
from app.viewer.snapshot import SnapshotWriter, default_folder
from app.viewer.states import PASSED_THROUGH
from app.viewer.status_strip import StatusStrip
from app.viewer.top_bar import PRESETS, Actions, TopBar
from app.viewer.transport_bar import TransportBar
from app.viewer.way_out import WayOut
from app.viewer.wiring import connect
from app.viewer.words import sentence
from capture.rate import Rate

TICK_MS = 16
SETTLED_MS = 1000  # a window that was moved or resized so long ago stays like that


class ViewerWindow(QMainWindow):
    """One window on one session at a time."""

    def __init__(
        self,
        factory: SessionFactory,
        remembered: Remembered,
        *,
        presets: Sequence[tuple[str, str]] = PRESETS,
        speed: float = 1.0,
        loop: bool = False,
        clock: Callable[[], float] = time.monotonic,
        calibrated: CalibrationWish | None = None,
    ) -> None:
        """`speed` and `loop` are those that `factory` starts recordings with; `clock` as `time.monotonic`;
        `calibrated` is what is said of calibrations.
        """
        super().__init__()
        self.factory, self.remembered, self.clock = factory, remembered, clock
        self.player: Player | None = None
        self.problem = ""
        self.source = ""
        self.tick_rate = Rate()
        self._noted_network = ""
        self.opening = Opening(self, speed, loop)
        self.helpful: Callable[[], object] = self.show_sources  # what the empty state's button does
        self._snapshots = SnapshotWriter()
        self.closing = Closing()
        self._build(presets)
        self.presenter = Presenter(self)
        self.recorder = RecordPresenter(self)
        self.marking = Marking(self)
        self.calibration = CalibrationDesk(self, calibrated)
        self.rig = RigDesk(self)
        connect(self)
        self.setWindowTitle("Halfmirror")
        self.setAcceptDrops(True)
        self.resize(first_size())
        self.setMinimumSize(720, 480)
        if (geometry := remembered.geometry) is not None:
            self.restoreGeometry(geometry)
        self.set_view(remembered.view)
        self.set_events_mode(remembered.events_mode)
        self._settled = QTimer(self, singleShot=True, interval=SETTLED_MS)
        self._settled.timeout.connect(self._remember_place)
        self._timer = QTimer(self)
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self.tick)
        self._timer.start(TICK_MS)

    def _build(self, presets: Sequence[tuple[str, str]]) -> None:
        self.keys = Actions(self)
        self.top = TopBar(self.keys, lambda: self.remembered.recent, presets)
        self.picture = PictureView()
        self.way_out = WayOut(self.picture)
        self.empty = EmptyState()
        self.pages = QStackedWidget()
        self.pages.addWidget(self.picture)
        self.pages.addWidget(self.empty)
        self.notice = Notice(self.pages)
        self.record_bar = RecordingBar()
        self.exposure = ExposureBar()
        self.transport = TransportBar()
        self.transport.hide()
        self.strip = StatusStrip()
        self.chooser = NetworkChooser(self)
        self.middle = middle = QWidget()  # has the focus while nothing else has: no button is pressed unawares
        middle.setFocusPolicy(Qt.FocusPolicy.ClickFocus)
        column = QVBoxLayout(middle)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self.top)
        column.addWidget(self.pages, 1)
        for w in (self.record_bar, self.exposure, self.transport, self.strip):
            column.addWidget(w)
        self.setCentralWidget(middle)
        middle.setFocus()
        self.help = HelpOverlay(middle)

    def set_page(self, page: QWidget | None) -> None:
        """Something else in the place of the picture; None: the picture again."""
        self.middle.setFocus()
        self.pages.setCurrentWidget(self.picture if page is None else page)
        self.exposure.setVisible(page is None)
        self.transport.setVisible(page is None and self.player is not None and self.player.recording)
        self.presenter.look()

    @property
    def own_page(self) -> bool:
        """Something else stands in the place of the picture."""
        return self.calibration.open or self.rig.open

    # sources -------------------------------------------------------------------------------------------

    def open_source(self, source: str | Path, network: str = "") -> None:
        """Show another source; what goes wrong is said where the picture would be."""
        self.opening.open(source, network)

    def close_session(self) -> None:
        """Stop what runs, in the background; what has to wait for that goes to `closing.then`."""
        self.recorder.end_now()
        self.closing.forget()
        player, self.player = self.player, None
        self.recorder.take(None)
        self.presenter.forget_events()
        if player is not None:
            self.closing.begin(player.stop)
            self._look_at_closing()

    def _look_at_closing(self) -> None:
        self.closing.look()
        if line := self.closing.fault():
            self.say(line)

    def choose_recording(self) -> None:
        """Ask for a file."""
        path = dialogs.recording(self, self.remembered.folder)
        if path is not None:
            self.remembered.folder = path.parent
            self.open_source(path)

    # the user ------------------------------------------------------------------------------------------

    def wish(self, wish: Callable[[Player], object]) -> None:
        """Hand a wish to the player; what goes wrong is said in the picture."""
        if self.player is None:
            return
        try:
            wish(self.player)
        except Exception as error:
            self.say(sentence(error))
        self.presenter.show()

    def help_out(self) -> None:
        """The one action of the empty state."""
        self.middle.setFocus()
        self.helpful()

    def show_unrestored(self) -> None:
        """Frames that are refused as they are."""
        self.middle.setFocus()
        self.wish(lambda p: p.select(PASSED_THROUGH))
        self.say("Frames are shown as they are. N chooses a network that restores.", 8.0)

    def slow_motion(self, on: bool) -> None:
        """Loop through the exposure on screen, or stop; says why when it cannot."""

        def wish(p: Player) -> None:
            if on and not p.slow_motion(True):
                self.say(
                    f"{p.network} restores one instant only: no slow motion."
                    if not p.showing.any_latent
                    else "There is no sharp picture to play through."
                )
            elif not on:
                p.slow_motion(False)

        self.wish(wish)

    def escape(self) -> None:
        """Leave a field, take back a wish to record, let go what is held, leave full screen, close what stands
        where the picture was: the first that applies.
        """
        field = self.focusWidget()
        self.middle.setFocus()
        if self.recorder.cancel() or isinstance(field, QLineEdit | QAbstractSpinBox):
            return
        if self.player is not None and self.player.showing.held:
            self.wish(Player.let_go)
        elif self.isFullScreen():
            self.toggle_full_screen()
        elif self.rig.open:
            self.rig.toggle()
        elif self.calibration.open:
            if self.calibration.run.running:
                self.say("The calibration goes on; G stops it.")
            else:
                self.calibration.stop()

    def set_view(self, view: View) -> None:
        """Another view."""
        self.picture.set_view(view)
        self.remembered.view = view
        self._events_wish_changed()

    def set_events_mode(self, mode: EventsMode) -> None:
        """Where events are drawn."""
        self.picture.set_events_mode(mode)
        self.remembered.events_mode = mode
        self._events_wish_changed()
        p = self.player.picture if self.player else None
        if mode is not EventsMode.OFF and p is not None and p.events is None:
            self.say("No events came with this picture.")

    def _events_wish_changed(self) -> None:
        self.top.set_view(self.picture.view, self.picture.events_mode)
        self.presenter.forget_events()
        self.presenter.show()
        self.presenter.look()

    def toggle_full_screen(self) -> None:
        """Full screen and back."""
        self.setWindowState(self.windowState() ^ Qt.WindowState.WindowFullScreen)
        self.keys["full"].setChecked(self.isFullScreen())

    def show_networks(self) -> None:
        """Open the chooser below its word."""
        if self.player is None:
            return
        self.chooser.set_networks(self.player.session.networks(), self.player.wanted or self.player.network)
        button = self.top.network
        self.chooser.open_below(button.mapToGlobal(button.rect().bottomLeft()), self.height() - 80)

    def show_sources(self) -> None:
        """Open the menu of sources."""
        self.top.source.showMenu()

    def restart_worker(self, name: str) -> None:
        """Start a worker again."""
        self.wish(lambda p: p.ask("restart", worker=name))
        self.say(f"Starting {name} again…")

    def save_snapshot(self) -> None:
        """Write what is on screen to PNG files."""
        p = self.player.showing if self.player else None
        if p is None or p.picture is None:
            self.say("There is no picture to save yet.")
            return
        self._snapshots.save(p.picture, p.index, self.remembered.snapshots or default_folder())

    def choose_snapshot_folder(self) -> None:
        """Ask for the folder of snapshots."""
        folder = dialogs.folder(self, self.remembered.snapshots or default_folder())
        if folder is not None:
            self.remembered.snapshots = folder
            self.say(f"Snapshots go to {folder}")

    def ask_to_forget(self) -> None:
        """Forget, if the user means it."""
        if dialogs.forget(self):
            self.forget()

    def forget(self) -> None:
        """Everything as at the first start."""
        self.remembered.reset()
        self.picture.fit()
        self.picture.set_wipe(0.5)
        self.set_view(View.WIPE)
        self.set_events_mode(EventsMode.OFF)
        self.recorder.forget()
        self.showNormal()  # else its size is not its own
        self.keys["full"].setChecked(False)
        self.resize(first_size())
        if file := self.remembered.reset():
            self.say(
                f"Forgotten until the window closes; {file} cannot be written and may come back then.", 12.0
            )
        else:
            self.say("Window and choices are as at the first start.")

    def set_residual(self, on: bool) -> None:
        """Show the map of the re-blur residual over the sharp picture, or not."""
        self.keys["residual"].setChecked(on)
        self.wish(lambda p: p.showing.measure(on))

    def say(self, text: str, seconds: float = TOAST_S) -> None:
        """One line at the foot of the picture, for a while."""
        self.presenter.say(text, seconds)

    def tick(self) -> None:
        """60 times a second."""
        self.tick_rate.tick()
        self._look_at_closing()
        self.opening.look()
        self._snapshots.take(self._saved, lambda e: self.say(sentence(e), 10.0))
        self.presenter.tick()
        self.recorder.tick()
        self.rig.tick()

    def _saved(self, paths: list[Path]) -> None:
        what = "Saved blurred, sharp and side by side" if len(paths) > 1 else "Saved the blurred frame"
        self.say(f"{what} in {paths[-1].parent}", 8.0)

    # Qt ------------------------------------------------------------------------------------------------

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        """A recording or a rig file may be dropped on the window; of what else, the drop says why not."""
        if event.mimeData().hasUrls() and (action := dialogs.harmless(event)) is not None:
            event.setDropAction(action)
            event.accept()

    def dropEvent(self, event: QDropEvent) -> None:
        """Open it."""
        action = dialogs.harmless(event)
        if action is None:
            return
        event.setDropAction(action)
        event.accept()
        path, why_not = dialogs.dropped(event.mimeData().urls())
        if path is not None:
            self.open_source(path)
        else:
            self.say(why_not)

    def moveEvent(self, event: QMoveEvent) -> None:
        """Remember the place, once it is one."""
        super().moveEvent(event)
        self._settled.start()

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Remember the size, once it is one."""
        super().resizeEvent(event)
        self._settled.start()

    def _remember_place(self) -> None:
        # Not only at the end: a program that is killed has none.
        self.remembered.geometry = self.saveGeometry()

    def remember_network(self) -> None:
        """Once for each that gave a picture: after a reset it is not chosen again by running on."""
        if self.player is None or self.player.session.elsewhere:
            return  # what restores elsewhere need not be there for this program
        ran = self.player.ran
        if ran and ran != self._noted_network:
            self._noted_network = self.remembered.network = ran

    def closeEvent(self, event: QCloseEvent) -> None:
        """Remember, stop everything."""
        self._settled.stop()
        self._remember_place()
        self.remember_network()
        self.remembered.save()
        self._timer.stop()
        self.hide()
        self.opening.forget()
        self.calibration.shut()
        self.rig.shut()
        self.close_session()
        self.closing.wait()
        self.presenter.stop()
        self._snapshots.stop()
        super().closeEvent(event)
