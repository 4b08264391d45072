"""Which part of a picture is seen, and where: zoom and pan without any drawing.

One `Viewport` serves both halves, so that they always show the same pixels.

Conventions: image coordinates run from 0 to width and 0 to height, the top left **corner** of the first
pixel at (0, 0). Pane coordinates are widget pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor

MAX_SCALE = 40.0  # widget pixels for one image pixel
WHEEL_STEP = 1.25


@dataclass(frozen=True, slots=True)
class Pane:
    """A rectangle of the widget that holds one picture."""

    x: float
    y: float
    width: float
    height: float

    def contains(self, x: float, y: float) -> bool:
        """Whether the point lies in the pane."""
        return self.x <= x < self.x + self.width and self.y <= y < self.y + self.height


@dataclass(frozen=True, slots=True)
class Placement:
    """A whole-pixel crop of the image and where it goes.

    Attributes:
        crop: (x0, y0, x1, y1) image pixels, end exclusive.
        target: (x, y, width, height) whole widget pixels; it may stick out of the pane by less than one
            image pixel, so painters clip to the pane.
    """

    crop: tuple[int, int, int, int]
    target: tuple[int, int, int, int]


class Viewport:
    """Zoom (1 = the whole picture fits) and the image point at the middle of the pane."""

    def __init__(self) -> None:
        self.zoom = 1.0
        self.centre = (0.5, 0.5)  # fractions of the image, so that another size keeps the place

    @property
    def fitted(self) -> bool:
        """Whether the whole picture is shown."""
        return self.zoom <= 1.0

    def fit(self) -> None:
        """Show the whole picture."""
        self.zoom, self.centre = 1.0, (0.5, 0.5)

    def scale(self, pane: Pane, size: tuple[int, int]) -> float:
        """Widget pixels for one image pixel."""
        fit = min(pane.width / size[0], pane.height / size[1])
        return max(fit * self.zoom, 1e-6)

    def origin(self, pane: Pane, size: tuple[int, int]) -> tuple[float, float]:
        """Where image point (0, 0) lies in the widget. A side shorter than the pane is centred."""
        s = self.scale(pane, size)
        out = []
        for start, length, n, c in (
            (pane.x, pane.width, size[0], self.centre[0]),
            (pane.y, pane.height, size[1], self.centre[1]),
        ):
            full = n * s
            if full <= length:
                out.append(start + (length - full) / 2)
            else:
                out.append(min(start, max(start + length - full, start + length / 2 - c * full)))
        return out[0], out[1]

    def to_image(self, pane: Pane, size: tuple[int, int], x: float, y: float) -> tuple[float, float]:
        """Image point under a widget point."""
        s, (ox, oy) = self.scale(pane, size), self.origin(pane, size)
        return (x - ox) / s, (y - oy) / s

    def to_widget(self, pane: Pane, size: tuple[int, int], u: float, v: float) -> tuple[float, float]:
        """Widget point of an image point."""
        s, (ox, oy) = self.scale(pane, size), self.origin(pane, size)
        return ox + u * s, oy + v * s

    def visible(self, pane: Pane, size: tuple[int, int]) -> Pane:
        """The part of the pane that picture covers."""
        s, (ox, oy) = self.scale(pane, size), self.origin(pane, size)
        x0, y0 = max(pane.x, ox), max(pane.y, oy)
        x1 = min(pane.x + pane.width, ox + size[0] * s)
        y1 = min(pane.y + pane.height, oy + size[1] * s)
        return Pane(x0, y0, max(0.0, x1 - x0), max(0.0, y1 - y0))

    def zoom_at(self, pane: Pane, size: tuple[int, int], x: float, y: float, steps: float) -> None:
        """Zoom in (steps > 0) or out by wheel notches; the image point under (x, y) stays there."""
        u, v = self.to_image(pane, size, x, y)
        fit = self.scale(pane, size) / self.zoom
        self.zoom = min(max(1.0, self.zoom * WHEEL_STEP**steps), max(1.0, MAX_SCALE / fit))
        if self.fitted:
            self.fit()
            return
        s = fit * self.zoom
        self._look_at(
            pane,
            size,
            u + (pane.x + pane.width / 2 - x) / s,
            v + (pane.y + pane.height / 2 - y) / s,
        )

    def pan(self, pane: Pane, size: tuple[int, int], dx: float, dy: float) -> None:
        """Move the picture by widget pixels."""
        s = self.scale(pane, size)
        u, v = self.to_image(pane, size, pane.x + pane.width / 2, pane.y + pane.height / 2)
        self._look_at(pane, size, u - dx / s, v - dy / s)

    def _look_at(self, pane: Pane, size: tuple[int, int], u: float, v: float) -> None:
        s = self.scale(pane, size)
        out = []
        for length, n, c in ((pane.width, size[0], u), (pane.height, size[1], v)):
            half = min(n / 2, length / s / 2)  # never beyond the edge: a pan back answers at once
            out.append(min(max(c, half), n - half) / n)
        self.centre = (out[0], out[1])

    def place(self, pane: Pane, size: tuple[int, int]) -> Placement:
        """The crop to draw and its target, both in whole pixels."""
        s, (ox, oy) = self.scale(pane, size), self.origin(pane, size)
        seen = self.visible(pane, size)
        x0 = max(0, floor((seen.x - ox) / s))
        y0 = max(0, floor((seen.y - oy) / s))
        x1 = min(size[0], ceil((seen.x + seen.width - ox) / s - 1e-9))
        y1 = min(size[1], ceil((seen.y + seen.height - oy) / s - 1e-9))
        x1, y1 = max(x1, x0 + 1), max(y1, y0 + 1)
        tx0, ty0 = round(ox + x0 * s), round(oy + y0 * s)
        tx1, ty1 = round(ox + x1 * s), round(oy + y1 * s)
        return Placement((x0, y0, x1, y1), (tx0, ty0, max(1, tx1 - tx0), max(1, ty1 - ty0)))
