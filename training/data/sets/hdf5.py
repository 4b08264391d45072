"""What the readers of HDF5 files share, on top of `recordings.formats.hdf5_arrays`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recordings.formats.dataset_source import MAX_PICTURE_BYTES, picture
from recordings.formats.hdf5_arrays import array, inside, opened, whole
from recordings.formats.names import natural

__all__ = ["array", "digest", "keys", "opened", "rgb", "values"]


def keys(file: Any, group: str, prefix: str) -> list[str]:
    """Names in a group that begin so, in order of their numbers; none where there is no group."""
    if not inside(file, group):
        return []
    return sorted((k for k in file[group] if k.startswith(prefix)), key=lambda k: natural(Path(k)))


def values(file: Any, name: str) -> NDArray[Any]:
    """One picture or grid as a whole.

    Raises:
        Refused: no array of numbers in the file itself. FrameRefused: too large, or damaged.
    """
    # A grid has six float32 channels where a picture has three bytes.
    return whole(array(file, name), 8 * MAX_PICTURE_BYTES)


def rgb(file: Any, name: str, *, planes_first: bool) -> NDArray[np.uint8]:
    """A picture that is stored as BGR or gray."""
    return picture(values(file, name), planes_first=planes_first, bgr=True)


def digest(*paths: str | Path) -> str:
    """Changes when the files do: their names' last parts and sizes."""
    out = []
    for path in map(Path, paths):
        try:
            out.append(f"{path.name}:{path.stat().st_size}")
        except OSError:
            out.append(path.name)
    return ",".join(out)
