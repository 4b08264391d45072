"""A board moved by hand before an event camera: its picture at one instant, rebuilt from the events around it.

Summing a pixel's events with weights that fall off in time, c · Σ p · exp(-|t - t0| / τ), those after t0 with
the other sign, gives exactly log L(t0) minus the mean of log L under the kernel exp(-|t - t0| / τ) / 2τ: the
picture at t0 less its own smear over the motion. For a board that moves by a square or so within τ the smear is
nearly gray, and markers can be read and corners fitted as in a frame. The leak forgets old errors.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.geometry.charuco import detect
from calibration.geometry.collect import Missed, TimedFrame, keep_pair
from calibration.geometry.targets import Board
from calibration.geometry.views import BadView, Source, View
from capture.packets import Events

F32 = NDArray[np.float32]

TAU_US = 120_000.0
"""Time constant: about how long a hand takes to move the board by a square."""
MIN_ACTIVITY = 0.3
"""Events per pixel within two time constants, below which the board does not move."""


def rebuilt_picture(events: Events, at_us: int, tau_us: float = TAU_US) -> F32:
    """(H, W) float32: log light at an instant less its mean around it, in units of the contrast threshold.

    Args:
        events: from some three time constants before to three after the instant.
        at_us: the instant.
        tau_us: time constant of the leak.
    """
    near = events.between(round(at_us - 4 * tau_us), round(at_us + 4 * tau_us))
    since = (near.t - at_us).astype(np.float64)
    sign = np.where(near.p, 1.0, -1.0) * np.where(since <= 0, 0.5, -0.5)
    index = near.y.astype(np.int64) * near.width + near.x
    total = np.bincount(index, sign * np.exp(-np.abs(since) / tau_us), near.width * near.height)
    return total.reshape(near.height, near.width).astype(np.float32)


def moved_views(
    frames: Sequence[TimedFrame], events: Events, board: Board, *, tau_us: float = TAU_US, name: str = "view"
) -> tuple[list[View], list[Missed]]:
    """Views of a board that is moved: one for each frame in which it is sharp enough.

    Args:
        frames: with exposures on the event clock, to a millisecond or so.
        events: of the whole time.
        board: what is moved.
        tau_us: see `rebuilt_picture`.
        name: views are called `name` 1, 2, …
    """
    views: list[View] = []
    missed: list[Missed] = []
    hand: bool | None = None
    for f in frames:
        middle = (f.start_us + f.end_us) // 2
        # First in the frame: that takes far less than rebuilding a picture in which there is no board.
        try:
            image = detect(f.picture, board, when_us=middle)
        except BadView as e:
            missed.append(Missed(middle, "image", str(e)))
            continue
        around = events.between(round(middle - tau_us), round(middle + tau_us))
        if len(around) < MIN_ACTIVITY * events.width * events.height:
            why = "the board does not move; swing it by a square or two, or let it blink"
            missed.append(Missed(middle, "events", why))
            continue
        picture = rebuilt_picture(events, middle, tau_us)
        # Threshold noise of single pixels is as large as a bit of a marker; a pixel's breadth of blur calms it.
        picture = np.asarray(cv2.GaussianBlur(np.clip(picture, -8, 8), (0, 0), 0.6), np.float32)
        try:
            seen = detect(picture, board, when_us=middle, mirrored=hand)
        except BadView as e:
            missed.append(Missed(middle, "events", str(e)))
            continue
        hand = seen.mirrored
        keep_pair(views, missed, image, seen, Source.RECONSTRUCTED, f"{name} {len(views) + 1}")
    return views, missed
