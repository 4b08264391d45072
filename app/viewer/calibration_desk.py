"""The guided calibration in the window: opens its page, gives the cameras to the command, takes them back."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QStandardPaths, QUrl
from PySide6.QtGui import QDesktopServices

from app.viewer.calibration_page import CalibrationPage
from app.viewer.calibration_run import CalibrationRun
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
        output: where the rig file goes; None: `default_output`.
    """

    def __init__(self, window: ViewerWindow, output: Path | None = None) -> None:
        self.window, self.output = window, output
        self.page = CalibrationPage()
        self.run = CalibrationRun(window)
        self._last: dict[str, Any] = {}
        self._source = ""
        self._target: TargetWindow | None = None
        window.pages.addWidget(self.page)
        self.page.begun.connect(self.begin)
        self.page.stopped.connect(self.stop)
        self.page.report_wanted.connect(self.open_report)
        self.page.rig_wanted.connect(self.use_rig)
        self.page.target_wanted.connect(self.show_target)
        self.run.told.connect(self._told)
        self.run.ended.connect(self._ended)

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
        if w.rig.open:
            w.rig.shut()  # its cameras are needed here
        self._source = w.source or "simulated"
        self.page.reset(self._source)
        w.set_page(self.page)

    def begin(self) -> None:
        """Hand the cameras over and start."""
        w = self.window
        recording = w.player is not None and w.player.recording
        # A camera serves one program at a time.
        w.close_session()
        w.strip.clear()
        output = self.output or default_output()
        self._last = {}
        self.page.begin()
        self.run.start(self._source, output, recording=recording)

    def stop(self) -> None:
        """Give up, or close: the source comes back."""
        running = self.run.running
        self.run.stop()
        self._close_target()
        if running:
            self.page.reset(self._source)
            self.window.say("The calibration was stopped; no rig file was written.")
            return
        self.leave()

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
        if path and not QDesktopServices.openUrl(QUrl.fromLocalFile(path)):
            self.window.say(f"The report is {path}", 12.0)

    def use_rig(self) -> None:
        """Open the rig file that was written."""
        self.window.set_page(None)
        self.window.open_source(Path(str(self._last["rig"])))

    def show_target(self) -> None:
        """The blinking board in a window of its own, for a second screen, until it is closed."""
        from app.viewer.target_window import TargetWindow
        from calibration.geometry.targets import BlinkingBoard

        self._close_target()
        self._target = TargetWindow(BlinkingBoard())
        self._target.showFullScreen()

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
        self.page.finish(self._last, code, sentence(why) if why else "")
