"""A calibration as a process of its own, so that the window only watches: its progress, its result, its end."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, QProcess, QProcessEnvironment, QTimer, Signal

if TYPE_CHECKING:
    from calibration.geometry.targets import Board
    from recordings.recording import OpenOptions

_LONGEST_ERROR = 400
RIG, RECORDING = "rig", "recording"
"""What can be opened with a rig file that was written: its cameras, or the recording that it was made from."""
GRACE_MS = 5000  # until a command that was asked to end is ended; cameras of its own want some of that


@dataclass(frozen=True, slots=True)
class CalibrationWish:
    """What the command line says of calibrations in the window.

    Attributes:
        output: where the rig file goes; None: a name of this minute in the user's documents.
        options: further ones of `calibrate rig`.
        board: the target that `options` name, to be shown; None: the usual one.
        stated: what was stated about the recording `stated_of`; of another one it would be wrong.
    """

    output: Path | None = None
    options: tuple[str, ...] = ()
    board: Board | None = None
    stated: OpenOptions | None = None
    stated_of: str | Path = ""

    def options_for(self, source: str | Path) -> tuple[str, ...]:
        """Further options of the command that calibrates from this source."""
        s = self.stated
        if s is None or Path(source).resolve() != Path(self.stated_of).resolve():
            return self.options
        exposure = () if s.exposure_us is None else ("--exposure-us", str(s.exposure_us))
        size = () if s.geometry is None else ("--geometry", f"{s.geometry[0]}x{s.geometry[1]}")
        return (*self.options, *exposure, *size)


class CalibrationRun(QObject):
    """Runs `halfmirror calibrate rig … --progress-json`.

    Ending it leaves nothing half-written: the command writes its files whole, at the end.

    Attributes:
        program: what is started.

    Signals:
        told: a message of the command: step, what, share, and by name what else it knows; at its end
            `steps`, those that did not pass with their verdicts, and `opens`, what the rig file can be opened
            with: `RIG`, `RECORDING`, "" for nothing.
        ended: the exit code and, when it is not 0, why in one line.
        stopped: it has ended because it was asked to.
    """

    told = Signal(dict)
    ended = Signal(int, str)
    stopped = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        # -P: a package `app` in the present folder is another one.
        self.program: tuple[str, ...] = (sys.executable, "-P", "-m", "app.cli.main")
        self._process: QProcess | None = None
        self._ending = False
        self._rest = b""
        self._errors = b""

    @property
    def running(self) -> bool:
        """It is at work, or about to end."""
        return self._process is not None

    def start(
        self, source: str, output: Path, *, recording: bool = False, options: tuple[str, ...] = ()
    ) -> None:
        """Begin.

        Args:
            source: the rig, or a recording of one.
            output: the rig file to write; an older one is replaced.
            recording: calibrate from the recording `source`.
            options: further ones of the command.
        """
        self.stop()
        process = QProcess(self)
        self._process, self._ending, self._rest, self._errors = process, False, b"", b""
        environment = QProcessEnvironment.systemEnvironment()
        environment.insert("PYTHONUNBUFFERED", "1")
        # As this program found its packages, also from a source tree that was never installed.
        environment.insert("PYTHONPATH", os.pathsep.join(p for p in sys.path if p))
        process.setProcessEnvironment(environment)
        process.readyReadStandardOutput.connect(self._read)
        process.readyReadStandardError.connect(self._read_errors)
        process.finished.connect(self._finished)
        process.errorOccurred.connect(self._failed)
        process.start(self.program[0], [*self.program[1:], *arguments(source, output, recording, options)])

    def end(self) -> None:
        """Ask it to end, and return at once: it may take a second, and its cameras are free only then."""
        process = self._process
        if process is None or self._ending:
            return
        self._ending = True
        late = QTimer(process, singleShot=True, interval=GRACE_MS)  # gone with the process
        late.timeout.connect(process.kill)
        late.start()
        process.terminate()

    def stop(self) -> None:
        """End it and wait for that, in most cases a second; says nothing more.

        It has `GRACE_MS`: what it has recorded, gigabytes perhaps, would stay behind a command that is killed.
        """
        process, self._process = self._process, None
        if process is None:
            return
        process.blockSignals(True)
        process.terminate()
        if not process.waitForFinished(GRACE_MS):
            process.kill()
            process.waitForFinished(500)
        process.deleteLater()

    def _read(self) -> None:
        if self._process is None:
            return
        lines = (self._rest + bytes(self._process.readAllStandardOutput().data())).split(b"\n")
        self._rest = lines.pop()
        for line in lines:
            try:
                message: Any = json.loads(line)
            except ValueError:
                continue  # not one of ours: a library that prints
            # Who has stopped it waits for no more news, except that it was too late.
            if isinstance(message, dict) and "step" in message and (not self._ending or "verdict" in message):
                self.told.emit(message)

    def _read_errors(self) -> None:
        if self._process is not None:
            self._errors = (self._errors + bytes(self._process.readAllStandardError().data()))[-8000:]

    def _finished(self, code: int, status: QProcess.ExitStatus) -> None:
        self._read()
        self._read_errors()
        crashed = status is QProcess.ExitStatus.CrashExit
        process, self._process = self._process, None
        if process is not None:
            process.deleteLater()
        if self._ending and (crashed or code != 0):
            self.stopped.emit()
            return
        why = "" if code == 0 and not crashed else self._why(crashed)
        self.ended.emit(1 if crashed else code, why)

    def _failed(self, error: QProcess.ProcessError) -> None:
        if error is QProcess.ProcessError.FailedToStart and self._process is not None:
            self._process.deleteLater()
            self._process = None
            self.ended.emit(1, f"the calibration could not be started ({self.program[0]})")

    def _why(self, crashed: bool) -> str:
        lines = [x.strip() for x in self._errors.decode(errors="replace").splitlines() if x.strip()]
        own = [x.removeprefix("halfmirror: ") for x in lines if x.startswith("halfmirror: ")]
        if own:
            return own[-1][:_LONGEST_ERROR]
        return "it died" if crashed else (lines[-1][:_LONGEST_ERROR] if lines else "it gives no reason")


def arguments(source: str, output: Path, recording: bool, options: tuple[str, ...] = ()) -> list[str]:
    """What stands behind `halfmirror`."""
    of = ["--from", source] if recording else [source]
    if recording and "--seconds" in options:  # how long a rig would be recorded
        k = options.index("--seconds")
        options = options[:k] + options[k + 2 :]
    seen = ["--overwrite", "--headless", "--progress-json"]
    return ["calibrate", "rig", *of, "-o", str(output), *options, *seen]
