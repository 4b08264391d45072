"""The guided calibration in the window: opens its page, gives the cameras to the command, takes them back."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QStandardPaths, QUrl
from PySide6.QtGui import QDesktopServices

from app.output.atomic import OutputError, require_place
from app.patience import ANSWERS_S, NoAnswerError, within
from app.viewer import dialogs
from app.viewer.calibration_page import CalibrationPage
from app.viewer.calibration_run import RECORDING, CalibrationRun, CalibrationWish
from app.viewer.words import sentence

if TYPE_CHECKING:
    from app.viewer.target_window import TargetWindow
    from app.viewer.window import ViewerWindow


def default_output() -> Path:
    """A rig file of this minute in `halfmirror` in the user's documents."""
    documents = QStandardPaths.writableLocation(QStandardPaths.StandardLocation.DocumentsLocation)
    return Path(documents or Path.home()) / "halfmirror" / time.strftime("rig-%Y%m%d-%H%M%S.toml")


class CalibrationDesk:
    """For one window.

    Args:
        window: whose picture gives way to the page.
        wish: what the command line says of calibrations.
    """

    def __init__(self, window: ViewerWindow, wish: CalibrationWish | None = None) -> None:
        self.window, self.wish = window, wish or CalibrationWish()
        self._place: Path | None = None  # for the rig file, as the user has chosen it on this page
        self.page = CalibrationPage()
        self.run = CalibrationRun(window)
        self._last: dict[str, Any] = {}
        self._source, self._recording = "", False
        self._output: Path | None = None
        self._target: TargetWindow | None = None
        window.pages.addWidget(self.page)
        self.page.begun.connect(self.begin)
        self.page.stopped.connect(self.stop)
        self.page.report_wanted.connect(self.open_report)
        self.page.rig_wanted.connect(self.use_rig)
        self.page.target_wanted.connect(self.show_target)
        self.page.place_wanted.connect(self.choose_place)
        self.run.told.connect(self._told)
        self.run.ended.connect(self._ended)
        self.run.stopped.connect(self._stopped)

    @property
    def open(self) -> bool:
        """The page is shown."""
        return self.window.pages.currentWidget() is self.page

    def toggle(self) -> None:
        """Key G."""
        if self.open:
            self.stop()
        else:
            self.show()

    def show(self) -> None:
        """Open the page for what is running now."""
        w = self.window
        if w.recorder.desk.busy:
            w.say("This is being recorded; end the recording first (R).")
            return
        if w.player is not None and w.player.session.elsewhere:
            w.say("These cameras are another program's; calibrate where they are.")
            return
        if w.rig.open:
            w.rig.shut()  # its cameras are needed here
        w.opening.forget()  # what comes late must not close this page
        self._source = w.source or "simulated"
        path = Path(self._source)  # of which no session needs be left
        try:
            there = within(ANSWERS_S, path.exists, path)
        except NoAnswerError:
            there = w.player is not None and w.player.recording
        self._recording = there and path.suffix.lower() != ".toml"
        self._output = self._place = None
        self.page.reset(self._source)
        self.page.set_place(self.output)
        w.set_page(self.page)

    @property
    def output(self) -> Path:
        """Where the rig file goes: as chosen, as the command line says, else a name of this minute."""
        if self._output is None:
            # Whole, for the browser is not in this folder.
            self._output = (self._place or self.wish.output or default_output()).absolute()
        return self._output

    def choose_place(self) -> None:
        """Ask where the rig file goes."""
        path = dialogs.rig_to_save(self.window, self.output)
        if path is not None:
            self._output = self._place = path
            self.page.set_place(path)

    def begin(self) -> None:
        """Hand the cameras over and start."""
        w = self.window
        if self.run.running:
            return
        if w.recorder.desk.busy:
            w.say("This is being recorded; end the recording first (R).")
            return
        if self._last.get("rig") and not (self._place or self.wish.output):
            self._output = None  # once more: a file of its own
            self.page.set_place(self.output)
        try:
            require_place(self.output)
        except OutputError as error:  # before the cameras are given away
            self.page.refuse(_here(sentence(error)))
            return
        w.opening.forget()
        # A camera serves one program at a time.
        w.close_session()
        w.strip.clear()
        self._last = {}
        self.page.begin()
        w.closing.then(self._start)

    def _start(self) -> None:
        """The cameras are free."""
        options = self.wish.options_for(self._source)
        self.run.start(self._source, self.output, recording=self._recording, options=options)

    def stop(self) -> None:
        """Give up, or close: the source comes back."""
        self._close_target()
        if self.run.running:
            self.run.end()
            self.page.end()
            return
        self.leave()

    def _stopped(self) -> None:
        self._last = {}
        self.page.reset(self._source)
        self.window.say("The calibration was stopped; no rig file was written.")

    def leave(self) -> None:
        """Back to the picture."""
        w = self.window
        w.set_page(None)
        if w.player is None:
            w.open_source(self._source)

    def shut(self) -> None:
        """The window closes."""
        self.run.stop()
        self._close_target()

    def open_report(self) -> None:
        """In the user's browser."""
        path = str(self._last.get("report", ""))
        if path:
            # Said in any case: where there is no browser nobody else says so.
            self.window.say(f"The report is {path}", 12.0)
            QDesktopServices.openUrl(QUrl.fromLocalFile(path))

    def use_rig(self) -> None:
        """Open the rig file that was written, or the recording that it was measured from with it."""
        w, rig = self.window, Path(str(self._last["rig"]))
        w.set_page(None)
        if self._last.get("opens") == RECORDING:
            w.opening.rigs[Path(self._source).resolve()] = rig
            w.open_source(self._source)
        else:
            w.open_source(rig)

    def show_target(self) -> None:
        """The blinking board in a window of its own, on a second screen if there is one, until it is closed."""
        from app.viewer.target_window import TargetWindow
        from calibration.geometry.targets import BlinkingBoard

        self._close_target()
        board = self.wish.board
        self._target = TargetWindow(BlinkingBoard() if board is None else BlinkingBoard(board))
        self._target.show_beside(self.window)

    def _close_target(self) -> None:
        target, self._target = self._target, None
        if target is not None:
            target.close()
            target.deleteLater()

    def _told(self, message: dict[str, Any]) -> None:
        self._last = message
        self.page.tell(message)

    def _ended(self, code: int, why: str) -> None:
        self._close_target()
        self.page.finish(self._last, code, _here(sentence(why)) if why else "")


def _here(text: str) -> str:
    """A line of the command as it can be followed in the window."""
    return text.replace("choose another place with -o", "choose another place (Rig file…)")
