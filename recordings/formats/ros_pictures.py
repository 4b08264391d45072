"""A picture out of a message of ROS."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recordings.formats import ros_messages as ros
from recordings.formats.dataset_source import MAX_PICTURE_BYTES, MAX_SIDE, FrameRefused, picture
from recordings.formats.pictures import decoded, largest_of_16

# Bytes a pixel, and which of them are red, green and blue.
_PLAIN: dict[str, tuple[int, tuple[int, ...]]] = {
    "mono8": (1, (0,)), "8uc1": (1, (0,)), "rgb8": (3, (0, 1, 2)), "bgr8": (3, (2, 1, 0)),
    "8uc3": (3, (2, 1, 0)), "rgba8": (4, (0, 1, 2)), "bgra8": (4, (2, 1, 0)), "8uc4": (4, (2, 1, 0)),
}  # fmt: skip
# ROS names a pattern by its first two pixels; OpenCV by those of the second row.
_BAYER = {"bayer_rggb8": "BG", "bayer_bggr8": "RG", "bayer_gbrg8": "GR", "bayer_grbg8": "GB"}


_WIDE = ("mono16", "16uc1")


def picture_in(data: bytes, msgtype: str, cdr: bool) -> NDArray[np.uint8]:
    """The picture of an `Image` or `CompressedImage`: (H, W) gray or (H, W, 3) RGB.

    16-bit gray gives its upper 8 bits; Bayer patterns are interpolated.

    Raises:
        FrameRefused: damaged, or encoded in a way that is not read.
    """
    if msgtype == ros.COMPRESSED:
        return decoded(_file_in(data, cdr), "it")
    rows, encoding, big = _stored(data, cdr)
    if encoding in _BAYER:
        import cv2  # late: see `pictures.decoded`

        code = getattr(cv2, f"COLOR_Bayer{_BAYER[encoding]}2RGB")
        return np.asarray(cv2.cvtColor(np.ascontiguousarray(rows[:, :, 0]), code), np.uint8)
    if encoding in _WIDE:
        return np.ascontiguousarray(rows[:, :, 0 if big else 1])
    return picture(rows[:, :, list(_PLAIN[encoding][1])], planes_first=False, bgr=False)


def largest_in(data: bytes, msgtype: str, cdr: bool) -> int | None:
    """The largest value of a picture of 16 bits, None of another. Raises as `picture_in`."""
    if msgtype == ros.COMPRESSED:
        return largest_of_16(_file_in(data, cdr))
    rows, encoding, big = _stored(data, cdr)
    return int(np.ascontiguousarray(rows).view(">u2" if big else "<u2").max()) if encoding in _WIDE else None


def _file_in(data: bytes, cdr: bool) -> NDArray[np.uint8]:
    """The picture file in a `CompressedImage`."""
    try:
        w = ros.Wire(data, cdr)
        w.header()
        w.text()
        return np.frombuffer(w.blob(), np.uint8)
    except ros.Malformed as e:
        raise FrameRefused(str(e)) from e


def _stored(data: bytes, cdr: bool) -> tuple[NDArray[np.uint8], str, int]:
    """Bytes (H, W, bytes a pixel) of an `Image`, its encoding, and whether larger bytes come first."""
    try:
        w = ros.Wire(data, cdr)
        w.header()
        height, width, encoding = w.u32(), w.u32(), w.text().lower()
        big, step, pixels = w.u8(), w.u32(), np.frombuffer(w.blob(), np.uint8)
    except ros.Malformed as e:
        raise FrameRefused(str(e)) from e
    if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE) or 3 * width * height > MAX_PICTURE_BYTES:
        raise FrameRefused(f"claims {width}×{height} pixels")
    wide = encoding in _WIDE
    if not wide and encoding not in _PLAIN and encoding not in _BAYER:
        raise FrameRefused(f"is encoded as {encoding[:40]!r}, which is not read")
    each = 2 if wide else _PLAIN[encoding][0] if encoding in _PLAIN else 1
    if step < each * width or len(pixels) < step * (height - 1) + each * width:
        raise FrameRefused("is cut off")
    rows = np.lib.stride_tricks.as_strided(pixels, (height, width, each), (step, each, 1), writeable=False)
    return rows, encoding, big
