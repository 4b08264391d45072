"""Pictures as PNG files, and a folder of them with a time stamp for each."""

from __future__ import annotations

import contextlib
import csv
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.output.atomic import OutputError, writing

TIMESTAMPS = "timestamps.csv"
COLUMNS = (
    "file", "ordinal", "sequence", "latent", "time_us", "exposure_start_us", "exposure_end_us",
    "source", "uncertainty_us",
)  # fmt: skip


def encode_png(image: NDArray[np.uint8]) -> bytes:
    """(H, W, 3) RGB or (H, W) gray uint8 as the bytes of a PNG file, without loss.

    Raises:
        OutputError: the encoder refuses (never seen; memory).
    """
    import cv2

    bgr = image if image.ndim == 2 else np.ascontiguousarray(image[..., ::-1])
    # Encoded in memory and written by Python: cv2.imwrite only says "no" when the disk is full.
    ok, data = cv2.imencode(".png", bgr, [cv2.IMWRITE_PNG_COMPRESSION, 3])
    if not ok:
        raise OutputError("a picture cannot be encoded as PNG")
    return data.tobytes()


def write_png(path: Path, image: NDArray[np.uint8], *, final: Path | None = None) -> None:
    """Write one PNG file; `final` is the name used in error messages.

    Raises:
        OutputError: disk full or not writable.
    """
    data = encode_png(image)
    with writing(final or path):
        path.write_bytes(data)


def picture_name(ordinal: int, latent: float) -> str:
    """`exposure-000012-0.5000.png`: the exposure's ordinal and the instant inside it, 0…1."""
    return f"exposure-{ordinal:06d}-{latent:.4f}.png"


@dataclass(frozen=True, slots=True)
class Stamp:
    """When and of what one picture is; a row of `timestamps.csv` after the file's name.

    Attributes:
        ordinal: of the exposure among all frames of the input.
        sequence: the camera's own frame counter.
        latent: instant inside the exposure, 0…1.
        time_us: the same on the event camera's clock; of a frame whose exposure is unknown, when it came.
        exposure_start_us, exposure_end_us, source, uncertainty_us: the exposure; None (empty in the file) where
            it is unknown.
    """

    ordinal: int
    sequence: int
    latent: float
    time_us: int
    exposure_start_us: int | None
    exposure_end_us: int | None
    source: str
    uncertainty_us: float | None


class PngSequence:
    """A folder with one PNG a picture and `timestamps.csv`."""

    def __init__(self, folder: Path, *, final: Path | None = None) -> None:
        """`folder` exists already; `final` is the name used in error messages."""
        self.folder = folder
        self.final = final or folder
        self.count = 0
        with writing(self.final):
            self._csv = (folder / TIMESTAMPS).open("w", encoding="utf-8", newline="")
        self._write_row(COLUMNS)

    def add(self, image: NDArray[np.uint8], stamp: Stamp) -> None:
        """Write one picture and its row.

        Raises:
            OutputError: disk full or not writable.
        """
        name = picture_name(stamp.ordinal, stamp.latent)
        write_png(self.folder / name, image, final=self.final)
        self._write_row(
            (
                name, stamp.ordinal, stamp.sequence, f"{stamp.latent:.6f}", stamp.time_us,
                stamp.exposure_start_us, stamp.exposure_end_us, stamp.source,
                "" if stamp.uncertainty_us is None else f"{stamp.uncertainty_us:.1f}",
            )
        )  # fmt: skip
        self.count += 1

    def close(self) -> None:
        """Complete `timestamps.csv`."""
        with writing(self.final):
            self._csv.close()

    def discard(self) -> None:
        """Let go of the open file without a word, when the folder is thrown away anyway."""
        with contextlib.suppress(OSError):
            self._csv.close()

    def _write_row(self, row: tuple[object, ...]) -> None:
        line = io.StringIO()
        csv.writer(line, lineterminator="\n").writerow(row)
        with writing(self.final):
            self._csv.write(line.getvalue())
