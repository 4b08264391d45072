"""What every writer of an exported format offers, and what their names are."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from capture.packets import Events, TriggerEdges
from recordings.export.content import Content, Facts


class Writer(Protocol):
    """Writes one file or folder. Feed events and edges in order of time, frames in order of their exposures.

    Attributes:
        content: what has been written, as it must read back.
        notes: what the format does not hold, one line each.
    """

    @property
    def content(self) -> Content | Facts:
        """See the class."""

    @property
    def notes(self) -> list[str]:
        """See the class."""

    def add(self, events: Events, edges: TriggerEdges) -> None:
        """Events and edges that follow those before."""

    def add_frame(self, image: NDArray[np.uint8], start_us: int, end_us: int) -> None:
        """A picture, (H, W, 3) RGB or (H, W) gray, and its exposure on the events' clock."""

    def finish(self) -> None:
        """No more comes: complete the file."""

    def abandon(self) -> None:
        """Let go of what is open; the output is thrown away."""


def rgb(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Three channels, whatever there are."""
    return np.repeat(image[:, :, None], 3, axis=2) if image.ndim == 2 else image


def write_png(path: Path, image: NDArray[np.uint8]) -> None:
    """(H, W, 3) RGB or (H, W) gray, without loss. Raises `OSError`."""
    import cv2

    bgr = image if image.ndim == 2 else np.ascontiguousarray(image[..., ::-1])
    # Encoded in memory and written by Python: cv2.imwrite only says "no" when the disk is full.
    ok, data = cv2.imencode(".png", bgr, [cv2.IMWRITE_PNG_COMPRESSION, 3])
    if not ok:
        raise OSError(f"{path.name} cannot be encoded")
    path.write_bytes(data.tobytes())


def read_png(path: Path) -> NDArray[np.uint8]:
    """As `write_png` was given it. Raises `OSError`."""
    import cv2

    image = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None:
        raise OSError(f"{path.name} cannot be decoded")
    out = np.asarray(image, np.uint8)
    return out if out.ndim == 2 else np.ascontiguousarray(out[..., ::-1])
