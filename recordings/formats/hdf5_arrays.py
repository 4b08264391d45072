"""Arrays in HDF5 files from outside: only numbers, only values that lie in the file itself, in pieces.

Links to other files and values kept outside the file are not followed. Compression by a filter that HDF5 does
not bring along needs a plug-in on this machine; where that is missing, the message says which.

HDF5's C library meets such files only in the sandbox's child.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from recordings.formats.dataset_source import FrameRefused
from recordings.pickle_steps import megabytes
from recordings.sandbox_child import Refused

ECF = 0x8ECF
# So many bytes of memory may come out of one stored byte (constant values pack best); less is never doubted.
LARGEST_RATIO, LEAST_DOUBTED = 100_000, 64 << 20
# After so many damaged parts in a row nothing more is expected of a list.
MAX_DAMAGED = 100
# What the filters that recordings are seen with are called, and where their plug-ins come from.
_FILTERS = {
    ECF: (
        "ECF, whose codec comes with the maker's tools and was not found (HDF5_PLUGIN_PATH); "
        "convert the file to RAW with these tools, on a machine that has them"
    ),
    32000: "LZF, which this HDF5 library lacks",
    32001: "Blosc; install its plug-in: pip install 'halfmirror[datasets]'",
    32004: "LZ4; install its plug-in: pip install 'halfmirror[datasets]'",
    32008: "Bitshuffle; install its plug-in: pip install 'halfmirror[datasets]'",
    32015: "Zstandard; install its plug-in: pip install 'halfmirror[datasets]'",
    32026: "Blosc2; install its plug-in: pip install 'halfmirror[datasets]'",
}


def opened(path: str) -> Any:
    """The file, with the filters of `hdf5plugin` where that is installed."""
    with contextlib.suppress(ImportError):
        importlib.import_module("hdf5plugin")  # registers its filters when it is imported
    return h5py.File(path, "r", locking=False)  # one that is being written is locked


def inside(file: Any, name: str) -> bool:
    """Something of this name lies in the file itself; links are not followed."""
    here = file
    for part in name.split("/"):
        try:
            if not isinstance(here, h5py.Group) or not isinstance(here.get(part, getlink=True), h5py.HardLink):
                return False
            here = here[part]
        except (KeyError, ValueError, RuntimeError, OSError):
            return False
    return True


def array(file: Any, name: str) -> Any:
    """A numeric array (its values are read when it is sliced).

    Raises:
        Refused: not there, no array, no numbers, elsewhere, or packed by a filter that is missing.
    """
    found = _dataset(file, name)
    if found.dtype.kind not in "biuf":
        kind = "Python objects or text" if found.dtype.kind == "O" else f"the type {found.dtype}"
        raise Refused(f"{name} holds {kind[:60]}, which is not read")
    return found


def table(file: Any, name: str, columns: tuple[str, ...]) -> Any:
    """A list of rows with these numeric columns, which alone are read; see `array`."""
    found = _dataset(file, name)
    fields = found.dtype.fields or {}
    missing = [c for c in columns if c not in fields]
    if missing or found.ndim != 1:
        raise Refused(f"{name} has no {', '.join(missing) or 'rows'}; expected rows of {', '.join(columns)}")
    for c in columns:
        if fields[c][0].kind not in "biuf" or fields[c][0].shape:
            raise Refused(f"{name} holds {c} of the type {str(fields[c][0])[:60]}, which is not read")
    _check_length(found, name)
    return found.fields(list(columns))


def lists(file: Any, names: dict[str, str]) -> tuple[dict[str, Any], int]:
    """Numeric arrays of one dimension and one length, by short names, and that length.

    Raises:
        Refused: see `array`; of different lengths, or longer than what is stored can be.
    """
    columns = {short: array(file, name) for short, name in names.items()}
    lengths = {c.shape for c in columns.values()}
    if len(lengths) != 1 or any(c.ndim != 1 for c in columns.values()):
        raise Refused("its events are no four lists of one length")
    for short, name in names.items():
        _check_length(columns[short], name)
    return columns, int(lengths.pop()[0])


def _check_length(dataset: Any, name: str) -> None:
    """Refuse a list that nothing is stored for: it would be read for days, zero after zero."""
    declared, stored = dataset.dtype.itemsize * dataset.size, int(dataset.id.get_storage_size())
    if declared > LEAST_DOUBTED + LARGEST_RATIO * stored:
        raise Refused(f"{name} declares {megabytes(declared)} and {megabytes(stored)} are there")


def _dataset(file: Any, name: str) -> Any:
    here = file
    for part in name.split("/"):
        if part not in here:
            raise Refused(f"has no {name}")
        if not isinstance(here.get(part, getlink=True), h5py.HardLink):
            raise Refused(f"{name} is a link to elsewhere, which is not followed")
        here = here[part]
    if not isinstance(here, h5py.Dataset):
        raise Refused(f"{name} is no array")
    if here.is_virtual or here.external:
        raise Refused(f"{name} keeps its values outside the file, which are not read")
    _check_filters(here, name)
    return here


def _check_filters(dataset: Any, name: str) -> None:
    plan = dataset.id.get_create_plist()
    for k in range(plan.get_nfilters()):
        number = int(plan.get_filter(k)[0])
        if not h5py.h5z.filter_avail(number):
            what = _FILTERS.get(number, f"a filter that is not installed (number {number})")
            raise Refused(f"{name} is packed with {what}")


def attribute(attributes: Any, key: str, what: str) -> float | None:
    """One number among the attributes; None when it is not there.

    Raises:
        Refused: it is no finite number.
    """
    if key not in attributes:
        return None
    value = np.asarray(attributes[key])
    if value.dtype.kind not in "biuf" or value.size != 1 or not np.isfinite(value).all():
        raise Refused(f"{what}'s {key} is no number")
    return float(value.reshape(()))


def text_attribute(attributes: Any, key: str) -> str:
    """A text among the attributes, "" when there is none."""
    if key not in attributes:
        return ""
    value = attributes[key]
    if isinstance(value, bytes):
        return value.decode("latin-1")[:200]
    return value[:200] if isinstance(value, str) else ""


def slices(
    columns: dict[str, Any], first: int, count: int, length: int
) -> Iterator[tuple[NDArray[Any], ...] | str]:
    """Columns side by side in pieces; a line of text where a part cannot be read and is passed over."""
    in_a_row = 0
    for a in range(first, count, length):
        part = slice(a, min(a + length, count))
        try:
            yield tuple(c[part] for c in columns.values())
            in_a_row = 0
        except (OSError, RuntimeError) as e:
            why = " ".join(str(e).split())[:80]
            yield f"events {part.start} to {part.stop} cannot be read ({why}); they were passed over"
            in_a_row += 1
            if in_a_row == MAX_DAMAGED:
                yield f"nor could the {MAX_DAMAGED} parts before; the rest of the events is not read"
                return


def whole(dataset: Any, limit: int) -> NDArray[Any]:
    """All values of one picture.

    Raises:
        FrameRefused: too large, or damaged.
    """
    size = dataset.dtype.itemsize * dataset.size
    if size > limit:
        raise FrameRefused(f"takes {megabytes(size)} of memory; at most {megabytes(limit)} are read")
    try:
        return np.asarray(dataset[()])
    except (OSError, RuntimeError) as e:
        raise FrameRefused(f"its pixels cannot be read ({' '.join(str(e).split())[:80]})") from e
