"""What the window remembers between starts."""

from __future__ import annotations

import tempfile
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from PySide6.QtCore import QByteArray, QSettings

from app.viewer.modes import EventsMode, View

RECENT = 8
Choice = TypeVar("Choice", bound=StrEnum)


class Remembered:
    """Typed access to a `QSettings`; an unreadable value is as good as none."""

    def __init__(self, store: QSettings | None = None) -> None:
        """`store` None: the user's own settings, an INI file in the usual place."""
        self._store = store or QSettings(
            QSettings.Format.IniFormat, QSettings.Scope.UserScope, "halfmirror", "viewer"
        )
        self._hold: object = None  # keeps a temporary folder for as long as this lives

    @classmethod
    def nowhere(cls) -> Remembered:
        """Starts empty and is gone with the program."""
        folder = tempfile.TemporaryDirectory(prefix="halfmirror-viewer-")
        out = cls(QSettings(str(Path(folder.name) / "viewer.ini"), QSettings.Format.IniFormat))
        out._hold = folder
        return out

    @property
    def geometry(self) -> QByteArray | None:
        """The window's place and size as Qt saves it."""
        value = self._store.value("window/geometry")
        return value if isinstance(value, QByteArray) and not value.isEmpty() else None

    @geometry.setter
    def geometry(self, value: QByteArray) -> None:
        self._store.setValue("window/geometry", value)

    @property
    def view(self) -> View:
        """The view last used."""
        return self._choice("window/view", View, View.WIPE)

    @view.setter
    def view(self, value: View) -> None:
        self._store.setValue("window/view", value.value)

    @property
    def events_mode(self) -> EventsMode:
        """Where events were drawn."""
        return self._choice("window/events", EventsMode, EventsMode.OFF)

    @events_mode.setter
    def events_mode(self, value: EventsMode) -> None:
        self._store.setValue("window/events", value.value)

    @property
    def network(self) -> str:
        """The network last used, "" for none."""
        return self._text("source/network")

    @network.setter
    def network(self, value: str) -> None:
        self._store.setValue("source/network", value)

    @property
    def source(self) -> str:
        """The source last used, "" for none."""
        return self._text("source/last")

    @source.setter
    def source(self, value: str) -> None:
        self._store.setValue("source/last", value)

    @property
    def recent(self) -> list[str]:
        """Recordings opened before, the newest first."""
        value = self._store.value("source/recent")
        values = [value] if isinstance(value, str) else value
        return (
            [v for v in values if isinstance(v, str) and v and v.isprintable()]
            if isinstance(values, list)
            else []
        )

    def opened(self, path: str) -> None:
        """A recording was opened: first of the recent ones."""
        self._store.setValue("source/recent", [path, *(r for r in self.recent if r != path)][:RECENT])

    @property
    def folder(self) -> Path | None:
        """Where recordings were last looked for."""
        return self._folder("folder/open")

    @folder.setter
    def folder(self, value: Path) -> None:
        self._store.setValue("folder/open", str(value))

    @property
    def snapshots(self) -> Path | None:
        """Where snapshots go, None for the usual place."""
        return self._folder("folder/snapshots")

    @snapshots.setter
    def snapshots(self, value: Path) -> None:
        self._store.setValue("folder/snapshots", str(value))

    @property
    def recordings(self) -> Path | None:
        """Where recordings are made, None for the usual place."""
        return self._folder("folder/recordings")

    @recordings.setter
    def recordings(self, value: Path) -> None:
        self._store.setValue("folder/recordings", str(value))

    @property
    def recording_name(self) -> str:
        """What the last recording was called, "" for none."""
        return self._text("recording/name")

    @recording_name.setter
    def recording_name(self, value: str) -> None:
        self._store.setValue("recording/name", value)

    @property
    def preroll_s(self) -> float:
        """Seconds that are kept for recordings, 0 … 60."""
        return self._number("recording/preroll_s", 0.0, 60.0)

    @preroll_s.setter
    def preroll_s(self, value: float) -> None:
        self._store.setValue("recording/preroll_s", float(value))

    @property
    def countdown_s(self) -> float:
        """Seconds before a recording begins, 0 … 10."""
        return self._number("recording/countdown_s", 0.0, 10.0)

    @countdown_s.setter
    def countdown_s(self, value: float) -> None:
        self._store.setValue("recording/countdown_s", float(value))

    def reset(self) -> None:
        """Forget everything."""
        self._store.clear()
        self._store.sync()

    def save(self) -> None:
        """Write to disk now."""
        self._store.sync()

    def _text(self, key: str) -> str:
        value = self._store.value(key)
        return value if isinstance(value, str) else ""

    def _number(self, key: str, default: float, most: float) -> float:
        value = self._store.value(key)
        try:
            number = float(value) if isinstance(value, (str, int, float)) else default
        except ValueError:
            return default
        return number if 0 <= number <= most else default

    def _folder(self, key: str) -> Path | None:
        text = self._text(key)
        return Path(text) if text else None

    def _choice(self, key: str, kind: type[Choice], default: Choice) -> Choice:
        try:
            return kind(self._text(key))
        except ValueError:
            return default
