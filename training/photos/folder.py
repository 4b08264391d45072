"""Any folder of photos, with everything below it: found, looked at once, sorted by name."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from capture.cores import usable_cores
from capture.errors import UsageError
from training.photos.decode import SUFFIXES, NotAPhoto, decode, header, read
from training.photos.likeness import held_out, likeness
from training.photos.photo import Photo, PhotoError, Skipped

# Pictures of kinds that are not read: named, so that nobody wonders where they are. Anything else is no photo.
_OTHER_PICTURES = (
    ".heic", ".heif", ".avif", ".jxl", ".jp2", ".tif", ".tiff", ".bmp", ".gif", ".dng", ".nef", ".cr2", ".arw",
)  # fmt: skip
_LOOK_SIDE = 256

Progress = Callable[[int, int], None]
"""Told how many files of how many have been looked at."""


def open_folder(
    folder: Path, progress: Progress = lambda _done, _all: None
) -> tuple[list[Photo], list[Skipped]]:
    """Every photo in a folder and below it, in the order of their paths, and what was not taken.

    Each file is decoded once, so that a damaged one is found now and not in the middle of a training run.
    Hidden files and folders are passed over; links to folders are not followed; of copies the first is taken;
    pictures that tests of this program use are left out (`likeness.held_out`).

    Raises:
        UsageError: no such folder, or a file.
        PhotoError: it cannot be read, or has no photo.
    """
    if not folder.exists():
        raise UsageError(f"{folder} does not exist; give a folder with photos, or package:NAME")
    if not folder.is_dir():
        raise UsageError(f"{folder} is a file; give the folder that it is in")
    unreadable: list[Skipped] = []
    files = sorted(_files(folder, unreadable), key=lambda p: p.relative_to(folder).as_posix())
    photos: list[Photo] = []
    skipped = unreadable
    seen: dict[str, str] = {}
    with ThreadPoolExecutor(max_workers=usable_cores()) as workers:
        for done, found in enumerate(workers.map(lambda p: _look(folder, p), files), start=1):
            progress(done, len(files))
            if isinstance(found, Photo):
                if (first := seen.setdefault(found.sha256, found.name)) == found.name:
                    photos.append(found)
                    continue
                found = Skipped(found.name, f"is a copy of {first}")
            skipped.append(found)
    if not photos:
        if not skipped:
            kinds = ", ".join(SUFFIXES)
            raise PhotoError(f"{folder} holds no photo ({kinds}); give another folder, or package:NAME")
        first_skipped = f"{skipped[0].name} {skipped[0].reason}"
        more = f"; {len(skipped) - 1} more likewise" if len(skipped) > 1 else ""
        raise PhotoError(f"{folder} holds no photo that can be used: {first_skipped}{more}")
    return photos, skipped


def _files(folder: Path, unreadable: list[Skipped]) -> Iterator[Path]:
    def refused(e: OSError) -> None:
        if e.filename is not None and Path(e.filename) == folder:
            raise PhotoError(f"{folder} cannot be read: {e.strerror}") from e
        name = Path(e.filename or "").relative_to(folder).as_posix() if e.filename else "a folder"
        unreadable.append(Skipped(f"{name}/", f"cannot be read ({e.strerror})"))

    for base, below, names in os.walk(folder, onerror=refused):
        below[:] = [b for b in below if not b.startswith(".")]
        for name in names:
            path = Path(base) / name
            if not name.startswith(".") and path.suffix.lower() in SUFFIXES + _OTHER_PICTURES:
                yield path


def _look(folder: Path, path: Path) -> Photo | Skipped:
    name = path.relative_to(folder).as_posix()
    try:
        if path.suffix.lower() not in SUFFIXES:
            raise NotAPhoto(f"is a {path.suffix[1:].upper()}, which is not read: convert it to JPEG or PNG")
        data = read(path)
        size = header(data)
        small = decode(data, _LOOK_SIDE)
    except NotAPhoto as e:
        return Skipped(name, str(e))
    if known := held_out(name, likeness(small)):
        return Skipped(name, f"is kept for tests ({known})")
    return Photo(name, path, hashlib.sha256(data).hexdigest(), size.width, size.height)
