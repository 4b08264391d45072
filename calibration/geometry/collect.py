"""From what the cameras gave to views: which frames and which events show the board at the same place.

The clocks of both cameras need not be known for a board that stands still: every stretch without motion is one
view, and any frame from within it will do. A moved board needs frames on the event clock.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.geometry.blinking import (
    Still,
    describe_nothing,
    detect_blinking,
    find_swaps,
    still_stretches,
)
from calibration.geometry.charuco import detect
from calibration.geometry.targets import Board
from calibration.geometry.views import BadView, Corners, Source, View, pair
from capture.packets import Events

F64 = NDArray[np.float64]

SIGMA_PX = {Source.CHARUCO: 0.05, Source.BLINKING: 0.05, Source.RECONSTRUCTED: 0.25, Source.SCENE: 0.8}
"""Expected error of a pair by source, event pixels."""
STEADY_FRAMES = 4
"""Of a stretch without motion; more of them hardly tell more."""


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
        swaps: of what blinked and did not move meanwhile; from two on it was hardly anything but a board.
    """

    when_us: int
    camera: str
    why: str
    begun_us: int = 0
    swaps: int = 0

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
    stills = still_stretches(find_swaps(events))
    if not stills:
        first, last = (int(events.t[0]), int(events.t[-1])) if len(events) else (0, 0)
        return [], [Missed(first, "events", describe_nothing(len(events), (last - first) / 1e6))]
    return still_views(frames, stills, board, name=name)


def still_views(
    frames: Sequence[TimedFrame], stills: Sequence[Still], board: Board, *, name: str = "view",
    told: Callable[[list[View], int], None] = lambda views, looked_at: None,
) -> tuple[list[View], list[Missed]]:  # fmt: skip
    """As `blinking_views`, of stretches that are known; `told` takes the views so far after each of them."""
    views: list[View] = []
    missed: list[Missed] = []
    spans = [(f.start_us, f.end_us) for f in frames]
    for k, still in enumerate(stills):
        n, camera = len(still.swaps), "events"
        try:
            seen = detect_blinking(still, board)
            near = [frames[j] for j in steady_frames(spans, still.start_us, still.end_us)]
            camera = "image"
            image = steady_corners(near, board)
        except BadView as e:
            missed.append(Missed(still.start_us, camera, str(e), swaps=n))
        else:
            keep_pair(views, missed, image, seen, Source.BLINKING, f"{name} {len(views) + 1}", swaps=n)
        told(views, k + 1)
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
    views: list[View], missed: list[Missed], image: Corners, event: Corners, source: Source, name: str, *,
    swaps: int = 0,
) -> None:  # fmt: skip
    """Make a view of one target seen by both cameras, or note that they share nothing of it."""
    scale = _scale(image, event)
    view = pair(image, event, source, scale=scale, sigma_px=SIGMA_PX[source], name=name)
    if len(view) == 0:
        missed.append(
            Missed(view.when_us, "both", "the cameras see different parts of the board", swaps=swaps)
        )  # fmt: skip
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


def steady_frames(spans: Sequence[tuple[int, int]], start_us: int, end_us: int) -> list[int]:
    """Which of these exposures (start, end) show what stood still meanwhile: some, spread over the stretch.

    Without one in the stretch it is the nearest, if it is no further off than the stretch is long.
    """
    # A frame that lies within a swap shows both pictures at once, which is gray; detection refuses it.
    inside = [k for k, (a, b) in enumerate(spans) if a < end_us and b > start_us]
    if inside:
        return [inside[k] for k in _spread(len(inside))]
    room, middle = max(end_us - start_us, 100_000), (start_us + end_us) // 2
    near = [k for k, (a, b) in enumerate(spans) if b > start_us - room and a < end_us + room]
    return sorted(near, key=lambda k: abs(spans[k][0] - middle))[:1]


def _spread(of: int) -> list[int]:
    some = np.linspace(0, of - 1, min(STEADY_FRAMES, of)).round().astype(int)
    return [int(k) for k in np.unique(some)]


def steady_corners(frames: Sequence[TimedFrame], board: Board) -> Corners:
    """The corners of a board that stands still, as the mean over some frames.

    Raises:
        BadView: no frame shows the board (the reason of the first), or it moves between frames.
    """
    found: list[Corners] = []
    reason = "no frame was taken while the board stood still"
    # Spread over the stretch, so that a slow drift shows.
    chosen = [frames[k] for k in _spread(len(frames))]
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
