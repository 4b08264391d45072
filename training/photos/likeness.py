"""Photos known again by content, also scaled, re-encoded, made gray or mirrored: two small perceptual hashes.

The difference hash (16×16: is a cell brighter than its left neighbour) and the hash of the low DCT frequencies
(8×8 of a 32×32 picture, above the median or not) must both agree. Either alone now and then takes two pictures
with one large gradient for the same.
"""

from __future__ import annotations

import tomllib
from fnmatch import fnmatch
from functools import cache
from importlib import resources
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

# Measured on the catalogue: copies of 128 to 700 pixels at JPEG quality 70 differ by up to 0.125 and 0.064,
# no two different photos by less than 0.26 and 0.158.
_MAX_DIFFERENCE, _MAX_FREQUENCY = 0.19, 0.11


class Likeness(NamedTuple):
    """The hashes of one picture, each packed big end first: 256 bits, the same mirrored, and 63 bits twice."""

    difference: bytes
    mirrored_difference: bytes
    frequency: bytes
    mirrored_frequency: bytes

    @property
    def text(self) -> str:
        """Both hashes of the upright picture as hexadecimal, as `held_out.toml` has them."""
        return f"{self.difference.hex()}-{self.frequency.hex()}"


def likeness(image: NDArray[np.uint8]) -> Likeness:
    """Hash a picture: uint8, RGB (H, W, 3) or gray (H, W)."""
    import cv2

    gray = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    cells = np.asarray(cv2.resize(gray, (17, 16), interpolation=cv2.INTER_AREA), np.uint8)
    small = cv2.resize(gray, (32, 32), interpolation=cv2.INTER_AREA).astype(np.float32)
    return Likeness(
        _difference(cells), _difference(cells[:, ::-1]), _frequency(small), _frequency(small[:, ::-1])
    )


def alike(a: Likeness, b: Likeness) -> bool:
    """Whether two pictures are the same but for size, compression, colour and mirroring."""
    return any(
        _distance(d, b.difference) / 256 <= _MAX_DIFFERENCE and _distance(f, b.frequency) / 63 <= _MAX_FREQUENCY
        for d, f in ((a.difference, a.frequency), (a.mirrored_difference, a.mirrored_frequency))
    )


def held_out(name: str, found: Likeness | None) -> str | None:
    """The test picture that a photo is, by its file name or its content; None when it is none.

    Pictures with which this program is tested and shown must not be learned from: those of the simulated rig,
    and the sharp photos of the development set.

    Args:
        name: the file's name with or without folders and suffix.
        found: its hashes; None: only the name is looked at.
    """
    stem = name.rsplit("/", 1)[-1].rsplit(".", 1)[0].lower()
    kept = _held_out()
    if any(fnmatch(stem, pattern) for pattern in kept.names):
        return stem
    return next((n for n, other in kept.pictures.items() if found and alike(found, other)), None)


class _HeldOut(NamedTuple):
    names: tuple[str, ...]
    pictures: dict[str, Likeness]


@cache
def _held_out() -> _HeldOut:
    text = (resources.files(__package__) / "held_out.toml").read_text(encoding="utf-8")
    read = tomllib.loads(text)
    pictures = {}
    for name, packed in read["pictures"].items():
        difference, frequency = (bytes.fromhex(part) for part in packed.split("-"))
        # Mirroring is tried on the other side of a comparison.
        pictures[name] = Likeness(difference, difference, frequency, frequency)
    return _HeldOut(tuple(read["names"]), pictures)


def _difference(cells: NDArray[np.uint8]) -> bytes:
    return np.packbits(cells[:, 1:] > cells[:, :-1]).tobytes()


def _frequency(small: NDArray[np.float32]) -> bytes:
    import cv2

    low = cv2.dct(np.ascontiguousarray(small))[:8, :8].ravel()[1:]
    return np.packbits(low > np.median(low)).tobytes()


def _distance(a: bytes, b: bytes) -> int:
    return (int.from_bytes(a, "big") ^ int.from_bytes(b, "big")).bit_count()
