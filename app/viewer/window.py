"""The window: puts the widgets together and moves figures between them and a player."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from PySide6.QtCore import QMimeData, Qt, QTimer
from PySide6.QtGui import QCloseEvent, QDragEnterEvent, QDropEvent
from PySide6.QtWidgets import QMainWindow, QStackedWidget, QVBoxLayout, QWidget

from app.session import Picture, SessionFactory, SessionStatus
from app.viewer import dialogs, states
from app.viewer.empty_state import EmptyState
from app.viewer.event_art import EventArtist, commission
from app.viewer.exposure_bar import ExposureBar
from app.viewer.help_overlay import HelpOverlay
from app.viewer.modes import EventsMode, View
from app.viewer.network_chooser import NetworkChooser
from app.viewer.picture_view import PictureView
from app.viewer.player import Player
from app.viewer.rate import Rate
from app.viewer.remembered import Remembered
from app.viewer.showing import Mode
from app.viewer.snapshot import SnapshotWriter, default_folder
from app.viewer.status_strip import StatusStrip
from app.viewer.top_bar import PRESETS, Actions, TopBar
from app.viewer.transport_bar import TransportBar
from app.viewer.wiring import connect
from app.viewer.words import sentence

TICK_MS = 16
FIGURES_EVERY = 12  # ticks between two readings of the figures: five times a second, so that they can be read
TOAST_S = 5.0
NO_EVENTS_S = 2.0  # so long without one event, and the events view says so


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
    ) -> None:
        """`speed` and `loop` are those that `factory` starts recordings with; `clock` as `time.monotonic`."""
        super().__init__()
        self.factory, self.remembered, self.clock = factory, remembered, clock
        self.player: Player | None = None
        self.problem = ""
        self.source = ""
        self.tick_rate = Rate()
        self._speed, self._loop = speed, loop
        self._ticks = 0
        self._toast, self._toast_until = "", 0.0
        self._events_at = clock()
        self._oldest_ms: float | None = None  # age on screen at its worst since the last reading
        self._status: SessionStatus | None = None
        self._helpful: Callable[[], object] = self.show_sources
        self._artist = EventArtist()
        self._snapshots = SnapshotWriter()
        self._build(presets)
        connect(self)
        self.setWindowTitle("Halfmirror")
        self.setAcceptDrops(True)
        self.resize(1280, 800)
        self.setMinimumSize(720, 480)
        if (geometry := remembered.geometry) is not None:
            self.restoreGeometry(geometry)
        self.set_view(remembered.view)
        self.set_events_mode(remembered.events_mode)
        self._timer = QTimer(self)
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self.tick)
        self._timer.start(TICK_MS)

    def _build(self, presets: Sequence[tuple[str, str]]) -> None:
        self.keys = Actions(self)
        self.top = TopBar(self.keys, lambda: self.remembered.recent, presets)
        self.picture = PictureView()
        self.empty = EmptyState()
        self.pages = QStackedWidget()
        self.pages.addWidget(self.picture)
        self.pages.addWidget(self.empty)
        self.exposure = ExposureBar()
        self.transport = TransportBar()
        self.transport.hide()
        self.strip = StatusStrip()
        self.chooser = NetworkChooser(self)
        middle = QWidget()
        column = QVBoxLayout(middle)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self.top)
        column.addWidget(self.pages, 1)
        for w in (self.exposure, self.transport, self.strip):
            column.addWidget(w)
        self.setCentralWidget(middle)
        self.help = HelpOverlay(middle)

    # sources -------------------------------------------------------------------------------------------

    def open_source(self, source: str | Path, network: str = "") -> None:
        """Show another source; what goes wrong is said where the picture would be."""
        wanted = network or (self.player.network if self.player else self.remembered.network) or "edi"
        self.close_session()
        name = str(source)
        self.source, self.problem, self._status, self._oldest_ms = name, "", None, None
        self.picture.clear()
        self.strip.clear()
        self.exposure.clear()
        self.transport.hide()
        self._toast = ""
        self.setWindowTitle(f"Halfmirror – {name}")
        speed, loop = self._speed, self._loop
        try:
            try:
                self.player = Player(self.factory(source, wanted), wanted, self.clock, speed=speed, loop=loop)
            except Exception as error:
                if network or wanted == "edi":
                    raise
                # A remembered network that cannot run any more must not keep the window shut.
                self.player = Player(self.factory(source, "edi"), "edi", self.clock, speed=speed, loop=loop)
                self.say(f"{wanted} cannot run: {sentence(error)} edi runs instead.", 15.0)
        except Exception as error:
            self.problem = sentence(error)
            self._look()
            return
        session = self.player.session
        p = self.player
        p.learn_network()
        if p.recording:
            name = str(Path(name).resolve()) if Path(name).exists() else name
            self.remembered.opened(name)
        self.remembered.source = name
        self.setWindowTitle(f"Halfmirror – {session.title or name}")
        self.top.set_source(name)
        self.top.set_network(p.network)
        self.keys.set_recording(p.recording)
        self.transport.setVisible(p.recording)
        self.transport.set_timeline(None)
        self._look()

    def close_session(self) -> None:
        """Stop what runs."""
        player, self.player = self.player, None
        self._artist.forget()
        if player is not None:
            try:
                player.stop()
            except Exception as error:
                self.say(sentence(error))

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
        self._show()

    def help_out(self) -> None:
        """The one action of the empty state."""
        self._helpful()

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
        """Let go what is held, else leave full screen."""
        if self.player is not None and self.player.showing.held:
            self.wish(Player.let_go)
        elif self.isFullScreen():
            self.toggle_full_screen()

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
        self._artist.forget()
        self._show()
        self._look()

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
        self.resize(1280, 800)
        self.remembered.reset()
        self.say("Window and choices are as at the first start.")

    def say(self, text: str, seconds: float = TOAST_S) -> None:
        """One line at the foot of the picture, for a while."""
        self._toast, self._toast_until = text, self.clock() + seconds
        self._write_banner()

    # ticks ---------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """60 times a second: the newest picture; a few times a second: the figures."""
        self.tick_rate.tick()
        self._ticks += 1
        if (done := self._artist.take()) is not None:
            self.picture.set_events_art(done[1])
        if self._artist.fault:
            self.say(self._artist.fault)
        self._snapshots.take(self._saved, lambda e: self.say(sentence(e), 10.0))
        player = self.player
        if player is not None:
            try:
                if player.advance():
                    self._show()
                age = player.showing.age_ms()
                if age is not None:
                    self._oldest_ms = max(age, self._oldest_ms or 0.0)
                self.picture.set_stale(0.0 if player.ended else player.showing.stale())
                if self._ticks % FIGURES_EVERY == 0:
                    self._look()
            except Exception as error:  # a session that fails must not take the window with it
                self.say(sentence(error))
        elif self._ticks % FIGURES_EVERY == 0:
            self._look()

    def _saved(self, paths: list[Path]) -> None:
        what = "Saved blurred, sharp and side by side" if len(paths) > 1 else "Saved the blurred frame"
        self.say(f"{what} in {paths[-1].parent}", 8.0)

    def _show(self) -> None:
        """Put the player's picture and mode on screen."""
        player = self.player
        if player is None:
            return
        s, p = player.showing, player.picture
        looping = s.mode is Mode.SLOW_MOTION
        self.keys["slow"].setChecked(looping)
        self.keys["loop"].setChecked(player.loop)
        state = states.word(player)
        self.exposure.set_mode(
            held=s.held, slow=looping, waiting=s.waiting, recording=player.recording, state=state
        )
        self.transport.set_playing(not (s.paused or player.ended))
        self.transport.set_speed(player.speed)
        self.transport.set_loop(player.loop)
        self.top.set_network(player.network, player.wanted)
        self.picture.set_pill(states.pill(player))
        if p is None:
            return
        self.pages.setCurrentWidget(self.empty if self.nothing_to_see(p) else self.picture)
        at = s.shown_latent
        sharp = None if p.sharp is None else p.sharp[s.index]
        self.picture.show_picture(p.blurred, sharp, refusal=p.refusal, label=states.label(player))
        start, end = p.exposure_start_us, p.exposure_end_us
        length = None if start is None or end is None else end - start
        self.exposure.set_fixed(None if s.any_latent else (at if at is not None else 0.5), player.network)
        self.exposure.set_exposure(length, at if looping and at is not None else s.latent)
        self.strip.set_picture(p)
        self.transport.set_position(p.time_us)
        self._draw_events(p, at if s.held else None)
        self._write_banner()

    def nothing_to_see(self, p: Picture) -> bool:
        """The events view without events: a still scene gives none for a while, so not at once."""
        now = self.clock()
        if p.events is not None or self.player is None:
            self._events_at = now
        return self.picture.view is View.EVENTS and now - self._events_at > NO_EVENTS_S

    def _draw_events(self, p: Picture, latent: float | None) -> None:
        if not self.picture.needs_events:
            return
        if p.events is None:
            self.picture.set_events_art(None)
            return
        self._artist.ask(commission(p, latent))

    def _look(self) -> None:
        """Figures, timeline, empty states."""
        player = self.player
        if player is not None:
            self._status = player.session.status()
            if line := player.look_after(self._status):
                self.say(line)
            self.strip.set_status(self._status, self.picture.paint_rate.hz())
            self.strip.set_age(self._oldest_ms, still=states.still(player))
            self._oldest_ms = player.showing.age_ms()
            if player.recording and self.transport.seek.timeline is None:
                timeline = player.session.timeline()
                if timeline is not None:
                    self.transport.set_timeline(timeline)
            if player.picture is not None:
                self._show()
        nothing = states.nothing(self, player, self._status)
        if nothing is not None:
            text, action, self._helpful = nothing
            self.empty.say(text, action)
        self.pages.setCurrentWidget(self.picture if nothing is None else self.empty)
        self._write_banner()

    def _write_banner(self) -> None:
        p = self.player.picture if self.player else None
        if self._toast and self.clock() < self._toast_until:
            self.picture.set_banner(self._toast)
        elif self._status is not None and self._status.message:
            self.picture.set_banner(self._status.message)
        else:
            self.picture.set_banner(" · ".join(p.flags) if p is not None else "")

    # Qt ------------------------------------------------------------------------------------------------

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        """A recording may be dropped on the window."""
        if _dropped(event.mimeData()) is not None:
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        """Open it."""
        path = _dropped(event.mimeData())
        if path is not None:
            self.open_source(path)

    def closeEvent(self, event: QCloseEvent) -> None:
        """Remember, stop everything."""
        self.remembered.geometry = self.saveGeometry()
        if self.player is not None:
            self.remembered.network = self.player.network
        self.remembered.save()
        self._timer.stop()
        self.hide()
        self.close_session()
        self._artist.stop()
        self._snapshots.stop()
        super().closeEvent(event)


def _dropped(data: QMimeData) -> Path | None:
    urls = [u for u in data.urls() if u.isLocalFile()]
    return Path(urls[0].toLocalFile()) if len(urls) == 1 else None
