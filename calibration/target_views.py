"""Views of the board in a take, however long it is: pictures are held, and never all of its events."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import numpy as np

from calibration.geometry.blinking import Still, describe_nothing, still_stretches, swaps_of
from calibration.geometry.charuco import as_gray
from calibration.geometry.collect import Missed, TimedFrame, steady_frames, still_views
from calibration.geometry.targets import Board
from calibration.geometry.views import View
from calibration.moved_take import moved_views_of
from calibration.take import Take, exposures_by, sure_or_rough_clock
from calibration.time.streams import Streams, until_back
from capture.packets import EventPacket, Frame
from inference.restorers.picture import picture_of
from sync.rig import Rig


def views_of(
    take: Take, rig: Rig, board: Board, told: Callable[[list[View], float], None] = lambda views, share: None
) -> tuple[list[View], list[Missed]]:
    """Views of the board in a take, and what did not become one; nothing without a clock.

    A board that blinks; where none does, one that somebody swings, as long as it is known to a millisecond when
    frames were exposed.

    Args:
        take: read five times at most, from the beginning until its event time runs back.
        rig: sizes, and the clock as far as it is known.
        board: what is shown.
        told: takes the views so far and the share of the stretches, or frames, that was looked at, 0…1.
    """

    def items() -> Iterator[EventPacket | Frame]:
        return until_back(take.items())

    streams = Streams.of(items())
    clock, sure = sure_or_rough_clock(streams, rig)
    if clock is None or not streams.events:
        return [], []
    assert streams.span_us is not None
    begun_us, end_us = streams.span_us
    stills = still_stretches(swaps_of(lambda: (i.events for i in items() if isinstance(i, EventPacket))))
    views: list[View] = []
    missed = [Missed(begun_us, "events", describe_nothing(streams.events, (end_us - begun_us) / 1e6))]
    exposures = exposures_by(clock, streams)
    if stills:
        frames = _frames_of(items(), stills, exposures)
        # Stretch by stretch, so that a person sees how it goes.
        views, missed = still_views(frames, stills, board, told=lambda some, k: told(some, k / len(stills)))
    # A single burst may be anything; what comes again is hardly anything but a board.
    if not views and sure and not any(len(s.swaps) > 1 for s in stills):
        swung, lost = moved_views_of(items(), exposures, board, told)
        # What is said of a board that was not swung, nobody need know who showed none.
        if swung:
            views, missed = swung, lost
    return views, [replace(m, begun_us=begun_us) for m in missed]


def _frames_of(
    items: Iterable[EventPacket | Frame], stills: list[Still], exposures: dict[int, tuple[int, int]]
) -> list[TimedFrame]:
    """Gray pictures of the few frames that show each stretch."""
    places, spans = list(exposures), list(exposures.values())
    chosen = [steady_frames(spans, s.start_us, s.end_us) for s in stills]
    wanted = {places[k] for some in chosen for k in some}
    return [
        TimedFrame(*exposures[place], np.asarray(as_gray(picture_of(f)), np.uint8))
        for place, f in enumerate(i for i in items if isinstance(i, Frame))
        if place in wanted
    ]
