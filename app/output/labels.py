"""Pictures beside each other, with a line of text on them."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from inference.restorers.base import RANDOM_FLAG

U8 = NDArray[np.uint8]
UNCHANGED = "unchanged"
"""How the flag of a picture begins that no network has touched although one was asked for."""
_PLAIN = str.maketrans({"µ": "u", "×": "x", "–": "-", "…": "...", "→": "->", "±": "+-", "’": "'"})


def as_rgb(image: U8) -> U8:
    """(H, W, 3) of a picture that may be gray (H, W)."""
    return image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2)


def draw_text(image: U8, text: str, *, x: int = 6, y: int = 6, height_px: int = 14) -> None:
    """Write one line into `image` (RGB or gray, in place) with its top left corner at (x, y).

    Outlined, so that it is legible on anything. Letters that the vector font lacks are replaced by plain ones.
    """
    import cv2

    plain = unicodedata.normalize("NFKD", text.translate(_PLAIN)).encode("ascii", "ignore").decode()
    scale = height_px / 30
    # The outline is the same text moved by a pixel: a heavier stroke would run wider than the text itself.
    for dx, dy, level in ((-1, 0, 0), (1, 0, 0), (0, -1, 0), (0, 1, 0), (0, 0, 255)):
        at, colour = (x + dx, y + dy + height_px), (level, level, level)
        cv2.putText(image, plain, at, cv2.FONT_HERSHEY_SIMPLEX, scale, colour, 1, cv2.LINE_AA)


def stamped(image: U8, flags: Sequence[str]) -> U8:
    """The picture; where random weights made it or no network did, with these words on it.

    It must not pass for a result.
    """
    import cv2

    words = next((f for f in flags if f == RANDOM_FLAG or f.startswith(UNCHANGED)), "")
    if not words:
        return image
    out = image.copy()
    (width, _), _ = cv2.getTextSize(words, cv2.FONT_HERSHEY_SIMPLEX, 1.0, 1)
    # Thirty pixels high at scale 1, see `draw_text`; narrow pictures get smaller letters.
    height = max(5, min(16, int(30 * (out.shape[1] - 8) / width)))
    draw_text(out, words, x=4, y=4, height_px=height)
    return out


def side_by_side(blurred: U8, sharp: U8 | None, refusal: str = "") -> U8:
    """(H, 2W, 3): blurred left, sharp right. Without a sharp picture the right half is dark and says why."""
    left = as_rgb(blurred)
    h, w = left.shape[:2]
    out = np.full((h, 2 * w, 3), 30, np.uint8)
    out[:, :w] = left
    if sharp is None:
        draw_text(out, refusal or "not restored", x=w + 8, y=h // 2, height_px=12)
    else:
        out[:, w:] = as_rgb(sharp)
    return out
