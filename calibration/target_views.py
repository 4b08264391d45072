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
from calibration.time.streams import Streams
from capture.packets import EventPacket, Events, Frame
from inference.restorers.picture import picture_of
from sync.rig import Rig


def views_of(
    take: Take, rig: Rig, board: Board, told: Callable[[list[View], float], None] = lambda views, share: None
) -> tuple[list[View], list[Missed]]:
    """Views of the board in a take, and what did not become one; nothing without a clock.

    A board that blinks; where none does, one that somebody swings, as long as it is known to a millisecond when
    frames were exposed.

    Args:
        take: read three times, from the beginning until its event time runs back.
        rig: sizes, and the clock as far as it is known.
        board: what is shown.
        told: takes the views so far and the share of the stretches that was looked at, 0…1.
    """
    streams = Streams.of(take.items())
    clock, sure = sure_or_rough_clock(streams, rig)
    if clock is None or not streams.events:
        return [], []
    assert streams.span_us is not None
    begun_us, end_us = streams.span_us
    stills = still_stretches(swaps_of(lambda: _events(take.items())))
    if not stills:
        if sure:
            views, missed = moved_views_of(take.items(), exposures_by(clock, streams), board)
            if views:
                told(views, 1.0)
                return views, [replace(m, begun_us=begun_us) for m in missed]
        # What is said of a board that was not swung, nobody need know who showed none.
        why = describe_nothing(streams.events, (end_us - begun_us) / 1e6)
        return [], [Missed(begun_us, "events", why, begun_us)]
    frames = _frames_of(take.items(), stills, exposures_by(clock, streams))
    # Stretch by stretch, so that a person sees how it goes.
    views, missed = still_views(frames, stills, board, told=lambda some, k: told(some, k / len(stills)))
    return views, [replace(m, begun_us=begun_us) for m in missed]


def _events(items: Iterable[EventPacket | Frame]) -> Iterator[Events]:
    """Packet by packet, as long as time goes on: behind a step back it is another axis, with another clock."""
    last = None
    for item in items:
        if isinstance(item, EventPacket) and len(item.events):
            if last is not None and int(item.events.t[0]) < last:
                return
            last = int(item.events.t[-1])
            yield item.events


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
