"""Output that appears whole or not at all: written to `.NAME.part` beside the target, renamed at the end."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from app.signals import shielded
from capture.errors import HalfmirrorError, UsageError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_UNTOLD = {errno.EIO, errno.ETIMEDOUT}  # these numbers say nothing by themselves


class OutputError(HalfmirrorError):
    """Output cannot be written (disk full, no permission). The message names the place and what to do."""


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn an `OSError` of the block, which writes to `path`, into one sentence.

    Raises:
        OutputError: with a sentence of its own for a full disk or a quota.
    """
    try:
        yield
    except OSError as e:
        if e.errno in _FULL:
            # FAT32's files end at 4 GiB.
            larger = ", or it is larger than a file can be there" if e.errno == errno.EFBIG else ""
            raise OutputError(
                f"disk full while writing {path} ({_free(path)}{larger}); the partial output was removed: "
                "free some space or choose another place with -o"
            ) from e
        why = os.strerror(e.errno) if e.errno and 0 < e.errno < 4096 else str(e)
        if e.errno in _UNTOLD and e.strerror:  # a writer's own words; HDF5's are a page
            why = e.strerror.splitlines()[0]
        raise OutputError(f"cannot write {path}: {why}; choose another place with -o") from e


def part_of(final: Path) -> Path:
    """The name under which `final` is written until it is whole; hidden, so that it is nobody else's."""
    return final.with_name(f".{final.name}.part")


def require_place(final: Path) -> None:
    """Try whether files can be written beside `final`, before minutes of work are done for it. Leaves nothing.

    Raises:
        OutputError: the place cannot be written to.
    """
    with writing(final):
        tempfile.TemporaryFile(dir=folder_of(final)).close()


def folder_of(final: Path) -> Path:
    """The innermost folder that is there already, of those in which `final` will lie."""
    # Unlike `Path.resolve`, this has no error for a link that leads to itself.
    final = Path(os.path.realpath(final)) if final.is_symlink() else final.absolute()
    folder = final if _mounted(final) else final.parent
    while not folder.exists():
        folder = folder.parent
    return folder


@contextmanager
def staged_file(final: Path, *, overwrite: bool | None = False) -> Iterator[Path]:
    """Give the path to write to; rename it to `final` when the block ends well, remove it otherwise,
    and with it the folders that were made for it. A link to a file stays one: what it leads to is replaced. One
    that leads nowhere is replaced itself: whoever made it does not choose where a new file comes to lie.

    A `.part` left by a killed run is replaced. Two runs at once on the same target: the second is refused.
    `overwrite` None: off, and the command has no such option that could be named.

    Raises:
        UsageError: `final` exists and `overwrite` is off, is a folder, or is being written by another run.
        OutputError: the place cannot be written to.
    """
    if final.is_dir():
        raise UsageError(f"{final} is a folder; give the name of a file with -o")
    if final.exists() and not final.is_file():  # a device or a pipe: its name would be taken from it
        raise UsageError(f"{final} is no ordinary file; give another name with -o")
    _refuse_existing(final, overwrite)
    final = final.resolve() if final.is_symlink() and final.exists() else final
    part = part_of(final)
    made = _missing_parents(final)
    with writing(final):
        final.parent.mkdir(parents=True, exist_ok=True)
        if part.is_dir():
            raise UsageError(f"{part} is a folder and in the way; remove it")
        lock = os.open(part, os.O_CREAT | os.O_RDWR, 0o666)
    try:
        _hold(lock, part, final)
        try:
            with writing(final):
                os.ftruncate(lock, 0)
            yield part
            with writing(final):
                _sync(part)
                _refuse_existing(final, overwrite)  # it may have come into being meanwhile
                os.replace(part, final)
        except BaseException:
            part.unlink(missing_ok=True)
            _remove_empty(made)
            raise
    finally:
        os.close(lock)


