"""Lists that grow in an HDF5 file, and its errors as Python's."""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

CHUNK = 65_536
_ERRNO = re.compile(r"\berrno = ([1-9]\d{0,3})\b")


@contextlib.contextmanager
def disk_errors() -> Iterator[None]:
    """HDF5 tells what the system said in words only: as the `OSError` that it is.

    Raises:
        OSError: any failure to write.
    """
    try:
        yield
    except (OSError, RuntimeError) as e:
        if number := _ERRNO.search(str(e)):  # a full disk, a quota, a file that is as large as one can be there
            raise OSError(int(number[1]), os.strerror(int(number[1]))) from e
        if "No space left" in str(e):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from e
        if isinstance(e, OSError):
            raise
        raise OSError(errno.EIO, f"HDF5: {str(e).splitlines()[0]}") from e


def create(path: Path) -> h5py.File:
    """A new file. Raises `OSError`."""
    with disk_errors():
        return h5py.File(path, "w", locking=False)  # who writes where is settled before this


class GrowingList:
    """One list of values in a file, packed with gzip, appended to in large pieces."""

    def __init__(self, file: Any, name: str, dtype: Any) -> None:
        self._dtype = np.dtype(dtype)
        self._list = file.create_dataset(
            name, (0,), self._dtype, maxshape=(None,), chunks=(CHUNK,), compression="gzip", compression_opts=1,
            shuffle=True,
        )  # fmt: skip
        self._waiting: list[NDArray[Any]] = []
        self._count = 0

    def append(self, values: NDArray[Any]) -> None:
        """More values. Raises `OSError`."""
        self._waiting.append(values.astype(self._dtype))
        self._count += len(values)
        if self._count >= CHUNK:
            self.flush()

    def flush(self) -> None:
        """Hand over what waits. Raises `OSError`."""
        values = np.concatenate(self._waiting) if self._waiting else np.empty(0, self._dtype)
        self._waiting, self._count = [], 0
        if len(values):
            n = self._list.shape[0]
            with disk_errors():
                self._list.resize((n + len(values),))
                self._list[n:] = values
