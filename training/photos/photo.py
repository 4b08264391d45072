"""The sequence of photos that training reads: names, licences, a fingerprint; pixels only when asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import numpy as np
from numpy.typing import NDArray

from capture.errors import HalfmirrorError
from inference.weights_limits import plain

MAX_SIDE = 2048


class PhotoError(HalfmirrorError):
    """Photos cannot be found, fetched or read. The message names the place and what to do."""

    def __init__(self, message: str) -> None:
        super().__init__(plain(message))  # it may quote names of files, which can hold any characters


@dataclass(frozen=True, slots=True)
class Photo:
    """One photo that was read once and found whole.

    Attributes:
        name: "pool/name" of the catalogue, or the path below its folder with "/".
        path: the file.
        sha256: of the file's bytes, hexadecimal.
        width, height: pixels as stored: before any scaling down, and an EXIF orientation may exchange them.
        licence: SPDX identifier or "public domain"; "" where nothing is known (a folder).
        author: "" where unknown.
        source: page it was published on, "" where unknown.
    """

    name: str
    path: Path
    sha256: str
    width: int
    height: int
    licence: str = ""
    author: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that is not used, and why (one clause, no full stop)."""

    name: str
    reason: str


class Photos(Sequence[Photo]):
    """Photos in a fixed order; nothing is decoded until `load`. Small to pickle, so loader workers may have it.

    Attributes:
        skipped: files that were met and are not used, each with its reason.
        max_side: `load` scales larger photos down to this longest side; None: never.
    """

    def __init__(
        self, photos: Iterable[Photo], skipped: Iterable[Skipped] = (), *, max_side: int | None = MAX_SIDE
    ) -> None:
        self._photos = tuple(photos)
        self.skipped = tuple(skipped)
        self.max_side = max_side

    def __len__(self) -> int:
        return len(self._photos)

    @overload
    def __getitem__(self, index: int) -> Photo: ...

    @overload
    def __getitem__(self, index: slice) -> Photos: ...

    def __getitem__(self, index: int | slice) -> Photo | Photos:
        """A photo's facts; a slice is a `Photos` with the same `skipped`."""
        if isinstance(index, slice):
            return Photos(self._photos[index], self.skipped, max_side=self.max_side)
        return self._photos[index]

    @property
    def names(self) -> tuple[str, ...]:
        """Names in order; no two are the same within one folder or pool."""
        return tuple(p.name for p in self._photos)

    @property
    def licences(self) -> dict[str, int]:
        """How many photos stand under each licence, the most frequent first; "not stated" for folders."""
        counts: dict[str, int] = {}
        for p in self._photos:
            counts[p.licence or "not stated"] = counts.get(p.licence or "not stated", 0) + 1
        return dict(sorted(counts.items(), key=lambda c: (-c[1], c[0])))

    @property
    def fingerprint(self) -> str:
        """SHA-256 over names, checksums and the largest side, in order: the same photos give the same data."""
        h = hashlib.sha256(f"max_side {self.max_side}\n".encode())
        for p in self._photos:
            h.update(f"{p.sha256} {p.name}\n".encode())
        return h.hexdigest()

    def load(self, index: int) -> NDArray[np.uint8]:
        """Pixels of a photo: uint8 RGB (H, W, 3), sRGB as in the file, upright, longest side ≤ `max_side`.

        Raises:
            IndexError: no such photo.
            PhotoError: the file has gone or changed since the photos were opened.
        """
        from training.photos.decode import NotAPhoto, decode, read

        photo = self._photos[index]
        try:
            data = read(photo.path)
            if hashlib.sha256(data).hexdigest() != photo.sha256:
                raise NotAPhoto("its content has changed since the photos were opened")
            return decode(data, self.max_side)
        except NotAPhoto as e:
            raise PhotoError(f"photo {photo.name} ({photo.path}): {e}; open the photos again") from e
