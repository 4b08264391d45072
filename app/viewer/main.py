"""Opens the viewer: `run_viewer`."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import cv2
from PySide6.QtCore import Qt, QTimer
from PySide6.QtWidgets import QApplication, QToolButton

from app.session import SessionFactory
from app.viewer import theme
from app.viewer.calibration_run import CalibrationWish
from app.viewer.display import display_available
from app.viewer.remembered import Remembered
from app.viewer.top_bar import PRESETS
from app.viewer.window import ViewerWindow
from capture.hangup import hangup_counts
from inference.memory import keep_freed_memory

if TYPE_CHECKING:
    from recordings.recording import OpenOptions

SCREENSHOT_PICTURES = 10  # shown before a screenshot is taken
SCREENSHOT_LIMIT_S = 120.0

__all__ = ["display_available", "run_viewer"]


def run_viewer(
    session_factory: SessionFactory,
    source: str | Path,
    network: str | None,
    *,
    screenshot: Path | None = None,
    screenshot_after_s: float = 3.0,
    speed: float = 1.0,
    loop: bool = False,
    presets: Sequence[tuple[str, str]] = PRESETS,
    remembered: Remembered | None = None,
    residual: bool = False,
    calibrate: CalibrationWish | None = None,
    rig_page: bool = False,
    said: OpenOptions | None = None,
) -> int:
    """Open the window on a source and return the program's exit code when it is closed.

    Args:
        session_factory: makes sessions, for this source and for those chosen later.
        source: what it begins with.
        network: None for the one used last, or EDI.
        screenshot: grab the window into this PNG and quit, once enough pictures were shown, or all of a
            recording. What is remembered is then neither used nor changed.
        screenshot_after_s: seconds from the first picture to the screenshot.
        speed, loop: what `session_factory` starts recordings with (infinite: as fast as possible), for
            the transport bar to show.
        presets: (text, name) of the sources in the menu.
        remembered: the user's settings by default.
        residual: begin with the map of the re-blur residual.
        calibrate: begin with the guided calibration, with this.
        rig_page: begin with the rig page on `source`, without restoring anything yet.
        said: what `session_factory` knows of the recording `source`, for a calibration from it.

    Returns:
        0, or 1 when there is no display or no screenshot could be taken (the reason goes to stderr).
    """
    ok, reason = display_available()
    if not ok:
        print(f"The viewer needs a display: {reason}.", file=sys.stderr)
        return 1
    keep_freed_memory()  # every picture is scaled into fresh memory, whose clearing costs more than the scaling
    cv2.setNumThreads(1)  # the pipeline needs the cores; scaling one picture is a millisecond
    app = QApplication.instance() or QApplication([sys.argv[0] if sys.argv else "halfmirror"])
    assert isinstance(app, QApplication)
    app.setApplicationName("Halfmirror")
    app.setDesktopFileName("halfmirror")
    theme.apply(app)
    memory = remembered or Remembered()
    if screenshot is not None:
        memory = Remembered.nowhere()
    wish = calibrate or CalibrationWish(stated=said, stated_of=source)
    window = ViewerWindow(session_factory, memory, presets=presets, speed=speed, loop=loop, calibrated=wish)
    window.show()
    window.set_residual(residual)
    if rig_page:
        memory.network = network or memory.network
        QTimer.singleShot(0, lambda: window.rig.show(source))
    else:
        QTimer.singleShot(0, lambda: window.open_source(source, network or ""))
    if calibrate is not None:
        QTimer.singleShot(0, window.calibration.show)
    numbers = [signal.SIGINT, signal.SIGTERM]
    if hangup_counts():
        numbers.append(signal.SIGHUP)
    handlers = {s: signal.signal(s, _closer(window)) for s in numbers}
    camera = None if screenshot is None else _Photographer(window, screenshot, screenshot_after_s)
    try:
        code = app.exec()
    finally:
        # A closing terminal sends its hangup twice; Ctrl+C gets out where closing hangs.
        signal.signal(signal.SIGINT, handlers.pop(signal.SIGINT))
        if window.player is not None or window.closing.going:
            window.close()
        for s, handler in handlers.items():
            signal.signal(s, handler)
    return code if camera is None else camera.code


def _closer(window: ViewerWindow) -> Callable[[int, FrameType | None], None]:
    def close() -> None:
        window.close()
        QApplication.quit()  # a dialog that is open would keep the program

    def soon(_signal: int, _frame: FrameType | None) -> None:
        QTimer.singleShot(0, close)  # the signal may come while the window is being painted

    return soon


class _Photographer:
    """Waits until there is something to see, takes the picture, closes the window."""

    def __init__(self, window: ViewerWindow, path: Path, after_s: float) -> None:
        self.code = 1
        self._window, self._path, self._after_s = window, path, after_s
        self._began = window.clock()
        self._first: float | None = None
        self._timer = QTimer(window)
        self._timer.timeout.connect(self._look)
        self._timer.start(50)

    def _look(self) -> None:
        w, now = self._window, self._window.clock()
        if w.rig.open:
            self._look_at_rig()
            return
        shown = w.player.showing.received if w.player else 0
        if shown and self._first is None:
            self._first = now
        ended = w.player is not None and w.player.ended  # no further picture comes
        ready = self._first is not None and now - self._first >= self._after_s
        ready = ready and (shown >= SCREENSHOT_PICTURES or ended)
        # One exposure that was refused is not what the source looks like, unless it is the last.
        picture = w.player.picture if w.player else None
        ready = ready and picture is not None and (picture.sharp is not None or ended)
        s = w.player.showing if w.player else None
        ready = ready and not (s is not None and s.measuring and s.any_latent and s.residual is None)
        if w.problem or (not ready and now - self._began > SCREENSHOT_LIMIT_S + self._after_s):
            seen = f"no {'further ' * (shown > 0)}picture that shows the source"
            self._give_up(w.problem or f"{seen} within {SCREENSHOT_LIMIT_S:.0f} s ({shown} were shown)")
        elif ready:
            self._take()

    def _look_at_rig(self) -> None:
        """The rig page is ready once both cameras have been seen for a while."""
        w, now = self._window, self._window.clock()
        if w.rig.views >= SCREENSHOT_PICTURES and self._first is None:
            self._first = now
        if self._first is not None and now - self._first >= self._after_s:
            self._take()
        elif now - self._began > SCREENSHOT_LIMIT_S + self._after_s:
            why = w.rig.page.frames.problem or w.rig.page.events.problem or "nothing is seen"
            self._give_up(why)

    def _take(self) -> None:
        w = self._window
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as e:
            self._give_up(f"{self._path.parent}: {e.strerror}")
            return
        for button in w.findChildren(QToolButton):  # without a pointer Qt takes the corner for one
            button.setAttribute(Qt.WidgetAttribute.WA_UnderMouse, False)
        if w.grab().save(str(self._path), "PNG"):
            self.code = 0
            self._finish()
        else:
            self._give_up(f"{self._path} cannot be written")

    def _give_up(self, reason: str) -> None:
        print(f"halfmirror: no screenshot was taken: {reason}", file=sys.stderr)
        self._finish()

    def _finish(self) -> None:
        self._timer.stop()
        self._window.close()
