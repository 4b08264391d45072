"""One picture file to RGB, refused with a clause when it is broken, too large, or no photo.

The header is read before OpenCV sees the file, for three reasons: a picture of a few kilobytes may unpack to
gigabytes; older OpenCV fills the missing part of a truncated JPEG with grey and says nothing; and the decoders
write to stderr by themselves when they fail.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
MAX_PIXELS = 128_000_000
MAX_BYTES = 256_000_000
MIN_SIDE = 128
"""Shortest side of a useful photo: the training crops are this large."""


class NotAPhoto(Exception):
    """A file that cannot be used. The message is a clause that can follow the file's name."""


class Header(NamedTuple):
    """What a file says of itself. `alpha`: it can be transparent. Sizes before EXIF rotation."""

    width: int
    height: int
    alpha: bool


def read(path: Path) -> bytes:
    """The file's bytes.

    Raises:
        NotAPhoto: it cannot be read, is no regular file or larger than MAX_BYTES.
    """
    try:
        if not path.is_file():
            raise NotAPhoto("is not a file" if path.exists() else "is not there")
        if (size := path.stat().st_size) > MAX_BYTES:
            raise NotAPhoto(f"has {size / 1e6:.0f} MB, more than the {MAX_BYTES / 1e6:.0f} MB that are allowed")
        return path.read_bytes()
    except OSError as e:
        why = os.strerror(e.errno) if e.errno else str(e)
        raise NotAPhoto(f"cannot be read ({why})") from e


def header(data: bytes) -> Header:
    """Size and transparency from the header of a JPEG, PNG or WebP that is there to its end.

    Raises:
        NotAPhoto: another format, a broken header, a truncated file.
    """
    if not data:
        raise NotAPhoto("is empty")
    try:
        if data.startswith(b"\xff\xd8"):
            return _jpeg(data)
        if data.startswith(b"\x89PNG\r\n\x1a\n"):
            return _png(data)
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            return _webp(data)
    except (struct.error, IndexError):
        raise NotAPhoto("is truncated") from None
    raise NotAPhoto("is not a JPEG, PNG or WebP")


def decode(data: bytes, max_side: int | None = None) -> NDArray[np.uint8]:
    """uint8 RGB (H, W, 3), EXIF orientation applied, scaled by area to a longest side of at most `max_side`.

    Gray photos give three equal channels, 16-bit ones their upper 8 bits. Colour profiles are not applied.

    Raises:
        NotAPhoto: see `header`; more than MAX_PIXELS, shorter side below MIN_SIDE, transparent parts, broken.
    """
    import cv2

    h = header(data)
    if h.width * h.height > MAX_PIXELS:
        limit = f"{MAX_PIXELS / 1e6:.0f} megapixels"
        raise NotAPhoto(f"is {h.width}×{h.height}, more than the {limit} that are allowed")
    if min(h.width, h.height) < MIN_SIDE:
        raise NotAPhoto(f"is too small ({h.width}×{h.height}; each side needs {MIN_SIDE} pixels)")
    if h.alpha and _transparent(_pixels(data, cv2.IMREAD_UNCHANGED)):
        raise NotAPhoto("has transparent parts, so it is a cut-out and not a photo")
    image = _pixels(data, cv2.IMREAD_COLOR)
    if max_side is not None and max(image.shape[:2]) > max_side:
        scale = max_side / max(image.shape[:2])
        height, width = (max(1, round(n * scale)) for n in image.shape[:2])
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)


def _pixels(data: bytes, flags: int) -> NDArray[Any]:
    import cv2

    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as e:
        raise NotAPhoto("is damaged: it cannot be decoded") from e
    if image is None:
        raise NotAPhoto("is damaged: it cannot be decoded")
    return image


def _transparent(image: NDArray[Any]) -> bool:
    if image.ndim != 3 or image.shape[2] != 4:
        return False
    return bool((image[..., 3] < np.iinfo(image.dtype).max).any())


def _jpeg(data: bytes) -> Header:
    """Walk the segments of ITU-T T.81 to the first scan; the end marker must come after it.

    Searched from there on, since the preview inside the EXIF data has an end marker of its own.
    """
    at, size = 2, None
    while True:
        if data[at] != 0xFF:
            raise NotAPhoto("is damaged: its JPEG header is broken")
        marker = data[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        length = struct.unpack_from(">H", data, at + 2)[0]
        # SOF0…SOF15 without DHT, JPG and DAC
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", data, at + 5)
            size = Header(width, height, False)
        at += 2 + length
        if marker == 0xDA:
            break
    if size is None or not size.height:
        raise NotAPhoto("is damaged: its JPEG header is broken")
    if data.find(b"\xff\xd9", at) < 0:
        raise NotAPhoto("is truncated")
    return size


def _png(data: bytes) -> Header:
    width, height, _depth, colour = struct.unpack_from(">IIBB", data, 16)
    if data[12:16] != b"IHDR":
        raise NotAPhoto("is damaged: its PNG header is broken")
    end = data.rfind(b"IEND")
    if end < 0 or len(data) < end + 8:
        raise NotAPhoto("is truncated")
    # A palette or a single colour may be transparent too (tRNS); it stands before the first IDAT.
    transparent = b"tRNS" in data[: max(0, data.find(b"IDAT"))]
    return Header(width, height, colour in (4, 6) or transparent)


def _webp(data: bytes) -> Header:
    if len(data) < 8 + struct.unpack_from("<I", data, 4)[0]:
        raise NotAPhoto("is truncated")
    kind = data[12:16]
    if kind == b"VP8X":
        flags = data[20]
        width, height = (1 + int.from_bytes(data[p : p + 3], "little") for p in (24, 27))
        return Header(width, height, bool(flags & 0x10))
    if kind == b"VP8L":
        bits = struct.unpack_from("<I", data, 21)[0]
        return Header(1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF), bool(bits >> 28 & 1))
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return Header(width & 0x3FFF, height & 0x3FFF, False)
    raise NotAPhoto("is damaged: its WebP header is broken")
