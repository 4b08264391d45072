"""Pools onto this machine: downloaded once, checked photo by photo, kept in the cache, whole or not at all.

Folder: the environment variable HALFMIRROR_CACHE, else the user's cache folder, in `photos/`. A pool's folder
has a piece of the hash of its catalogue in its name, so a newer catalogue never meets an older download.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from capture.passing_folder import PassingFolder
from training.photos import clients, unpack
from training.photos.photo import Photo, PhotoError
from training.photos.pools import Entry, Package, Pool
from training.photos.resource_file import ResourceFileError
from training.photos.resource_file import files as resource_files

Say = Callable[[str], None]
"""Told what is being done, one short line each time."""


def folder() -> Path:
    """Where pools are kept: HALFMIRROR_CACHE or the user's cache folder, in `photos/`."""
    import platformdirs

    root = os.environ.get("HALFMIRROR_CACHE") or platformdirs.user_cache_dir("halfmirror")
    return Path(root).expanduser() / "photos"


def place(pool: Pool) -> Path:
    """The folder of a pool's photos, there or not."""
    return folder() / f"{pool.name}-{hashlib.sha256(pool.model_dump_json().encode()).hexdigest()[:12]}"


def path_of(pool: Pool, entry: Entry) -> Path:
    """The file of one photo, there or not."""
    suffix = Path(entry.inside or entry.path).suffix.lower()
    return place(pool) / f"{entry.name}{suffix}"


def is_fetched(pool: Pool) -> bool:
    """Whether every photo of a pool is there. Contents are checked by `fetch` and when a photo is loaded."""
    return all(path_of(pool, e).is_file() for e in pool.photos)


def photos(pool: Pool) -> list[Photo]:
    """The photos of a fetched pool, in the catalogue's order.

    Raises:
        PhotoError: the pool has not been fetched, or a file has been damaged since.
    """
    from training.photos.decode import NotAPhoto, header, read

    found = []
    for entry in pool.photos:
        path = path_of(pool, entry)
        try:
            data = read(path)
            if hashlib.sha256(data).hexdigest() != entry.sha256:
                raise NotAPhoto("is not what was fetched")
            size = header(data)
        except NotAPhoto as e:
            raise PhotoError(f"{path} {e}: run halfmirror photos fetch {pool.name}") from e
        found.append(
            Photo(
                f"{pool.name}/{entry.name}", path, entry.sha256, size.width, size.height,
                entry.licence, entry.author, entry.source,
            )
        )  # fmt: skip
    return found


def fetch(pools: Iterable[Pool], say: Say = lambda _: None) -> None:
    """Make sure that these pools are there and whole; each package is downloaded once.

    Raises:
        PhotoError: a client is missing, offline, a version is gone, a checksum is wrong, the disk is full.
    """
    missing = [p for p in dict.fromkeys(pools) if not _whole(p)]
    if not missing:
        return
    try:
        folder().mkdir(parents=True, exist_ok=True)
        with PassingFolder("fetching-", folder()) as work:
            archives: dict[Package, Path] = {}
            for pool in missing:
                _fetch(pool, work, archives, say)
    except OSError as e:
        why = e.strerror or str(e)
        raise PhotoError(
            f"photos cannot be kept in {folder()}: {why}; HALFMIRROR_CACHE names another place"
        ) from e


def _whole(pool: Pool) -> bool:
    try:
        photos(pool)
    except PhotoError:
        return False
    return True


def _fetch(pool: Pool, work: Path, archives: dict[Package, Path], say: Say) -> None:
    staged = work / pool.name
    staged.mkdir()
    for package in pool.packages:
        if package not in archives:
            say(f"{pool.name}: fetching {package.name} {package.version}")
            target = work / f"package-{len(archives)}"
            target.mkdir()
            archives[package] = clients.download(package, target)
        entries = [e for e in pool.photos if e.package == package.name]
        for entry, data in zip(entries, _contents(archives[package], entries), strict=True):
            if hashlib.sha256(data).hexdigest() != entry.sha256:
                raise PhotoError(
                    f"{pool.name}/{entry.name} in {archives[package].name} has another checksum than the "
                    "catalogue: the package has changed or is damaged; nothing of this pool was kept"
                )
            (staged / path_of(pool, entry).name).write_bytes(data)
    final = place(pool)
    if not _whole(pool):
        shutil.rmtree(final, ignore_errors=True)
    try:
        staged.rename(final)
    except OSError:  # there again: another process was quicker
        if not _whole(pool):
            raise
    say(f"{pool.name}: {len(pool.photos)} photos in {final}")


def _contents(archive: Path, entries: list[Entry]) -> list[bytes]:
    outer = unpack.members(archive, {e.path for e in entries})
    found: dict[tuple[str, str], bytes] = {(path, ""): data for path, data in outer.items()}
    for path in {e.path for e in entries if e.inside}:
        wanted = {e.inside for e in entries if e.path == path}
        try:
            inner = resource_files(outer[path], wanted)
        except ResourceFileError as e:
            raise PhotoError(f"{path} in {archive.name} {e}") from e
        found |= {(path, name): data for name, data in inner.items()}
    for entry in entries:
        if (entry.path, entry.inside) not in found:
            raise PhotoError(f"{archive.name} does not contain {entry.inside}: it is another version")
    return [found[entry.path, entry.inside] for entry in entries]
