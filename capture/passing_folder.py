"""Folders that end with the program that made them, also where it was killed: the next one sweeps them away.

A lock in the folder tells that its maker lives, or a fork of it, whatever process ids are called elsewhere (two
containers that share the place see no process of each other). Without a lock nothing is proven, and it stays.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import weakref
from pathlib import Path

from capture.scratch import scratch_root

LOCK = "lock"


def lock_folder(folder: Path) -> int | None:
    """A lock that ends with this process; None where the file system has none.

    Returns:
        The descriptor that holds it; processes that are started do not inherit it.
    """
    fd = os.open(folder / LOCK, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        (folder / LOCK).unlink()
        return None
    return fd


class PassingFolder:
    """A new folder that this user alone can enter (mode 0700); gone at the end of the program at the latest.

    Those of the same prefix that were left by killed programs of this user are removed.

    Args:
        prefix: of its name.
        place: where; None: the folder for temporary files.
        name: its whole name, which begins with the prefix and is not taken; None: a new one.

    Attributes:
        path: the folder. It holds a file `LOCK`.

    Raises:
        OSError: it cannot be made.
    """

    def __init__(self, prefix: str, place: Path | None = None, name: str | None = None) -> None:
        root = scratch_root() if place is None else place
        _sweep(root, prefix)
        made = Path(tempfile.mkdtemp(prefix=f".{prefix}", dir=root))
        held = lock_folder(made)
        self.path = made.rename(made.with_name(name or made.name[1:]))  # seen by others only with its lock
        self._remove = weakref.finalize(self, _remove, self.path, held, os.getpid())

    def remove(self) -> None:
        """Remove the folder and all in it. Idempotent."""
        self._remove()

    def __enter__(self) -> Path:
        return self.path

    def __exit__(self, *exc: object) -> None:
        self.remove()


def _remove(folder: Path, held: int | None, owner: int) -> None:
    if os.getpid() != owner:  # a fork has this finaliser, too, and not the folder
        return
    shutil.rmtree(folder, ignore_errors=True)
    if held is not None:
        os.close(held)


def _sweep(root: Path, prefix: str) -> None:
    try:
        with os.scandir(root) as entries:
            found = [Path(e) for e in entries if e.name.startswith(prefix) and e.is_dir(follow_symlinks=False)]
    except OSError:
        return
    for folder in found:
        with contextlib.suppress(OSError):  # another user's, or somebody else was quicker
            if folder.stat().st_uid == os.getuid() and _left(folder):
                shutil.rmtree(folder, ignore_errors=True)


def _left(folder: Path) -> bool:
    """Its maker has gone. Raises `OSError`: that cannot be told."""
    fd = os.open(folder / LOCK, os.O_RDWR | os.O_NOFOLLOW)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(fd)
    return True
