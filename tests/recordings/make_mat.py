"""MATLAB files of format 5 and 7.3, written from the format's description, and eSL-Net's folders of them."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from capture.packets import Events
from tests.recordings.make_datasets import FRAMES, exposure
from tests.recordings.make_folders import SIZE, write_pictures

TYPES = {"i1": 1, "u1": 2, "i2": 3, "u2": 4, "i4": 5, "u4": 6, "f4": 7, "f8": 9, "i8": 12, "u8": 13}
CLASSES = {"f8": 6, "f4": 7, "i1": 8, "u1": 9, "i2": 10, "u2": 11, "i4": 12, "u4": 13, "i8": 14, "u8": 15}


def element(kind: int, data: bytes, order: str = "<", small: bool = True) -> bytes:
    """One element; up to four bytes stand in its tag."""
    if small and 0 < len(data) <= 4:
        return struct.pack(f"{order}I", len(data) << 16 | kind) + data.ljust(4, b"\0")
    return struct.pack(f"{order}II", kind, len(data)) + data + bytes(-len(data) % 8)


def matrix(
    name: str,
    values: np.ndarray,
    *,
    order: str = "<",
    stored: str = "",
    kind: int | None = None,
    flags: int = 0,
) -> bytes:
    """One variable. `stored`: the type its values are kept as, as MATLAB does where they fit."""
    own = values.dtype.str[1:]
    stored = stored or own
    data = np.asfortranarray(values).astype(f"{order}{stored}").tobytes(order="F")
    inner = element(6, struct.pack(f"{order}II", flags << 8 | (kind or CLASSES[own]), 0), order, small=False)
    inner += element(5, struct.pack(f"{order}{values.ndim}i", *values.shape), order, small=False)
    inner += element(1, name.encode(), order) + element(TYPES[stored], data, order)
    return element(14, inner, order, small=False)


def write_mat(
    path: Path, variables: dict[str, Any], *, packed: bool = True, order: str = "<", **more: Any
) -> Path:
    """A file of format 5."""
    head = b"MATLAB 5.0 MAT-file, made for a test".ljust(124) + struct.pack(f"{order}H", 0x0100)
    head += b"IM" if order == "<" else b"MI"
    parts = []
    for name, values in variables.items():
        one = matrix(name, np.atleast_2d(np.asarray(values)), order=order, **more)
        if packed:
            data = zlib.compress(one)
            one = struct.pack(f"{order}II", 15, len(data)) + data
        parts.append(one)
    path.write_bytes(head + b"".join(parts))
    return path


def write_mat73(path: Path, variables: dict[str, Any]) -> Path:
    """A file of version 7.3: HDF5 behind a header of 512 bytes, every array turned round."""
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, values in variables.items():
            own = np.atleast_2d(np.asarray(values)).T
            file[name] = own if own.size else np.array(own.shape[::-1], np.uint64)
            if not own.size:
                file[name].attrs["MATLAB_empty"] = np.uint8(1)
    data = bytearray(path.read_bytes())
    data[:128] = b"MATLAB 7.3 MAT-file, made for a test".ljust(124) + b"\x00\x02IM"
    path.write_bytes(data)
    return path


def columns(e: Events, k: int) -> dict[str, Any]:
    """The variables of frame k: its exposure and the events in it, coordinates from 1."""
    start, end = exposure(k)
    own = e.between(start, end)
    return {
        "start_timestamp": np.float64(start), "end_timestamp": np.float64(end),
        "section_event_timestamp": own.t.astype(np.float64), "section_event_x": own.x.astype(np.float64) + 1,
        "section_event_y": own.y.astype(np.float64) + 1,
        "section_event_polarity": np.where(own.p, 1.0, -1.0),
    }  # fmt: skip


def write_esl(folder: Path, e: Events, write: Any = write_mat) -> Path:
    """Pictures in `images`, one file of events each in `mat`."""
    write_pictures(folder / "images", "{:02d}.png", SIZE)
    (folder / "mat").mkdir()
    for k in range(FRAMES):
        # Numbers without zeros in front: by name the tenth would come second.
        write(folder / "mat" / f"event{k + 8}.mat", columns(e, k))
    return folder
