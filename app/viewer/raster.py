"""numpy pictures to QImages, fast enough for the GUI thread.

A layer is scaled once for each picture and place and then blitted, so that dragging the wipe handle over a
still picture costs next to nothing. A 1152×768 RGB picture takes about a millisecond.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PySide6.QtGui import QImage

from app.viewer.viewport import Placement

U8 = NDArray[np.uint8]
CRISP_SCALE = 6.0  # from here on image pixels are shown as squares


def to_qimage(array: U8) -> QImage:
    """A QImage **on** the array's memory: (H, W) gray, (H, W, 3) RGB or (H, W, 4) premultiplied BGRA.

    The QImage keeps no reference; the caller keeps the array alive as long as the image is used.
    """
    height, width = array.shape[:2]
    if array.ndim == 2:
        form = QImage.Format.Format_Grayscale8
    elif array.shape[2] == 3:
        form = QImage.Format.Format_RGB888
    else:
        form = QImage.Format.Format_ARGB32_Premultiplied
    data = np.ascontiguousarray(array)
    if data is not array:
        return QImage(data.data, width, height, data.strides[0], form).copy()
    return QImage(data.data, width, height, data.strides[0], form)


def difference(sharp: U8, blurred: U8) -> U8:
    """Signed difference sharp - blurred, zero at mid grey 128, clipped to 0…255."""
    if sharp.shape != blurred.shape:
        # Colour against gray: compare on gray, which both have.
        sharp = cv2.cvtColor(sharp, cv2.COLOR_RGB2GRAY) if sharp.ndim == 3 else sharp  # type: ignore[assignment]
        blurred = cv2.cvtColor(blurred, cv2.COLOR_RGB2GRAY) if blurred.ndim == 3 else blurred  # type: ignore[assignment]
    return np.asarray(cv2.addWeighted(sharp, 1.0, blurred, -1.0, 128.0), dtype=np.uint8)


class Layer:
    """One picture of the view, with its last scaled image kept.

    `table`: 256 colours 0xAARRGGBB for an (H, W) of values; the values are scaled, not the colours.
    """

    def __init__(self, table: list[int] | None = None) -> None:
        self._table = table
        self._array: U8 | None = None
        self._key: tuple[Any, ...] | None = None
        self._image: QImage | None = None
        self._buffer: U8 | None = None  # the memory behind _image

    @property
    def array(self) -> U8 | None:
        """The picture itself."""
        return self._array

    def set(self, array: U8 | None) -> bool:
        """Another picture; True when it is. The same memory again, as long as it is kept here, is not."""
        if _same(array, self._array):
            return False
        self._array, self._key, self._image, self._buffer = array, None, None, None
        return True

    def scaled(self, place: Placement, ratio: float = 1.0) -> QImage | None:
        """The crop at its target's size times the screen's pixel ratio."""
        if self._array is None:
            return None
        key = (place.crop, place.target[2:], ratio)
        if key != self._key:
            x0, y0, x1, y1 = place.crop
            size = (max(1, round(place.target[2] * ratio)), max(1, round(place.target[3] * ratio)))
            crop = self._array[y0:y1, x0:x1]
            if self._table is not None:
                image = _from_table(np.ascontiguousarray(_resized(crop, size)), self._table)
            else:
                # Converted before it is scaled: most pictures are smaller than their place on screen.
                self._buffer = _resized(_bgra(crop), size)
                image = to_qimage(self._buffer)
                if self._array.ndim == 2 or self._array.shape[2] == 3:
                    image = QImage(
                        self._buffer.data, size[0], size[1], self._buffer.strides[0], QImage.Format.Format_RGB32
                    )
            image.setDevicePixelRatio(ratio)
            self._key, self._image = key, image
        return self._image


def _from_table(values: U8, table: list[int]) -> QImage:
    """Values as colours, premultiplied, in memory of its own. Qt's own look-up is the fastest at hand."""
    height, width = values.shape
    indexed = QImage(values.data, width, height, values.strides[0], QImage.Format.Format_Indexed8)
    indexed.setColorTable(table)
    return indexed.convertToFormat(QImage.Format.Format_ARGB32_Premultiplied)


def _resized(crop: U8, size: tuple[int, int]) -> U8:
    """Bilinear; squares at high zoom; halved by exact averages first when much smaller."""
    height, width = crop.shape[:2]
    if (width, height) == size:
        return crop
    while size[0] * 2 <= width and size[1] * 2 <= height:
        crop = np.asarray(
            cv2.resize(crop, (width // 2, height // 2), interpolation=cv2.INTER_AREA), dtype=np.uint8
        )
        height, width = crop.shape[:2]
    crisp = size[0] >= CRISP_SCALE * width
    mode = cv2.INTER_NEAREST if crisp else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(crop, size, interpolation=mode), dtype=np.uint8)


def _bgra(array: U8) -> U8:
    """In the byte order that the screen takes."""
    if array.ndim == 3 and array.shape[2] == 4:
        return np.ascontiguousarray(array)
    code = cv2.COLOR_GRAY2BGRA if array.ndim == 2 else cv2.COLOR_RGB2BGRA
    return np.asarray(cv2.cvtColor(array, code), dtype=np.uint8)


def _same(a: U8 | None, b: U8 | None) -> bool:
    if a is None or b is None:
        return a is b
    return a is b or (a.ctypes.data == b.ctypes.data and a.shape == b.shape and a.strides == b.strides)
