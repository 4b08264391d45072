"""The few questions the window asks."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from PySide6.QtCore import Qt, QUrl
from PySide6.QtGui import QDropEvent
from PySide6.QtWidgets import QFileDialog, QMessageBox, QWidget

from app.patience import ANSWERS_S, Waiting

RIGS = "Rig files (*.toml)"
RECORDINGS = (
    "Recordings (*.aedat4 *.aedat *.raw *.dat *.h5 *.hdf5 *.npz *.bag *.mcap *.db3 streams.hmc metadata.yaml);;"
    "All files (*)"
)
OF_FOLDER = ("streams.hmc", "recording.toml", "metadata.yaml")  # a recording is the folder that these lie in


def _reached(folder: Path | None) -> Path:
    """A folder to begin in: the one that was remembered, unless its disk does not answer."""
    if folder is None or Waiting(folder.exists, ANSWERS_S).going:
        return Path.home()
    return folder


def _saved_in(path: Path) -> Path:
    """A name to begin with, in its folder or, where that does not answer, at home."""
    return _reached(path.parent) / path.name


def recording(parent: QWidget, folder: Path | None) -> Path | None:
    """A recording to open, None when the user thinks better of it."""
    name, _ = QFileDialog.getOpenFileName(parent, "Open recording", str(_reached(folder)), RECORDINGS)
    return whole(Path(name)) if name else None


def whole(path: Path) -> Path:
    """The recording that a file is of: some are folders, which a dialog for files cannot give."""
    return path.parent if path.name in OF_FOLDER else path


def dropped(urls: list[QUrl]) -> tuple[Path | None, str]:
    """The recording or rig file that was dropped on the window, else why it is none."""
    if len(urls) > 1:
        return None, f"{len(urls)} files were dropped; drop one recording or rig file."
    if not urls or not urls[0].isLocalFile():
        return None, "Only files on this computer can be opened."
    return whole(Path(urls[0].toLocalFile())), ""


def harmless(event: QDropEvent) -> Qt.DropAction | None:
    """The action of a drop that leaves the files where they are, None where its source offers no such one.

    What is proposed may be to move them: whoever dragged them then takes them away.
    """
    harmless = (Qt.DropAction.CopyAction, Qt.DropAction.LinkAction)
    return next((a for a in harmless if event.possibleActions() & a), None)


def rig_to_open(parent: QWidget, start: Path) -> Path | None:
    """A rig file to read, None when the user thinks better of it."""
    name, _ = QFileDialog.getOpenFileName(parent, "Open rig file", str(_reached(start)), RIGS)
    return Path(name) if name else None


def rig_to_save(parent: QWidget, start: Path) -> Path | None:
    """A rig file to write, None when the user thinks better of it. It ends in .toml."""
    name, _ = QFileDialog.getSaveFileName(parent, "Save rig file", str(_saved_in(start)), RIGS)
    if not name:
        return None
    path = Path(name)
    if path.suffix.lower() == ".toml":
        return path  # one that exists was asked about by the dialog
    path = path.with_name(f"{path.name}.toml")
    yes, no = QMessageBox.StandardButton.Yes, QMessageBox.StandardButton.No
    wanted = not path.exists() or yes == QMessageBox.question(
        parent, "Save rig file", f"{path.name} exists already. Replace it?", yes | no, no
    )  # fmt: skip
    return path if wanted else None


def folder(parent: QWidget, start: Path, what: str = "snapshots") -> Path | None:
    """A folder for snapshots or recordings, None when the user thinks better of it."""
    name = QFileDialog.getExistingDirectory(parent, f"Folder of {what}", str(_reached(start)))
    return Path(name) if name else None


def forget(parent: QWidget) -> bool:
    """Whether what is remembered shall go."""
    yes, no = QMessageBox.StandardButton.Yes, QMessageBox.StandardButton.No
    answer = QMessageBox.question(
        parent, "Forget window and choices",
        "Forget the window's place, view, network, sources, recent recordings and folders, and what is kept "
        "before recordings?",
        yes | no, no,  # Enter alone loses nothing
    )  # fmt: skip
    return answer == yes


def about(parent: QWidget) -> None:
    """Who this is."""
    try:
        number = version("halfmirror")
    except PackageNotFoundError:
        number = "from source"
    QMessageBox.about(
        parent, "About Halfmirror",
        f"<b>Halfmirror</b> {number}<p>Sees through motion blur, live: an event camera and an RGB camera "
        "behind one half-silvered mirror.<p>Licence: Apache-2.0. Uses Qt through PySide6 (LGPL-3.0).",
    )  # fmt: skip
