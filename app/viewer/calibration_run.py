"""A calibration as a process of its own, so that the window only watches: its progress, its result, its end."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, QProcess, QProcessEnvironment, Signal

_LONGEST_ERROR = 400


class CalibrationRun(QObject):
    """Runs `halfmirror calibrate rig … --progress-json`.

    Ending it leaves nothing half-written: the command writes its files whole, at the end.

    Attributes:
        program: what is started.

    Signals:
        told: a message of the command: step, what, share, and by name what else it knows.
        ended: the exit code and, when it is not 0, why in one line.
    """

    told = Signal(dict)
    ended = Signal(int, str)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.program: tuple[str, ...] = (sys.executable, "-m", "app.cli.main")
        self._process: QProcess | None = None
        self._rest = b""
        self._errors = b""

    @property
    def running(self) -> bool:
        """It is at work."""
        return self._process is not None

    def start(self, source: str, output: Path, *, recording: bool = False) -> None:
        """Begin.

        Args:
            source: the rig, or a recording of one.
            output: the rig file to write; an older one is replaced.
            recording: calibrate from the recording `source`.
        """
        self.stop()
        process = QProcess(self)
        self._process, self._rest, self._errors = process, b"", b""
        environment = QProcessEnvironment.systemEnvironment()
        environment.insert("PYTHONUNBUFFERED", "1")
        # As this program found its packages, also from a source tree that was never installed.
        environment.insert("PYTHONPATH", os.pathsep.join(p for p in sys.path if p))
        process.setProcessEnvironment(environment)
        process.readyReadStandardOutput.connect(self._read)
        process.readyReadStandardError.connect(self._read_errors)
        process.finished.connect(self._finished)
        process.errorOccurred.connect(self._failed)
        process.start(self.program[0], [*self.program[1:], *arguments(source, output, recording)])

    def stop(self) -> None:
        """End it, within two seconds; says nothing more."""
        process, self._process = self._process, None
        if process is None:
            return
        process.blockSignals(True)
        process.terminate()
        if not process.waitForFinished(1500):
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
            if isinstance(message, dict) and "step" in message:
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


def arguments(source: str, output: Path, recording: bool) -> list[str]:
    """What stands behind `halfmirror`."""
    of = ["--from", source] if recording else [source]
    return ["calibrate", "rig", *of, "-o", str(output), "--overwrite", "--headless", "--progress-json"]
