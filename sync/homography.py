"""Maps of event pixels onto image pixels: the one of a rig that nobody has measured, and what any must be."""

from __future__ import annotations

import numpy as np

Row = tuple[float, float, float]


def centred(events: tuple[int, int], image: tuple[int, int], *, mirrored: bool = False) -> tuple[Row, Row, Row]:
    """(3, 3) event pixel → image pixel, pixel centres at integers, as `sync.rig.Geometry` has it.

    Args:
        events, image: (width, height) of both sensors; both are taken to see the same field.
        mirrored: the event camera's view is flipped left to right.
    """
    s = min(image[0] / events[0], image[1] / events[1])
    # Middles: (size - 1) / 2, since the first pixel's centre is 0.
    x, y = (
        (of_image - 1) / 2 - s * (of_events - 1) / 2 for of_events, of_image in zip(events, image, strict=True)
    )
    along = (s, 0.0, x) if not mirrored else (-s, 0.0, x + s * (events[0] - 1))
    return along, (0.0, s, y), (0.0, 0.0, 1.0)


def check_homography(name: str, rows: tuple[Row, Row, Row], mirrored: bool) -> None:
    """Raises `ValueError` where it has no inverse or flips where the rig does not; `name`: for the message."""
    m = np.array(rows, dtype=np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        determinant = np.linalg.det(m)
    if not np.isfinite(determinant) or abs(determinant) < 1e-12:
        raise ValueError(f"{name} is not an invertible 3×3 matrix of finite numbers")
    if (np.linalg.det(m[:2, :2]) < 0) != mirrored:
        raise ValueError(
            f"mirrored = {str(mirrored).lower()} contradicts {name}, whose determinant "
            f"is {np.linalg.det(m[:2, :2]):+.3g}"
        )
