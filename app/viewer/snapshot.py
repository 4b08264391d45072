"""Snapshots: what is on screen as PNG files, written beside the GUI thread."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QStandardPaths

from app.output.labels import stamped
from app.session import Picture
from capture.errors import HalfmirrorError

U8 = NDArray[np.uint8]


class SnapshotError(HalfmirrorError):
    """A snapshot could not be written."""


def default_folder() -> Path:
    """`halfmirror` in the user's folder of pictures."""
    pictures = QStandardPaths.writableLocation(QStandardPaths.StandardLocation.PicturesLocation)
    return Path(pictures or Path.home()) / "halfmirror"


def stem(picture: Picture, latent: float | None, when: float) -> str:
    """File name without its last word: date, frame, exposure length and instant."""
    parts = [time.strftime("%Y%m%d-%H%M%S", time.localtime(when)), f"frame{picture.ordinal:06d}"]
    if picture.exposure_start_us is not None and picture.exposure_end_us is not None:
        length = picture.exposure_end_us - picture.exposure_start_us
        parts.append(f"exposure{length}us")
        if latent is not None:
            parts.append(f"at{round(picture.exposure_start_us + latent * length)}us")
    if latent is not None:
        parts.append(f"t{latent:.3f}")
    return "halfmirror-" + "-".join(parts)


def save_snapshot(picture: Picture, index: int, folder: Path, when: float | None = None) -> list[Path]:
    """Write the blurred picture and, unless refused, the sharp one and both side by side.

    Files appear under their names only when they are whole.

    Raises:
        SnapshotError: the folder cannot be made or written to.
    """
    latent = picture.latents[index] if picture.sharp is not None else None
    name = stem(picture, latent, time.time() if when is None else when)
    images: dict[str, U8] = {"blurred": picture.blurred}
    if picture.sharp is not None:
        sharp = stamped(picture.sharp[index], picture.flags)
        images["sharp"] = sharp
        images["side-by-side"] = np.concatenate([_rgb(picture.blurred), _rgb(sharp)], axis=1)
    written: list[Path] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for kind, image in images.items():
            path = folder / f"{name}-{kind}.png"
            _write(path, image)
            written.append(path)
    except OSError as error:
        for path in written:
            with contextlib.suppress(OSError):
                path.unlink()
        raise SnapshotError(
            f"snapshot not saved in {folder}: {error.strerror or error}; choose another folder in the menu View"
        ) from error
    return written


def _rgb(image: U8) -> U8:
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_GRAY2RGB), np.uint8) if image.ndim == 2 else image


def _write(path: Path, image: U8) -> None:
    code = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    ok, data = cv2.imencode(".png", code)
    if not ok:
        raise OSError(f"cannot encode a picture of shape {image.shape}")
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_bytes(data.tobytes())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


class SnapshotWriter:
    """Writes in a thread of its own; results are fetched by `take` from the window's timer."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="snapshot")
        self._running: list[Future[list[Path]]] = []

    def save(self, picture: Picture, index: int, folder: Path) -> None:
        """Write what is on screen."""
        self._running.append(self._pool.submit(save_snapshot, picture, index, folder))

    def take(self, done: Callable[[list[Path]], None], failed: Callable[[BaseException], None]) -> None:
        """Report every snapshot that has ended since the last call."""
        for f in [f for f in self._running if f.done()]:
            self._running.remove(f)
            error = f.exception()
            if error is None:
                done(f.result())
            else:
                failed(error)

    def stop(self) -> None:
        """Finish what was begun."""
        self._pool.shutdown(wait=True)
