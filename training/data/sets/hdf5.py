"""Numeric arrays of an HDF5 file from outside: only such as lie in the file itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from recordings.formats.dataset_source import MAX_PICTURE_BYTES, FrameRefused, picture
from recordings.pickle_steps import megabytes
from recordings.sandbox_child import Refused


def numbers(file: Any, name: str) -> Any:
    """A numeric array; its values are read when it is sliced. Links to elsewhere are not followed.

    Raises:
        Refused: not there, no array of numbers, or kept elsewhere.
    """
    here = file
    for part in name.split("/"):
        if not isinstance(here, h5py.Group) or part not in here:
            raise Refused(f"has no {name}")
        if not isinstance(here.get(part, getlink=True), h5py.HardLink):
            raise Refused(f"{name} is a link to elsewhere, which is not followed")
        here = here[part]
    if not isinstance(here, h5py.Dataset) or here.dtype.kind not in "biuf":
        raise Refused(f"{name} is no array of numbers")
    if here.is_virtual or here.external:
        raise Refused(f"{name} keeps its values outside the file, which are not read")
    return here


def keys(file: Any, group: str, prefix: str) -> list[str]:
    """Names in a group that begin so, in order; none where there is no group."""
    if group not in file or not isinstance(file.get(group, getlink=True), h5py.HardLink):
        return []
    return [k for k in sorted(file[group]) if k.startswith(prefix)]


def values(file: Any, name: str) -> NDArray[Any]:
    """One picture or grid as a whole.

    Raises:
        Refused: see `numbers`. FrameRefused: too large.
    """
    found = numbers(file, name)
    size = found.dtype.itemsize * found.size
    # A grid has six float32 channels where a picture has three bytes.
    if size > 8 * MAX_PICTURE_BYTES:
        raise FrameRefused(f"{name} takes {megabytes(size)} of memory")
    return np.asarray(found[()])


def rgb(file: Any, name: str, *, planes_first: bool) -> NDArray[np.uint8]:
    """A picture that is stored as BGR or gray."""
    return picture(values(file, name), planes_first=planes_first, bgr=True)


def opened(path: str) -> Any:
    """The file for reading."""
    return h5py.File(path, "r")


def digest(*paths: str | Path) -> str:
    """Changes when the files do: their names' last parts and sizes."""
    out = []
    for path in map(Path, paths):
        try:
            out.append(f"{path.name}:{path.stat().st_size}")
        except OSError:
            out.append(path.name)
    return ",".join(out)
