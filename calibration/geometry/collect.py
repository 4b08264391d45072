"""From what the cameras gave to views: which frames and which events show the board at the same place.

The clocks of both cameras need not be known for a board that stands still: every stretch without motion is one
view, and any frame from within it will do. A moved board needs frames on the event clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.geometry.blinking import describe_nothing, detect_blinking, find_swaps, still_stretches
from calibration.geometry.charuco import detect
from calibration.geometry.targets import Board
from calibration.geometry.views import BadView, Corners, Source, View, pair
from capture.packets import Events

F64 = NDArray[np.float64]

SIGMA_PX = {Source.CHARUCO: 0.05, Source.BLINKING: 0.05, Source.RECONSTRUCTED: 0.25, Source.SCENE: 0.8}
"""Expected error of a pair by source, event pixels."""


@dataclass(frozen=True, slots=True, eq=False)
class TimedFrame:
    """A picture and when it was exposed, on the event clock.

    Attributes:
        start_us, end_us: of the exposure; roughly will do for a board that stands still.
        picture: (H, W) or (H, W, 3) RGB uint8.
    """

    start_us: int
    end_us: int
    picture: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Missed:
    """A view that did not come about, and why.

    Attributes:
        when_us: when, on the event clock.
        camera: "events", "image" or "both".
        why: one line.
        begun_us: when its take began, on the same clock.
    """

    when_us: int
    camera: str
    why: str
    begun_us: int = 0

    @property
    def into_s(self) -> float:
        """How far into the take."""
        return (self.when_us - self.begun_us) / 1e6


def blinking_views(
    frames: Sequence[TimedFrame], events: Events, board: Board, *, name: str = "view"
) -> tuple[list[View], list[Missed]]:
    """Views of a blinking board: one for each stretch in which nothing moved.

    Args:
        frames: of the frame camera; those outside the stretches are not looked at.
        events: of the whole time.
        board: what blinks.
        name: views are called `name` 1, 2, …

    Returns:
        the views, and what did not become one.
    """
    views: list[View] = []
    missed: list[Missed] = []
    swaps = find_swaps(events)
    if not swaps:
        at = int(events.t[0]) if len(events) else 0
        return [], [Missed(at, "events", describe_nothing(events))]
    hand: bool | None = None
    for still in still_stretches(swaps):
        try:
            seen = detect_blinking(still, board, mirrored=hand)
        except BadView as e:
            missed.append(Missed(still.start_us, "events", str(e)))
            continue
        # A frame that lies within a swap shows both pictures at once, which is gray; detection refuses it.
        inside = [f for f in frames if f.start_us < still.end_us and f.end_us > still.start_us]
        near = inside or _nearest(frames, still.start_us, still.end_us)
        try:
            image = steady_corners(near, board)
        except BadView as e:
            missed.append(Missed(still.start_us, "image", str(e)))
            continue
        keep_pair(views, missed, image, seen, Source.BLINKING, f"{name} {len(views) + 1}")
    return views, missed


def charuco_views(
    frames: Sequence[TimedFrame], event_frames: Sequence[TimedFrame], board: Board, *, name: str = "view"
) -> tuple[list[View], list[Missed]]:
    """Views of a board in the frames of both cameras (a DAVIS takes its own): frames that overlap in time pair
    up."""
    views: list[View] = []
    missed: list[Missed] = []
    for own in event_frames:
        middle = (own.start_us + own.end_us) // 2
        partner = min(frames, key=lambda f: abs((f.start_us + f.end_us) // 2 - middle), default=None)
        if partner is None:
            continue
        try:
            seen = detect(own.picture, board, when_us=middle)
        except BadView as e:
            missed.append(Missed(middle, "events", str(e)))
            continue
        try:
            image = detect(partner.picture, board, when_us=middle)
        except BadView as e:
            missed.append(Missed(middle, "image", str(e)))
            continue
        keep_pair(views, missed, image, seen, Source.CHARUCO, f"{name} {len(views) + 1}")
    return views, missed


def keep_pair(
    views: list[View], missed: list[Missed], image: Corners, event: Corners, source: Source, name: str
) -> None:
    """Make a view of one target seen by both cameras, or note that they share nothing of it."""
    scale = _scale(image, event)
    view = pair(image, event, source, scale=scale, sigma_px=SIGMA_PX[source], name=name)
    if len(view) == 0:
        missed.append(Missed(view.when_us, "both", "the cameras see different parts of the board"))
        return
    views.append(view)


def _scale(image: Corners, event: Corners) -> float:
    """Image pixels per event pixel, from how large the same corners appear."""
    _, i, e = np.intersect1d(image.ids, event.ids, return_indices=True)
    if len(i) < 2:
        return 1.0
    a = image.points[i] - image.points[i].mean(axis=0)
    b = event.points[e] - event.points[e].mean(axis=0)
    return float(np.sqrt(np.sum(a * a) / max(float(np.sum(b * b)), 1e-9)))


def _nearest(frames: Sequence[TimedFrame], start_us: int, end_us: int) -> list[TimedFrame]:
    """Without a frame in the stretch: the nearest one, if it is no further off than the stretch is long."""
    room = max(end_us - start_us, 100_000)
    near = [f for f in frames if f.end_us > start_us - room and f.start_us < end_us + room]
    middle = (start_us + end_us) // 2
    return sorted(near, key=lambda f: abs(f.start_us - middle))[:1]


def steady_corners(frames: Sequence[TimedFrame], board: Board, most: int = 4) -> Corners:
    """The corners of a board that stands still, as the mean over some frames.

    Raises:
        BadView: no frame shows the board (the reason of the first), or it moves between frames.
    """
    found: list[Corners] = []
    reason = "no frame was taken while the board stood still"
    # Spread over the stretch, so that a slow drift shows.
    chosen = [
        frames[k]
        for k in np.unique(np.linspace(0, len(frames) - 1, min(most, len(frames))).round().astype(int))
    ]
    hand: bool | None = None
    for f in chosen:
        try:
            c = detect(f.picture, board, when_us=(f.start_us + f.end_us) // 2, mirrored=hand)
        except BadView as e:
            reason = str(e)
            continue
        hand = c.mirrored
        found.append(c)
    if not found:
        raise BadView(reason)
    ids = found[0].ids
    for c in found[1:]:
        ids = np.intersect1d(ids, c.ids)
    if len(ids) < 4:
        return max(found, key=lambda c: len(c.ids))
    stack = np.stack([c.points[np.searchsorted(c.ids, ids)] for c in found])
    spread = float(np.linalg.norm(stack - stack.mean(axis=0), axis=2).max())
    side = float(np.median(np.linalg.norm(np.diff(stack[0], axis=0), axis=1)))
    if spread > max(1.0, 0.02 * side):
        raise BadView(
            f"the board or the rig moved by {2 * spread:.1f} image pixels while it was looked at; hold still"
        )
    first = found[0]
    keep = np.searchsorted(first.ids, ids)
    blurs = [c.blur_px for c in found if c.blur_px is not None]
    return Corners(
        stack.mean(axis=0), ids, first.board[keep], first.when_us, first.mirrored,
        min(c.seen for c in found), max(blurs) if blurs else None,
    )  # fmt: skip
