"""`recording.toml` of our own recordings: what was recorded, with what, and how it was set."""

from __future__ import annotations

import contextlib
import os
import tomllib
from pathlib import Path
from typing import Any, Literal

import tomli_w
from pydantic import Field, ValidationError

from capture.documents import parse_toml
from capture.errors import HalfmirrorError
from capture.validation import Strict, first_error
from sync.rig import Rig

ABOUT, STREAMS, INDEX_FILE, HEALTH = "recording.toml", "streams.hmc", "streams.index", "health.json"
FORMAT, VERSION = "halfmirror recording", 1
_LARGEST = 4 << 20


class AboutError(HalfmirrorError):
    """`recording.toml` cannot be used; the message says why."""


def write_synced(folder: Path, name: str, data: bytes, *, wait: bool = True) -> None:
    """Write a file whole or not at all, and wait until the disk has it.

    Without that a file under a new name may be empty for half a minute after a power cut, or after a USB disk
    was pulled. But on a busy disk it takes seconds: with `wait` False somebody else writes it again soon, and
    waits. Raises `OSError`.
    """
    part = folder / f"{name}.part"
    with part.open("wb") as f:
        f.write(data)
        f.flush()
        if wait:
            os.fsync(f.fileno())
    part.replace(folder / name)
    if not wait:
        return
    with contextlib.suppress(OSError):  # some file systems do not sync folders
        fd = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


class RecordedCamera(Strict):
    """One camera as it described itself when it was opened.

    Attributes:
        name: what it was opened by.
        model, serial: "" when it does not tell.
        width, height: pixels.
        rate_hz: frames per second, 0 when unknown.
        settings: as given when it was opened.
    """

    name: str
    model: str = ""
    serial: str = ""
    width: int = 0
    height: int = 0
    rate_hz: float = 0.0
    settings: dict[str, Any] = Field(default_factory=dict)


class About(Strict):
    """The whole file. The rig is the rig file as it was used; `started` is UTC, ISO 8601."""

    format: Literal["halfmirror recording"] = "halfmirror recording"
    version: int = VERSION
    started: str
    program: str
    network: str = ""
    split: Literal["", "train", "test"] = ""
    sequence: int = Field(default=1, ge=1, description="which of several taken in one go")
    sequences: int = Field(default=1, ge=1)
    events: RecordedCamera
    frames: RecordedCamera
    rig: Rig
    note: str = ""

    def save(self, folder: Path, *, wait: bool = True) -> None:
        """Write it into a folder; see `write_synced`. Raises `OSError`."""
        text = tomli_w.dumps(self.model_dump(mode="json", exclude_none=True))
        write_synced(folder, ABOUT, text.encode(), wait=wait)

    @classmethod
    def load(cls, folder: Path) -> About:
        """Read it from a recording's folder.

        Raises:
            AboutError: not there, not readable, not TOML, a wrong key or value, a newer version.
        """
        path = folder / ABOUT
        try:
            with path.open("rb") as f:
                data = parse_toml(f.read(_LARGEST).decode("utf-8"))
        except (OSError, UnicodeDecodeError) as e:
            raise AboutError(f"{path}: cannot be read ({getattr(e, 'strerror', None) or e})") from e
        except tomllib.TOMLDecodeError as e:
            raise AboutError(f"{path}: is not valid TOML: {e}") from e
        version = data.get("version", VERSION)
        if type(version) is not int or not 1 <= version <= VERSION:
            raise AboutError(
                f"{path}: has version {version!r}; this program reads 1 to {VERSION}: update the program"
            )
        try:
            return cls.model_validate(data)
        except ValidationError as e:
            raise AboutError(f"{path}: {first_error(e, cls)}") from e
