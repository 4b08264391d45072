"""Picture files of a folder: which there are, and what is in them. When they were taken `stamps` tells.

Decoding is OpenCV's, which meets such files only in the sandbox's child.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recordings.formats.dataset_source import MAX_PICTURE_BYTES, FrameRefused, picture, remark
from recordings.formats.names import files_with
from recordings.formats.names import natural as natural
from recordings.pickle_steps import megabytes
from recordings.sandbox_child import Refused

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"})
MAX_PICTURES = 1_000_000
MAX_TEXT_BYTES = 64 << 20
# A picture's file may be this large; what it decodes to is bounded by `MAX_PICTURE_BYTES`.
MAX_FILE_BYTES = MAX_PICTURE_BYTES

LOW = 1 << 12
"""A picture of 16 bits that stays below this has its values in the lower bits."""


def find_pictures(folder: Path) -> list[Path]:
    """The picture files in a folder itself, in order of their numbers.

    Raises:
        Refused: more than are read.
    """
    found = files_with(folder, *SUFFIXES)
    if len(found) > MAX_PICTURES:
        raise Refused(f"{folder.name} holds {len(found)} pictures; at most {MAX_PICTURES} are read")
    return found


def read_picture(path: Path) -> NDArray[np.uint8]:
    """One picture, (H, W) gray or (H, W, 3) RGB, as stored (no turning by EXIF); of 16 bits the upper 8.

    Raises:
        FrameRefused: not readable, damaged, or too large.
    """
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise FrameRefused(
                f"{path.name} has {megabytes(size)}; at most {megabytes(MAX_FILE_BYTES)} are read"
            )
        data = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as e:
        raise FrameRefused(f"{path.name} cannot be read ({e.strerror or e})") from e
    return decoded(data, path.name)


def decoded(data: NDArray[np.uint8], name: str) -> NDArray[np.uint8]:
    """The picture that a file's bytes hold; `name` stands in messages. See `read_picture`."""
    # OpenCV looks at this when it is first loaded; larger pictures are refused before they are allocated.
    os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(MAX_PICTURE_BYTES // 3))
    import cv2

    try:
        image = cv2.imdecode(data, cv2.IMREAD_ANYCOLOR | cv2.IMREAD_IGNORE_ORIENTATION) if len(data) else None
    except (cv2.error, MemoryError) as e:
        limit = f"damaged, or larger than {megabytes(MAX_PICTURE_BYTES)} of memory"
        raise FrameRefused(f"{name} is {limit}") from e
    if image is None:
        raise FrameRefused(f"{name} is no picture that can be read, or damaged")
    return picture(np.asarray(image), planes_first=False, bgr=True)


def largest_of_16(data: NDArray[np.uint8]) -> int | None:
    """The largest value in a picture's file of 16 bits; None of any other."""
    import cv2  # late: see `decoded`

    how = cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        image = cv2.imdecode(data, how) if len(data) else None
    except (cv2.error, MemoryError):
        return None
    return int(image.max()) if image is not None and image.dtype == np.uint16 else None


def _largest_in(path: Path) -> int | None:
    return largest_of_16(np.frombuffer(path.read_bytes(), np.uint8))


def remark_if_low(image: NDArray[np.uint8], largest: Callable[[], int | None], problems: list[str]) -> None:
    """Say so where a picture of 16 bits uses the lower ones alone, as cameras of 10 and 12 bits write them.

    Args:
        image: the first picture, as it is shown.
        largest: gives the largest value of what was stored, None where that is not of 16 bits; asked only of
            a dark picture.
        problems: the remark is added.
    """
    if int(image.max()) >= LOW >> 8:
        return
    most = largest()
    if most is not None and 0 < most < LOW:
        remark(
            problems,
            f"its first picture has 16 bits and no value above {most}; the upper 8 bits are shown, which is "
            "nearly black: if the camera has 10 or 12 bits, write pictures of 8",
        )


def first_size(paths: list[Path], problems: list[str]) -> tuple[int, int]:
    """(width, height) of the first picture that can be read.

    Args:
        paths: of the pictures.
        problems: what is remarkable about that picture is added.

    Raises:
        Refused: none of the first ones can.
    """
    why = ""
    for path in paths[:20]:
        try:
            image = read_picture(path)
        except FrameRefused as e:
            why = why or str(e)
            continue
        remark_if_low(image, partial(_largest_in, path), problems)
        return image.shape[1], image.shape[0]
    raise Refused(f"none of its pictures can be read; the first: {why}")
