"""Opens a recording of any known format: by what it contains, then by its name."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from recordings.formats.aedat4 import Aedat4Recording
from recordings.formats.aedat4_container import MAGIC as AEDAT4_MAGIC
from recordings.formats.dataset import DatasetRecording
from recordings.formats.names import is_hidden
from recordings.formats.own import OwnRecording
from recordings.formats.own_about import ABOUT, STREAMS
from recordings.formats.picture_folder import has_pictures
from recordings.formats.ros_magic import BAG_EXTENSIONS, BAG_MAGICS, BAG_METADATA
from recordings.recording import NotARecording, OpenOptions, Recording, RecordingError


@dataclass(frozen=True)
class Format:
    """One known format: how a file of it begins, how it is usually called, what opens it.

    Attributes:
        name: in messages.
        magic: first bytes, any of them.
        extensions: usual ends of the name.
        open: opens it.
        folder: for formats that are folders: whether this is one.
    """

    name: str
    magic: tuple[bytes, ...]
    extensions: tuple[str, ...]
    open: Callable[[Path, OpenOptions], Recording]
    folder: Callable[[Path], bool] | None = None


def _prophesee_raw(path: Path, options: OpenOptions) -> Recording:
    # Its decoders need numba, which takes its time to import.
    from recordings.formats.prophesee_raw import PropheseeRecording

    return PropheseeRecording(path, geometry=options.geometry)


def _dataset(path: Path, options: OpenOptions) -> Recording:
    return cast(Recording, DatasetRecording(path, options))


OWN, AEDAT4 = "Halfmirror", "AEDAT4"
SPIKE_EXTENSION = ".dat"
FORMATS: tuple[Format, ...] = (
    Format(
        OWN, (), (), lambda path, o: cast(Recording, OwnRecording(path, o.exposure_us)),
        folder=lambda path: (path / ABOUT).is_file() or (path / STREAMS).is_file(),
    ),
    Format(
        AEDAT4, (AEDAT4_MAGIC,), (".aedat4",),
        lambda path, o: cast(Recording, Aedat4Recording(path, deadline_s=o.deadline_s,
                                                        exposure_us=o.exposure_us,
                                                        rig_stated=o.rig is not None)),
    ),
    Format(
        "MS-RBD", (b"PK\x03\x04",), (".npz",),
        _dataset,
        folder=lambda path: any(p.suffix.lower() == ".npz" and not is_hidden(p.name) for p in path.iterdir()),
    ),
    Format(
        "HDF5 of Prophesee, DSEC or EFNet", (b"\x89HDF\r\n\x1a\n",), (".h5", ".hdf5"),
        _dataset,
    ),
    Format("AEDAT 2.0 or 3.1", (b"#!AER-DAT2.0", b"#!AER-DAT3.1"), (".aedat",), _dataset),
    Format(
        "ROS bag", BAG_MAGICS, BAG_EXTENSIONS, _dataset, folder=lambda path: (path / BAG_METADATA).is_file()
    ),
    Format("folder of pictures with events and times", (), (), _dataset, folder=has_pictures),
    Format("Prophesee RAW or DAT", (b"% ",), (".raw", ".dat"), _prophesee_raw),
    Format("spike camera's", (), (SPIKE_EXTENSION,), _dataset),
)  # fmt: skip


_LOOKED_AT = 100  # of a folder's entries, for the folder that may have been meant


def known_formats() -> str:
    """The known formats in words, for messages."""
    return ", ".join(f"{f.name} ({' '.join(f.extensions) or 'folder'})" for f in FORMATS)


def _folder_within(path: Path) -> Path | None:
    """The first folder in `path` that is a recording itself, as data sets and our own exports have them."""
    for inner in sorted(p for p in path.iterdir() if not is_hidden(p.name))[:_LOOKED_AT]:
        if inner.is_dir() and any(f.folder is not None and f.folder(inner) for f in FORMATS):
            return inner
    return None


def recognise(path: Path) -> Format:
    """The format of a file, by its first bytes (a folder: by what it holds).

    Raises:
        NotARecording: missing, a folder, empty, of no known format, or damaged at its very beginning.
        RecordingError: there, but it may not be read.
    """
    try:
        if not path.exists():
            raise NotARecording(f"{path}: no such file; give the path of a recording")
        if path.is_dir():
            for known in FORMATS:
                if known.folder is not None and known.folder(path):
                    return known
            within = _folder_within(path)
            give = f"give one that lies in it, such as {within}" if within else "give a file in it"
            raise NotARecording(f"{path}: is a folder, not a recording; {give}")
        if not path.is_file():
            raise NotARecording(f"{path}: is not a regular file")
        with path.open("rb") as f:
            start = f.read(max(len(m) for k in FORMATS for m in k.magic))
            size = os.fstat(f.fileno()).st_size
    except OSError as e:
        raise RecordingError(f"{path}: cannot be read ({e.strerror or e})") from e
    if size == 0:
        raise NotARecording(f"{path}: is empty")
    for known in FORMATS:
        if any(start.startswith(m) for m in known.magic):
            return known
    if path.suffix.lower() == SPIKE_EXTENSION:  # the one kind of file that begins in no way of its own
        return next(f for f in FORMATS if f.extensions == (SPIKE_EXTENSION,))
    for known in FORMATS:
        if path.suffix.lower() in known.extensions:
            raise NotARecording(
                f"{path}: is called {path.suffix} but does not begin like {known.name}; "
                "it is damaged or of another format"
            )
    raise NotARecording(f"{path}: is not a recording of a known format; known: {known_formats()}")


def open_recording(
    path: str | os.PathLike[str],
    *,
    deadline_s: float = 10.0,
    exposure_us: int | None = None,
    geometry: tuple[int, int] | None = None,
    rig: Path | None = None,
) -> Recording:
    """Open a recording.

    Args:
        path: the file, or the folder of a format that is one.
        deadline_s, exposure_us, geometry, rig: see `OpenOptions`.

    Raises:
        NotARecording: missing, empty, or of no known format.
        RecordingError: of a known format and unreadable.
    """
    return open_with(Path(path), OpenOptions(deadline_s, exposure_us, geometry, rig))


def open_with(path: Path, options: OpenOptions) -> Recording:
    """As `open_recording`, with everything that is stated about it in one."""
    return recognise(path).open(path, options)


class NoFrames(RecordingError):
    """A recording of events alone, where frames are needed."""


def require_frames(recording: Recording) -> Recording:
    """The recording itself, if it has frames.

    Raises:
        NoFrames: it has none, so there is nothing to deblur.
    """
    if recording.info.image_size is None:
        raise NoFrames(
            f"{recording.info.path}: has no frames, only events of {recording.info.camera or 'its camera'}; "
            "deblurring needs a recording with both"
        )
    return recording


def require_events(recording: Recording) -> Recording:
    """The recording itself, if it has events.

    Raises:
        RecordingError: it has none, so a frame's blur cannot be undone from it.
    """
    if recording.info.event_size is None:
        raise RecordingError(
            f"{recording.info.path}: has no events, only frames; deblurring needs a recording with both"
        )
    return recording
