"""A view: the same points of the world in both cameras, and the facts that tell how far to trust them.

Pixels everywhere as in `sync.rig.Geometry`: centres at integers, x to the right, y down.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

MIN_POINTS = 6
"""Fewest points of a view: a homography needs four; six leave something to check."""
MIN_SEEN = 0.6
"""Least share of the target's points inside the field that must be found; below it something hides the
target."""
MAX_BLUR_PX = 2.0
"""Largest smear of a view, in event pixels: beyond it corners are a matter of taste."""
_THINNEST = 0.08  # ratio of the small to the large extent of a view's points: below it they are a line


class Source(StrEnum):
    """What a view's points were found on."""

    CHARUCO = "charuco"  # the board in frames of both cameras (DAVIS)
    BLINKING = "blinking"  # the board on a screen, swapped with its negative
    RECONSTRUCTED = "reconstructed"  # the board moved by hand, its picture rebuilt from events
    SCENE = "scene"  # no target: patches of image gradient found again in the event edges


class BadView(Exception):
    """A view that cannot be used; the message is one line that says why and what to do."""


@dataclass(frozen=True, slots=True, eq=False)
class Corners:
    """The target's points as one camera sees them.

    Attributes:
        points: (N, 2) float64, pixels of that camera.
        ids: (N,) int64, which points of the target, increasing.
        board: (N, 2) float64, where those points lie on the target, in mm (or squares, when no size is known).
        when_us: time on the event clock, -1 when unknown.
        mirrored: the target was only readable in the mirror image.
        seen: share of the target's points inside the field that were found, 0…1.
        blur_px: how far edges are smeared, in pixels of that camera; None when unknown.
    """

    points: F64
    ids: I64
    board: F64
    when_us: int = -1
    mirrored: bool = False
    seen: float = 1.0
    blur_px: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """The same points in both cameras at one time.

    Attributes:
        image_points: (N, 2) float64, image pixels.
        event_points: (N, 2) float64, event pixels.
        ids: (N,) int64, the target's numbers of the points (a scene's patches: 0, 1, 2 …).
        when_us: time on the event clock, -1 when unknown.
        source: what the points were found on.
        board_points: (N, 2) float64, where they lie on the target in mm; None without a target.
        sigma_px: expected error (standard deviation per axis) of a pair, in event pixels.
        blur_px: smear of the worse camera, in **event** pixels; None when unknown.
        seen: share of the target's points inside both fields that were found, 0…1.
        name: how reports call it.
    """

    image_points: F64
    event_points: F64
    ids: I64
    when_us: int = -1
    source: Source = Source.CHARUCO
    board_points: F64 | None = None
    sigma_px: float = 0.1
    blur_px: float | None = None
    seen: float = 1.0
    name: str = ""

    def __post_init__(self) -> None:
        n = len(self.ids)
        for key, a in (("image_points", self.image_points), ("event_points", self.event_points)):
            if a.shape != (n, 2) or not np.isfinite(a).all():
                raise ValueError(
                    f"view {self.name!r}: {key} must be ({n}, 2) finite numbers, got shape {a.shape}"
                )
        if self.board_points is not None and self.board_points.shape != (n, 2):
            raise ValueError(f"view {self.name!r}: board_points must be ({n}, 2)")

    def __len__(self) -> int:
        return len(self.ids)

    def trouble(self) -> str:
        """Why this view cannot be used, one line; "" when it can."""
        if len(self) < MIN_POINTS:
            return f"only {len(self)} points are seen by both cameras; {MIN_POINTS} are needed"
        if self.seen < MIN_SEEN:
            return (
                f"the target is half hidden: {100 * self.seen:.0f} % of its corners inside the field are seen; "
                "take away what covers it, or the glare"
            )
        if self.blur_px is not None and self.blur_px > MAX_BLUR_PX:
            return f"blurred over {self.blur_px:.1f} event pixels; hold the target still"
        if thin(self.event_points) or thin(self.image_points):
            return "its points lie on one line; show more rows of the target"
        return ""


def thin(points: F64) -> bool:
    """Points (N, 2) lie on one line, or nearly so: they say nothing across it."""
    spread = np.linalg.svd(points - points.mean(axis=0), compute_uv=False)
    return bool(spread[-1] < _THINNEST * spread[0])


def pair(
    image: Corners, event: Corners, source: Source, *, scale: float, sigma_px: float, name: str = ""
) -> View:
    """One target seen by both cameras → a view of the points that both found.

    Args:
        image, event: the corners in either camera.
        source: what the event camera's corners were found on.
        scale: image pixels per event pixel, to state blur in event pixels; roughly will do.
        sigma_px: expected error of a pair, event pixels.
        name: how reports call it.
    """
    common, i, e = np.intersect1d(image.ids, event.ids, return_indices=True)
    blurs = [b / s for b, s in ((image.blur_px, scale), (event.blur_px, 1.0)) if b is not None]
    return View(
        image.points[i], event.points[e], common, event.when_us if event.when_us >= 0 else image.when_us,
        source, board_points=image.board[i], sigma_px=sigma_px, blur_px=max(blurs) if blurs else None,
        seen=min(image.seen, event.seen), name=name,
    )  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Coverage:
    """Where points were seen, on a grid of 3 × 3 thirds of the field that both cameras share.

    Attributes:
        counts: (3, 3) int64 points in each third, row first.
        expected: (3, 3) bool, thirds of the event sensor that the frame camera sees for the most part.
    """

    counts: I64
    expected: NDArray[np.bool_]
    wanted: int = field(default=4)

    @property
    def share(self) -> float:
        """Share of the expected thirds with enough points, 0…1."""
        n = int(self.expected.sum())
        return float((self.counts >= self.wanted)[self.expected].sum() / n) if n else 0.0

    def missing(self) -> list[str]:
        """Names of the thirds without enough points, e.g. "upper left"."""
        rows, columns = ("upper", "middle", "lower"), ("left", "middle", "right")
        lacks = self.expected & (self.counts < self.wanted)
        return [
            "middle" if (r, c) == (1, 1) else f"{rows[r]} {columns[c]}"
            for r in range(3)
            for c in range(3)
            if lacks[r, c]
        ]
