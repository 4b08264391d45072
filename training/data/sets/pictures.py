"""Picture files of data sets: read, measured without being read, numbered."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from recordings.sandbox_child import Refused

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".ppm", ".webp"})
_PNG = b"\x89PNG\r\n\x1a\n"
_NUMBER = re.compile(r"^(.*?)[_-]?(\d+)$")


def read_rgb(path: Path) -> NDArray[np.uint8]:
    """(H, W, 3) RGB; a gray picture three times.

    Raises:
        Refused: no picture, or damaged.
    """
    try:
        data = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as error:
        raise Refused(f"{path.name} cannot be read ({error.strerror})") from error
    found = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    if found is None:
        raise Refused(f"{path.name} is no picture, or damaged")
    return np.ascontiguousarray(found[:, :, ::-1])


def png_size(path: Path) -> tuple[int, int]:
    """(width, height): of a PNG out of its head, of anything else by decoding it.

    Raises:
        Refused: no picture.
    """
    try:
        with path.open("rb") as file:
            head = file.read(24)
    except OSError as error:
        raise Refused(f"{path.name} cannot be read ({error.strerror})") from error
    if head[:8] == _PNG and head[12:16] == b"IHDR":
        width, height = struct.unpack(">II", head[16:24])
        return int(width), int(height)
    picture = read_rgb(path)
    return picture.shape[1], picture.shape[0]


def listed(folder: Path) -> list[Path]:
    """The pictures of a folder, in order of their names."""
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and p.is_file())


def numbered(stem: str) -> tuple[str, int]:
    """What stands before a name's last number, and the number; -1 where there is none."""
    match = _NUMBER.match(stem)
    return (match.group(1), int(match.group(2))) if match else (stem, -1)
