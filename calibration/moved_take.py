"""Views of a board that somebody swings before both cameras, in a take however long it is."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np

from calibration.geometry.charuco import as_gray
from calibration.geometry.collect import Missed, TimedFrame
from calibration.geometry.moved import TAU_US, moved_views
from calibration.geometry.targets import Board
from calibration.geometry.views import View
from capture.packets import EventPacket, Events, Frame
from inference.restorers.picture import picture_of

FRAMES = 40
AROUND_US = round(4 * TAU_US)
"""Events on both sides of a frame of which its picture is rebuilt."""
MOST_EVENTS = 40_000_000
"""Held at once: some two gigabytes while they are worked on. Where more come, the earliest are left out, which
weigh least."""


def moved_views_of(
    items: Iterable[EventPacket | Frame], exposures: dict[int, tuple[int, int]], board: Board,
    told: Callable[[list[View], float], None] = lambda views, share: None,
) -> tuple[list[View], list[Missed]]:  # fmt: skip
    """Views of a moving board, from frames evenly over a take, and what did not become one.

    Args:
        items: both streams in order, on one axis of time. Of the events, a second or so is held, around
            a frame.
        exposures: (start, end) µs by the frame's place in the stream, right to a millisecond: while the board
            moves, a frame at another time shows it elsewhere.
        board: what is swung.
        told: takes the views so far and the share of the frames that was looked at, 0…1.
    """
    places = sorted(exposures)
    chosen = np.unique(np.linspace(0, len(places) - 1, min(FRAMES, len(places))).round().astype(int))
    wanted = {places[k] for k in chosen.tolist()}
    views: list[View] = []
    missed: list[Missed] = []
    parts: deque[Events] = deque()
    held = looked_at = 0
    waiting: deque[TimedFrame] = deque()
    place = -1
    until = -1

    def drop(before_us: int) -> None:
        nonlocal held
        while len(parts) > 1 and (int(parts[0].t[-1]) < before_us or held > MOST_EVENTS):
            held -= len(parts.popleft())

    def look(final: bool) -> None:
        nonlocal looked_at
        while waiting and parts and (final or until >= _middle(waiting[0]) + AROUND_US):
            frame = waiting.popleft()
            drop(_middle(frame) - AROUND_US)
            found, lost = moved_views([frame], Events.concatenate(list(parts)), board)
            views.extend(replace(v, name=f"view {len(views) + 1}") for v in found)
            missed.extend(lost)
            looked_at += 1
            told(views, looked_at / len(wanted))

    for item in items:
        if isinstance(item, EventPacket):
            until = item.complete_until_us
            if len(item.events):
                parts.append(item.events)
                held += len(item.events)
            # A frame comes later than its events.
            drop((_middle(waiting[0]) if waiting else until - AROUND_US) - AROUND_US)
            look(False)
            continue
        place += 1
        if place in wanted:
            waiting.append(TimedFrame(*exposures[place], as_gray(picture_of(item))))
    look(True)
    return views, missed


def _middle(f: TimedFrame) -> int:
    return (f.start_us + f.end_us) // 2
