"""Prepared loops on disk: found again by a hash of what made them, whole or not at all.

Folder: the environment variable HALFMIRROR_CACHE, else the user's cache folder. An entry is one `.npz` file
(arrays only, nothing is unpickled; zip checks the CRC of every array), written under another name and renamed.
A lock file per entry keeps two processes from making the same entry twice. The oldest entries go when all
together exceed the limit. A folder that cannot be written costs a message, never the program.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
from numpy.typing import NDArray

try:
    import fcntl
except ImportError:  # Windows: without the lock two processes may do the same work twice; the result stands.
    fcntl = None  # type: ignore[assignment]

LIMIT_BYTES = 1_000_000_000

log = logging.getLogger(__name__)

Arrays = dict[str, NDArray[Any]]


def folder() -> Path:
    """Where entries lie: HALFMIRROR_CACHE or the user's cache folder, in `simulated/`."""
    root = os.environ.get("HALFMIRROR_CACHE") or platformdirs.user_cache_dir("halfmirror")
    return Path(root).expanduser() / "simulated"


@cache
def _code_version() -> str:
    """Hash of this package's sources: a loop made by other code is another loop."""
    h = hashlib.sha256()
    for item in sorted(resources.files("capture.simulated").iterdir(), key=lambda p: p.name):
        if item.name.endswith(".py"):
            h.update(item.read_bytes())
    return h.hexdigest()


def key(kind: str, values: dict[str, Any]) -> str:
    """Name of an entry: its kind and a hash of the values and the code that make it."""
    text = json.dumps([_code_version(), np.__version__, values], sort_keys=True, default=str)
    return f"{kind}-{hashlib.sha256(text.encode()).hexdigest()[:24]}"


def load(name: str) -> Arrays | None:
    """The entry of this name, None when there is none or it cannot be read. A damaged one is deleted."""
    path = folder() / f"{name}.npz"
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return None
    except OSError as e:  # another user's, or too many files are open: nothing is wrong with it
        log.warning("cached loop %s cannot be read (%s); it is made anew", path, e.strerror or e)
        return None
    try:
        with file, np.load(file, allow_pickle=False) as data:
            arrays = {k: data[k] for k in data.files}
        with contextlib.suppress(OSError):
            os.utime(path)  # the least recently used go first
        return arrays
    except MemoryError:
        raise
    except Exception as e:  # a damaged archive raises errors of many kinds
        log.warning("cached loop %s is damaged (%s); it is made anew", path, e)
        with contextlib.suppress(OSError):
            path.unlink()
        return None


def store(name: str, arrays: Arrays, limit: int = LIMIT_BYTES) -> bool:
    """Write an entry; False, with a warning in the log, when it cannot be kept."""
    size = sum(a.nbytes for a in arrays.values())
    if size > limit:
        return False
    temporary: str | None = None
    try:
        where = folder()
        where.mkdir(parents=True, exist_ok=True)
        fd, temporary = tempfile.mkstemp(dir=where, prefix=f"{name}.", suffix=".part")
        with os.fdopen(fd, "wb") as f:
            save: Any = np.savez
            save(f, **arrays)
        os.replace(temporary, where / f"{name}.npz")
        temporary = None
        _prune(where, limit, keep=f"{name}.npz")
        return True
    except OSError as e:
        log.warning("simulated scene: cannot be cached in %s (%s); it is made anew next time", folder(), e)
        return False
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)


def _prune(where: Path, limit: int, keep: str) -> None:
    """Delete the least recently used entries beyond the limit, and leftovers of killed writers."""
    entries: list[tuple[float, int, Path]] = []
    for p in where.iterdir():
        with contextlib.suppress(OSError):
            s = p.stat()
            if p.suffix == ".npz":
                entries.append((s.st_mtime, s.st_size, p))
            elif p.suffix in (".part", ".lock") and time.time() - s.st_mtime > 24 * 3600:
                p.unlink()  # a killed writer's; nobody holds a lock for a day
    total = sum(size for _, size, _ in entries)
    for _, size, p in sorted(entries):
        if total <= limit:
            break
        if p.name != keep:
            with contextlib.suppress(OSError):
                p.unlink()
                total -= size


@contextlib.contextmanager
def _lock(name: str, wait: Callable[[], None]) -> Iterator[None]:
    """Hold the entry's lock, calling `wait` while another process has it; without a lock where none works."""
    handle = None
    if fcntl is not None:
        try:
            folder().mkdir(parents=True, exist_ok=True)
            handle = open(folder() / f"{name}.lock", "wb")  # noqa: SIM115
        except OSError:
            handle = None
    try:
        while handle is not None:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                wait()
                time.sleep(0.05)
            except OSError:  # a file system without locks
                break
        yield
    finally:
        if handle is not None:
            handle.close()


def fetch(name: str, make: Callable[[], Arrays], wait: Callable[[], None] = lambda: None) -> Arrays:
    """The entry of this name, made and kept when it is not there yet.

    `wait` is called now and then while another process makes it.
    """
    found = load(name)
    if found is not None:
        return found
    with _lock(name, wait):
        found = load(name)
        if found is None:
            found = make()
            store(name, found)
    return found
