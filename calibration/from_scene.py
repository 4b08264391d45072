"""Geometry from a moving scene, the last resort: which stretch of a take is looked at, with which clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.geometry.collect import TimedFrame
from calibration.geometry.scene import SceneResult, solve_scene
from calibration.geometry.scene_search import Told
from calibration.take import Take, exposures_by, rough_clock
from calibration.time.result import AffineClock
from calibration.time.streams import Streams, until_back
from capture.packets import EventPacket, Events
from inference.restorers.picture import picture_of
from sync.rig import Rig
from sync.rolling import moved

FRAMES = 60
MOST_EVENTS = 80_000_000
"""Of the stretch: some two gigabytes while they are worked on. Where more come, fewer frames are looked at."""
AROUND_US = 100_000


@dataclass(frozen=True, slots=True)
class FromScene:
    """What a scene said, and the clock by which its frames were placed."""

    result: SceneResult
    clock: AffineClock


def from_scene(
    take: Take, rig: Rig, lens: str, clock: AffineClock | None = None, told: Told = lambda share: None
) -> FromScene | None:
    """Geometry from the stretch of a take in which most moves; None without a clock or without frames.

    Args:
        take: read twice, from the beginning until its event time runs back.
        rig: sizes, shutter and tone; its map is the start where it was measured.
        lens: see `calibration.geometry.solve.solve`.
        clock: of this take, when it is known better than by edges or arrivals.
        told: progress, the share that is done.
    """
    streams = Streams.of(until_back(take.items()))
    clock = clock or rough_clock(streams, rig)
    if clock is None:
        return None
    exposures = exposures_by(clock, streams)
    places = sorted(exposures)
    spans = [exposures[k] for k in places]
    first, end = liveliest(spans, *streams.arrived())
    wanted = {places[k]: spans[k] for k in range(first, end)}
    if len(wanted) < 2:
        return None
    frames, events = _read(take, rig, wanted)
    if len(frames) < 2 or not events:
        return None
    result = solve_scene(
        frames, Events.concatenate(events), (rig.image.width, rig.image.height),
        (rig.events.width, rig.events.height), tone=rig.image.tone,
        start=rig.image_from_event if rig.geometry.residual_px is not None else None,
        lens=lens, told=told,  # type: ignore[arg-type]
    )  # fmt: skip
    return FromScene(result, clock)


def liveliest(
    spans: Sequence[tuple[int, int]], at_us: NDArray[np.int64], events: NDArray[np.int64]
) -> tuple[int, int]:
    """The frames in a row, [first, end), from each of which to the next most happens; 60 at most.

    Args:
        spans: exposures (start, end), in order of time.
        at_us, events: (N,) that many events had come until then, since the beginning.
    """
    if len(spans) < 2 or not len(at_us):
        return 0, 0
    came = np.interp([a for a, _ in spans], at_us, events)
    steps = np.diff(came)
    n = min(FRAMES, len(spans)) - 1
    # A board that blinks makes bursts, and between them hardly an event comes: a burst counts as much as the
    # steps of steady motion do.
    windows = np.lib.stride_tricks.sliding_window_view
    steady = float(np.median(windows(steps, n), axis=1).max())
    first = int(np.argmax(windows(np.minimum(steps, steady), n).mean(axis=1)))
    within = int(np.searchsorted(came[first : first + n + 1] - came[first], MOST_EVENTS, side="right"))
    return first, first + max(2, within)


def _read(
    take: Take, rig: Rig, wanted: dict[int, tuple[int, int]]
) -> tuple[list[TimedFrame], list[Events]]:  # fmt: skip
    begin = min(a for a, _ in wanted.values()) - AROUND_US
    end = max(b for _, b in wanted.values()) + AROUND_US
    frames: list[TimedFrame] = []
    parts: list[Events] = []
    place, until = -1, -1
    for item in moved(until_back(take.items()), rig):
        if isinstance(item, EventPacket):
            if len(frames) == len(wanted) and until > end:
                break
            until = item.complete_until_us
            part = item.events.between(begin, end)
            parts += [part] if len(part) else []
            continue
        place += 1
        if place in wanted:
            frames.append(TimedFrame(*wanted[place], picture_of(item)))
    return frames, parts
