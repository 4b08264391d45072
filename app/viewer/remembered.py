"""What the window remembers between starts."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from PySide6.QtCore import QByteArray

from app.viewer.modes import EventsMode, View
from app.viewer.settings_file import SettingsFile, usual_path
from capture.passing_folder import PassingFolder

RECENT = 8
Choice = TypeVar("Choice", bound=StrEnum)


class Remembered:
    """Typed access to a `SettingsFile`; an unreadable value is as good as none."""

    def __init__(self, store: SettingsFile | None = None) -> None:
        """`store` None: the user's own settings."""
        self._store = store or SettingsFile(usual_path())
        self._hold: object = None  # keeps a temporary folder for as long as this lives

    @classmethod
    def nowhere(cls) -> Remembered:
        """Starts empty and is gone with the program."""
        folder = PassingFolder("halfmirror-viewer-")
        out = cls(SettingsFile(folder.path / "viewer.json"))
        out._hold = folder
        return out

    @property
    def geometry(self) -> QByteArray | None:
        """The window's place and size as Qt saves it."""
        text = self._text("window/geometry")
        value = QByteArray.fromBase64(text.encode(errors="replace"))
        return None if value.isEmpty() else value

    @geometry.setter
    def geometry(self, value: QByteArray) -> None:
        self._store.set("window/geometry", bytes(value.toBase64().data()).decode())

    @property
    def view(self) -> View:
        """The view last used."""
        return self._choice("window/view", View, View.WIPE)

    @view.setter
    def view(self, value: View) -> None:
        self._store.set("window/view", value.value)

    @property
    def events_mode(self) -> EventsMode:
        """Where events were drawn."""
        return self._choice("window/events", EventsMode, EventsMode.OFF)

    @events_mode.setter
    def events_mode(self, value: EventsMode) -> None:
        self._store.set("window/events", value.value)

    @property
    def network(self) -> str:
        """The network last used, "" for none."""
        return self._text("source/network")

    @network.setter
    def network(self, value: str) -> None:
        self._store.set("source/network", value)

    @property
    def source(self) -> str:
        """The source last used, "" for none."""
        return self._text("source/last")

    @source.setter
    def source(self, value: str) -> None:
        self._store.set("source/last", value)

    @property
    def recent(self) -> list[str]:
        """Recordings opened before, the newest first."""
        values = self._store.get("source/recent")
        return (
            [v for v in values if isinstance(v, str) and v and v.isprintable()]
            if isinstance(values, list)
            else []
        )

    def opened(self, path: str) -> None:
        """A recording was opened: first of the recent ones."""
        self._store.set("source/recent", [path, *(r for r in self.recent if r != path)][:RECENT])

    @property
    def folder(self) -> Path | None:
        """Where recordings were last looked for."""
        return self._folder("folder/open")

    @folder.setter
    def folder(self, value: Path) -> None:
        self._store.set("folder/open", str(value))

    @property
    def snapshots(self) -> Path | None:
        """Where snapshots go, None for the usual place."""
        return self._folder("folder/snapshots")

    @snapshots.setter
    def snapshots(self, value: Path) -> None:
        self._store.set("folder/snapshots", str(value))

    @property
    def recordings(self) -> Path | None:
        """Where recordings are made, None for the usual place."""
        return self._folder("folder/recordings")

    @recordings.setter
    def recordings(self, value: Path) -> None:
        self._store.set("folder/recordings", str(value))

    @property
    def recording_name(self) -> str:
        """What the last recording was called, "" for none."""
        return self._text("recording/name")

    @recording_name.setter
    def recording_name(self, value: str) -> None:
        self._store.set("recording/name", value)

    @property
    def preroll_s(self) -> float:
        """Seconds that are kept for recordings, 0 … 60."""
        return self._number("recording/preroll_s", 0.0, 60.0)

    @preroll_s.setter
    def preroll_s(self, value: float) -> None:
        self._store.set("recording/preroll_s", float(value))

    @property
    def countdown_s(self) -> float:
        """Seconds before a recording begins, 0 … 10."""
        return self._number("recording/countdown_s", 0.0, 10.0)

    @countdown_s.setter
    def countdown_s(self, value: float) -> None:
        self._store.set("recording/countdown_s", float(value))

    def reset(self) -> str:
        """Forget everything. The file that could not be written, "" where it was."""
        return "" if self._store.clear() else str(self._store.path)

    def save(self) -> None:
        """Write to disk what could not be written before."""
        self._store.save()

    def _text(self, key: str) -> str:
        value = self._store.get(key)
        return value if isinstance(value, str) else ""

    def _number(self, key: str, default: float, most: float) -> float:
        value = self._store.get(key)
        number = value if isinstance(value, int | float) else default
        return float(number) if 0 <= number <= most else default

    def _folder(self, key: str) -> Path | None:
        text = self._text(key)
        return Path(text) if text else None

    def _choice(self, key: str, kind: type[Choice], default: Choice) -> Choice:
        try:
            return kind(self._text(key))
        except ValueError:
            return default
