"""Picture files of data sets: listed, read, measured without being read, numbered."""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from recordings.formats.names import files_with
from recordings.formats.pictures import LOW, largest_of_16
from recordings.sandbox_child import Refused

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".ppm", ".webp"})
_SIXTEEN = frozenset({".png", ".tif", ".tiff"})  # those that may have 16 bits
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
    """The pictures of a folder, in order of the numbers in their names."""
    return files_with(folder, *SUFFIXES)


def refuse_dark(paths: Sequence[Path]) -> None:
    """Refuse pictures of 16 bits whose values lie in the lower ones, as cameras of 10 and 12 bits write them.

    The upper 8 bits are what is read, and these would be nearly black. The first, the middle and the last
    picture are looked at; all three are dark where the camera is meant and not a scene at night.

    Raises:
        Refused: they are so.
    """
    most = []
    for path in dict.fromkeys((paths[0], paths[len(paths) // 2], paths[-1])):
        if path.suffix.lower() not in _SIXTEEN or _png_bits(path) not in (16, None):
            return
        largest = largest_of_16(np.frombuffer(path.read_bytes(), np.uint8))
        if largest is None or not 0 < largest < LOW:
            return
        most.append(largest)
    raise Refused(
        f"{paths[0].name} has 16 bits and no value above {max(most)}, and the upper 8 bits are read, which is "
        "nearly black; if the camera has 10 or 12 bits, write pictures of 8"
    )


def _png_bits(path: Path) -> int | None:
    """Bits of a channel of a PNG; None of anything else."""
    with path.open("rb") as file:
        head = file.read(25)
    return head[24] if head[:8] == _PNG and len(head) == 25 else None


def numbered(stem: str) -> tuple[str, int]:
    """What stands before a name's last number, and the number; -1 where there is none."""
    match = _NUMBER.match(stem)
    return (match.group(1), int(match.group(2))) if match else (stem, -1)
