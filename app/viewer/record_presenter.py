"""Brings the steps of a recording onto the window: button, row, countdown, red frame."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QStandardPaths, QUrl
from PySide6.QtGui import QDesktopServices

from app.session import Session
from app.viewer import dialogs
from app.viewer.recording_desk import RecordingDesk, Step
from app.viewer.recording_words import next_name

if TYPE_CHECKING:
    from app.viewer.window import ViewerWindow

LAST_WORD_S = 20.0
"""A window that is closed waits so long for what the disk still has to take."""


def default_folder() -> Path:
    """`halfmirror` in the user's folder of films."""
    films = QStandardPaths.writableLocation(QStandardPaths.StandardLocation.MoviesLocation)
    return Path(films or Path.home()) / "halfmirror"


class RecordPresenter:
    """For one window.

    Attributes:
        desk: the steps.
    """

    def __init__(self, window: ViewerWindow) -> None:
        self._w = window
        self.desk = RecordingDesk(window.clock)
        self.desk.preroll_s = window.remembered.preroll_s
        self.desk.countdown_s = window.remembered.countdown_s
        bar = window.record_bar
        bar.named.connect(self._named)
        bar.timed.connect(self._timed)
        bar.started.connect(self._start)
        bar.cancelled.connect(self.cancel)
        bar.folder_wanted.connect(self._choose_folder)
        bar.opened.connect(self._open_folder)
        bar.replayed.connect(self._replay)

    @property
    def folder(self) -> Path:
        """Recordings are made in it."""
        return self._w.remembered.recordings or default_folder()

    # wishes ------------------------------------------------------------------------------------------------

    def toggle(self) -> None:
        """Key and button."""
        d, w = self.desk, self._w
        if why := d.why_not():
            w.say(f"{why}.")
            return
        asked = d.step is Step.ASKING
        d.toggle(self.folder, next_name(self.folder, w.remembered.recording_name), self._network)
        if d.step is Step.ASKING and not asked:
            w.record_bar.ask(d.name, d.folder, d.preroll_s, d.countdown_s)
        self._begun()

    @property
    def _network(self) -> str:
        return "" if self._w.player is None else self._w.player.network

    def _start(self) -> None:
        self.desk.start()
        self._begun()

    def _begun(self) -> None:
        if self.desk.busy:
            self._w.remembered.recording_name = self.desk.name
        self.show()

    def _named(self, name: str) -> None:
        self.desk.choose(name=name)
        self.show()

    def _timed(self, before_s: float, countdown_s: float) -> None:
        self._w.remembered.preroll_s, self._w.remembered.countdown_s = before_s, countdown_s
        self.desk.choose(preroll_s=before_s, countdown_s=countdown_s)
        self.show()

    def cancel(self) -> bool:
        """Take a wish back or close the report; False when there was nothing to take back."""
        if self.desk.step in (Step.IDLE, Step.RUNNING):
            return False
        self.desk.cancel()
        self.show()
        return True

    def forget(self) -> None:
        """Seconds before recordings and countdown as at the first start; what is being recorded goes on."""
        self.cancel()
        if not self.desk.busy:
            self.desk.choose(preroll_s=0.0, countdown_s=0.0)
            self.show()

    def _choose_folder(self) -> None:
        folder = dialogs.folder(self._w, self.folder, "recordings")
        if folder is not None:
            self._w.remembered.recordings = folder
            self._w.record_bar.set_place(folder)
            self.desk.choose(folder=folder)
            self.show()

    def _open_folder(self) -> None:
        if self.desk.made is not None:
            # Said in any case: where no program shows folders nobody else says so.
            self._w.say(f"The recording is {self.desk.made}", 12.0)
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(self.desk.made)))

    def _replay(self) -> None:
        if self.desk.made is not None:
            self._w.open_source(self.desk.made.absolute())

    # the session -------------------------------------------------------------------------------------------

    def take(self, session: Session | None) -> None:
        """Another session, or none."""
        self.desk.take(session)
        self.show()

    def end_now(self) -> None:
        """The session is about to be stopped: what is being recorded is ended properly, if time allows."""
        d, player = self.desk, self._w.player
        if not d.busy or player is None:
            return
        d.cancel()
        d.finish()
        deadline = time.monotonic() + LAST_WORD_S
        while d.step is Step.RUNNING and time.monotonic() < deadline:
            player.session.status()  # hears the recorder
            d.tick()
            time.sleep(0.02)

    # ticks -------------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """60 times a second."""
        if self.desk.tick():
            self.show()
        self._w.picture.set_countdown(self.desk.countdown)

    def show(self) -> None:
        """Button, row and frame as the desk has them; a few times a second for the figures."""
        d, bar, w = self.desk, self._w.record_bar, self._w
        w.top.set_recording(d.why_not(), running=d.busy, note=d.kept)
        w.picture.set_recording(d.recording)
        if d.step is Step.IDLE:
            bar.put_away()
        elif d.step is Step.ASKING:
            self._show_form()
        elif d.step is Step.COUNTING:
            bar.run([f"recording {d.name} begins… R takes it back"], "", writing=False)
        elif d.step is Step.RUNNING:
            figures, lost = d.figures()
            bar.run(figures, lost, writing=d.recording)
        else:
            bar.conclude(d.report, troubled=d.troubled, there=d.there)

    def _show_form(self) -> None:
        d = self.desk
        note, wrong = d.kept, False
        if d.problem:
            note, wrong = d.problem, True
        elif d.slow:
            note, wrong = d.slow, True
        elif d.trying:
            note = "trying the disk…"
        start = "Record all the same" if d.slow else "Record"
        if self._w.record_bar.currentIndex() != 0 or not self._w.record_bar.isVisibleTo(self._w):
            self._w.record_bar.ask(d.name, d.folder, d.preroll_s, d.countdown_s)
        self._w.record_bar.note_down(note, wrong=wrong, start=start, can=not d.problem and not d.trying)