@contextmanager
def staged_folder(
    final: Path, *, overwrite: bool | None = False, ours: Callable[[Path], bool] = lambda _: False
) -> Iterator[Path]:
    """Give a new folder to fill; rename it to `final` when the block ends well, remove it otherwise,
    and with it the folders that were made for it.

    An existing empty folder may be used. With `overwrite` an existing folder is replaced only if `ours` says
    that it is an earlier output of the same kind: a folder with anything else in it is never removed. None:
    off, and the command has no such option that could be named. A link stays one: what it leads to is filled. A
    folder that a disk is mounted on cannot be renamed over, so that it is written inside of it.

    Raises:
        UsageError: `final` exists, is a file, holds other things, or is being written by another run.
        OutputError: the place cannot be written to.
    """
    if final.name in ("", "..") or (final.is_dir() and final.samefile(os.curdir)):
        # Renamed over, the folder that the shell stands in would be gone under its feet.
        raise UsageError(f"{final} is the working folder or above it; name a new folder with -o")
    if final.exists() and not final.is_dir():
        raise UsageError(f"{final} is a file; give the name of a folder, or of a video ending in .mp4, with -o")
    if final.is_symlink():
        try:
            final = final.resolve()
        except (OSError, RuntimeError) as e:
            raise UsageError(f"{final} is a link that leads nowhere; give another name with -o") from e
    part = final / part_of(final).name if _mounted(final) else part_of(final)
    used = final.is_dir() and any(p != part for p in final.iterdir())
    if used and not overwrite:
        raise UsageError(f"{final} exists already and is not empty; {_instead(overwrite)}")
    if used and not ours(final):
        raise UsageError(
            f"{final} holds files that this program did not write, so it is not replaced; give another folder"
        )
    made = _missing_parents(final)
    with writing(final):
        final.parent.mkdir(parents=True, exist_ok=True)
        part.mkdir(exist_ok=True)
        lock = os.open(part, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _hold(lock, part, final)
        try:
            with writing(final):
                _empty(part)
            yield part
            with writing(final):
                os.fsync(lock)
                _swap(part, final)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            _remove_empty(made)
            raise
    finally:
        os.close(lock)


def _missing_parents(final: Path) -> list[Path]:
    """The folders above `final` that are not there, the innermost first."""
    return [p for p in final.parents if not p.exists()]


def _remove_empty(folders: list[Path]) -> None:
    with contextlib.suppress(OSError):  # another run has put something there
        for folder in folders:
            folder.rmdir()


def _refuse_existing(final: Path, overwrite: bool | None) -> None:
    if final.exists() and not overwrite:
        raise UsageError(f"{final} exists already; {_instead(overwrite)}")


def _instead(overwrite: bool | None) -> str:
    return "give another name with -o" if overwrite is None else "give another name or --overwrite"


def _hold(lock: int, part: Path, final: Path) -> None:
    """Take the advisory lock on `part`, or say that another run has it."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        held = False
    except BlockingIOError:
        held = True
    except OSError:  # no locks on this file system
        held = False
    same = False
    if not held:
        # The other run may have renamed what was opened here between opening and locking.
        with contextlib.suppress(OSError):
            same = os.path.samestat(os.fstat(lock), os.stat(part))
    if not same:
        raise UsageError(f"{final} is being written by another run of the program; wait or choose another")


def _mounted(folder: Path) -> bool:
    return folder.is_dir() and folder.is_mount()


def _empty(folder: Path, but: Path | None = None) -> None:
    for entry in folder.iterdir():
        if entry == but:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def _swap(part: Path, final: Path) -> None:
    """Rename `part` to `final`; an old `final` is moved aside first and comes back if that fails."""
    if part.parent == final:
        with shielded():  # deleting the old takes a while, and without the new one nothing would be left
            _empty(final, but=part)
            for entry in part.iterdir():
                os.replace(entry, final / entry.name)
            part.rmdir()
        return
    if not final.is_dir() or not any(final.iterdir()):
        os.replace(part, final)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{final.name}.", dir=final.parent))
    try:
        os.replace(final, old)
    except OSError:
        old.rmdir()
        raise
    try:
        os.replace(part, final)
    except OSError:
        os.replace(old, final)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _sync(path: Path) -> None:
    """Have the bytes on the disk before the name says that they are there (late "disk full" surfaces here)."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _free(path: Path) -> str:
    for folder in (path, *path.parents):
        try:
            return f"{shutil.disk_usage(folder).free / 1e6:.0f} MB free there"
        except OSError:
            continue
    return "free space unknown"
