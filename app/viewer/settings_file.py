"""Values under names in one JSON file, as two windows at once may change it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PySide6.QtCore import QStandardPaths

LARGEST = 1 << 20


def usual_path() -> Path:
    """The user's own file."""
    place = QStandardPaths.writableLocation(QStandardPaths.StandardLocation.GenericConfigLocation)
    return Path(place or Path.home()) / "halfmirror" / "viewer.json"


class SettingsFile:
    """Numbers, texts and lists of them under names; every change is on disk at once.

    Not a `QSettings`: PySide's unpickles what stands in its file.

    A file that cannot be read is as good as none; where none can be written, what is set holds for this
    program. Other keys than the one that is set stay as another program has left them.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._own: dict[str, Any] = {}  # what could not be written
        self._forgotten = False  # what is in the file counts no more, which could not be written either

    def get(self, key: str) -> Any:
        """A value, None where there is none."""
        return {**self._kept(), **self._own}.get(key)

    def set(self, key: str, value: Any) -> None:
        """Another value."""
        self._own[key] = value
        self.save()

    def save(self) -> bool:
        """Write what could not be written before. False where it still cannot."""
        if not self._own and not self._forgotten:
            return True
        try:
            with self._alone():
                self._write({**self._kept(), **self._own})
                self._own, self._forgotten = {}, False
        except (OSError, RuntimeError):
            return False
        return True

    def clear(self) -> bool:
        """No value any more. False where that holds for this program only, until `save` has come to it."""
        self._own, self._forgotten = {}, True
        return self.save()

    def _kept(self) -> dict[str, Any]:
        return {} if self._forgotten else self._read()

    def _read(self) -> dict[str, Any]:
        try:
            if not self.path.is_file() or self.path.stat().st_size > LARGEST:
                return {}
            found = json.loads(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

    def _write(self, values: dict[str, Any]) -> None:
        target = self.path.resolve()  # of a link: what it leads to
        part = target.with_name(target.name + ".part")
        part.write_text(json.dumps(values, indent=1), encoding="utf-8")  # ASCII: a path may be no valid text
        part.replace(target)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Between reading and writing no other program does the same."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lock_path = self.path.with_name(self.path.name + ".lock")
        lock = os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise  # the window waits for nobody; `save` comes back to it
            except OSError:
                pass  # a file system without locks
            yield
        finally:
            os.close(lock)
