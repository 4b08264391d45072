"""Which data set's layout a file or folder has, and its `Source`. Runs in the sandbox's child."""

from __future__ import annotations

from pathlib import Path

from recordings.formats.dataset_source import Source
from recordings.formats.msrbd import MsRbdSource, is_pair, sequences
from recordings.formats.npy_members import Archive
from recordings.sandbox_child import Refused

HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"


def open_source(path: Path, geometry: tuple[int, ...] | None) -> Source:
    """The source that reads `path`.

    Raises:
        Refused: of no known layout; the message says what is in it.
    """
    size = None if geometry is None else (geometry[0], geometry[1])
    if path.is_dir():
        return _folder(path, size)
    with path.open("rb") as f:
        hdf5 = f.read(len(HDF5_MAGIC)) == HDF5_MAGIC
    if hdf5:
        from recordings.formats.efnet_h5 import EfnetSource

        return EfnetSource(path)
    return _npz(path, size)


def _npz(path: Path, size: tuple[int, int] | None) -> Source:
    with Archive(path) as archive:
        names = archive.names
    if is_pair(names):
        return MsRbdSource([path], size)
    listed = ", ".join(sorted(names)[:12])
    raise Refused(f"is an .npz with the arrays {listed or '(none)'}, which is no layout that is known")


def _folder(path: Path, size: tuple[int, int] | None) -> Source:
    files = sorted(path.glob("*.npz"))
    if files:
        found = sequences(files)
        if len(found) > 1:
            names = ", ".join(found[:8]) + (", …" if len(found) > 8 else "")
            raise Refused(f"holds {len(found)} sequences ({names}); put one into a folder of its own")
        return MsRbdSource(files, size)
    raise Refused("is a folder of no layout that is known")
