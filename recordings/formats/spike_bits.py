"""The bits of a spike camera's `.dat`.

Frames follow one another without a header, bottom row first, eight pixels a byte, lowest bit first.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def unpacked(data: bytes, height: int, width: int) -> NDArray[np.uint8]:
    """(T, height, width) 0 or 1 of whole frames; `height · width` is a multiple of 8."""
    per_frame = height * width // 8
    packed = np.frombuffer(data, np.uint8, len(data) // per_frame * per_frame).reshape(-1, per_frame)
    bits = np.unpackbits(packed, axis=1, bitorder="little").reshape(-1, height, width)
    return np.ascontiguousarray(bits[:, ::-1])
