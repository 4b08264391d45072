"""Which data set's layout a file or folder has, and its `Source`. Runs in the sandbox's child."""

from __future__ import annotations

from pathlib import Path

from recordings.formats.aedat_header import MAGIC_2, MAGIC_3
from recordings.formats.dataset_source import Source
from recordings.formats.esl_mat import EslSource, mat_files
from recordings.formats.event_files import event_columns
from recordings.formats.msrbd import MsRbdSource, is_pair, sequences
from recordings.formats.names import files_with
from recordings.formats.npy_members import Archive
from recordings.formats.ros_magic import BAG_MAGICS, BAG_METADATA
from recordings.formats.spike_files import SPIKE_NAMES, SpikeSource
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
        start = f.read(16)
    if start.startswith(HDF5_MAGIC):
        return _hdf5(path, size)
    if start.startswith(MAGIC_2):
        from recordings.formats.aedat2 import Aedat2Source

        return Aedat2Source(path, size)
    if start.startswith(MAGIC_3):
        from recordings.formats.aedat3 import Aedat3Source

        return Aedat3Source(path, size)
    if start.startswith(b"PK"):
        return _npz(path, size)
    if start.startswith(BAG_MAGICS):
        from recordings.formats.ros_bag import RosBagSource

        return RosBagSource(path, size)
    return SpikeSource.of_dat(path, size)


def _hdf5(path: Path, size: tuple[int, int] | None) -> Source:
    """By the names in it: many programs write HDF5."""
    from recordings.formats.dsec_h5 import DsecSource, is_dsec
    from recordings.formats.efnet_h5 import EfnetSource, ScerSource
    from recordings.formats.hdf5_arrays import inside, opened
    from recordings.formats.prophesee_h5 import EVENTS, PropheseeH5Source

    file = opened(str(path))
    if inside(file, EVENTS):
        return PropheseeH5Source(file, size)
    if inside(file, "events/xs"):
        return EfnetSource(file)
    if is_dsec(file):
        return DsecSource(file, path, size)
    if inside(file, "voxels"):
        return ScerSource(file)
    listed = ", ".join(sorted(str(n)[:40] for n in list(file)[:12]))
    raise Refused(f"is an HDF5 file with {listed or 'nothing in it'}, which is no layout that is known")


def _npz(path: Path, size: tuple[int, int] | None) -> Source:
    with Archive(path) as archive:
        names = archive.names
    if is_pair(names):
        return MsRbdSource([path], size)
    if spikes := [n for n in SPIKE_NAMES if n in names]:
        return SpikeSource.of_npz(path, spikes[0])
    if event_columns(names):
        raise Refused("holds events and no pictures; give the folder that holds both")
    listed = ", ".join(sorted(names)[:12])
    raise Refused(f"is an .npz with the arrays {listed or '(none)'}, which is no layout that is known")


def _folder(path: Path, size: tuple[int, int] | None) -> Source:
    from recordings.formats.highrev import HighRevSource, is_highrev
    from recordings.formats.picture_folder import PictureFolder

    if (path / BAG_METADATA).is_file():
        from recordings.formats.ros_bag import RosBagSource

        return RosBagSource(path, size)
    if is_highrev(path):
        return HighRevSource(path, size)
    files = files_with(path, ".npz")
    if files:
        names = _first_names(files)
        if event_columns(names) and not is_pair(names):
            raise Refused("holds event files and no pictures; give the folder with both")
        found = sequences(files)
        if len(found) > 1:
            listed = ", ".join(found[:8]) + (", …" if len(found) > 8 else "")
            raise Refused(f"holds {len(found)} sequences ({listed}); put one into a folder of its own")
        return MsRbdSource(files, size)
    if mat_files(path):
        return EslSource(path, size)
    return PictureFolder(path, size, _events_file)


def _first_names(files: list[Path]) -> frozenset[str]:
    """The arrays of the first file that can be opened; of the others the layout's own reader tells."""
    for path in files:
        try:
            with Archive(path, path.name) as archive:
                return archive.names
        except Refused:
            if path == files[-1]:
                raise
    return frozenset()


def _events_file(path: Path, size: tuple[int, int] | None) -> Source:
    """The events file of a folder: a data set's, or a recording that this program reads in one process."""
    try:
        with path.open("rb") as f:
            start = f.read(16)
    except OSError as e:
        raise Refused(f"{path.name} cannot be read ({e.strerror or e})") from e
    if start.startswith((HDF5_MAGIC, MAGIC_2, MAGIC_3)):
        return open_source(path, size)
    from recordings.formats.recorded_events import RecordedEvents

    return RecordedEvents(path, size, start)
