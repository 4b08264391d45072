"""What an offline run reads: a recording, or a stretch of the simulated rig."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from app.sources import rig_for, rig_of, unplaced
from capture.errors import UsageError
from capture.packets import EventPacket, Frame
from sync.rig import Rig

if TYPE_CHECKING:
    from recordings.recording import Recording

Item = EventPacket | Frame

LEAD_US, LEAD_FRAMES = 3_000_000, 20
"""Where only a later part is asked for, reading begins so long, and about so many frames, before it."""


@dataclass(slots=True)
class OfflineInput:
    """A source that ends.

    Attributes:
        name: as the person gave it.
        rig: geometry and sizes.
        items: packets and frames in order of time, a frame at the end of its exposure.
        span_us: length of what `items` give, on the event clock, for the progress bar.
        problems: what reading found wrong, one line each; complete once `items` is exhausted.
        prepare: what takes long before the first item (the simulated scene), with a callback for its share 0…1.
        placed: it is known how event pixels lie on the pictures.
        zero_us: where times that a person gives count from, when `items` begin later than that; else None.
    """

    name: str
    rig: Rig
    items: Iterator[Item]
    span_us: int
    problems: Callable[[], list[str]] = list
    prepare: Callable[[Callable[[float], None]], None] = lambda _progress: None
    placed: bool = True
    zero_us: int | None = None


@contextmanager
def open_input(
    text: str,
    seconds: float | None = None,
    exposure_us: int | None = None,
    geometry: tuple[int, int] | None = None,
    rig: Path | None = None,
    *,
    placed: bool = True,
    from_us: int = 0,
    zero_us: int | None = None,
) -> Iterator[OfflineInput]:
    """The simulated rig (`simulated`, `simulated:PRESET`; 5 s unless `seconds` is given) or a recording.

    `seconds` of a recording: only its first so many. `exposure_us`: how long frames of a recording were exposed
    that does not say it. `geometry`: the size of its event sensor, where it does not say that. `rig`: the rig
    file that tells how its cameras' pixels lie, where it does not say that. `placed` False: nothing need tell
    it, both streams are used as they came. `from_us`: what lies before that is not wanted, counted from
    `zero_us` (None: the first event); what need not be read of it is left out, which `zero_us` of the result
    tells.

    A recording without events opens all the same: networks that need none restore its frames.

    Raises:
        UsageError: an unknown preset, a path that is not there, a rig file (its cameras never end), something
            stated about the simulated rig, no length of time.
        RecordingError: not usable, or without frames.
    """
    if seconds is not None and not (math.isfinite(seconds) and seconds > 0):
        raise UsageError(f"the first {seconds:g} seconds of {text} are none; give more than 0")
    if text == "simulated" or text.startswith("simulated:"):
        for option, what, value in (
            ("--rig", "rig", rig), ("--exposure-us", "exposure", exposure_us),
            ("--geometry", "geometry", geometry),
        ):  # fmt: skip
            if value is not None:
                raise UsageError(f"{option} is for recordings; {text} knows its own {what}")
        yield _simulated(text, 5.0 if seconds is None else seconds)
        return
    path = Path(text)
    if path.suffix.lower() == ".toml":
        raise UsageError(f"{text} is a rig file, whose cameras never end; give a recording or `simulated`")
    try:
        there = path.exists()
    except OSError as e:
        raise UsageError(f"{text}: {e.strerror}; give the path of a recording, or `simulated`") from e
    if not there:
        raise UsageError(f"{text} does not exist; give the path of a recording, or `simulated`")
    from recordings.open import open_recording, require_frames

    with open_recording(path, exposure_us=exposure_us, geometry=geometry, rig=rig) as recording:
        info = recording.info
        require_frames(recording)
        size, image = info.event_size, info.image_size
        if not placed and rig is None and size and image and rig_of(recording, text) is None:
            its, told = unplaced(text, size, image), False
        else:
            its, told = rig_for(recording, text, rig), True
        # Two cameras' clocks are found from their beginning, with what only that tells.
        late = from_us if its.has_events and its.clock.relation == "same" else 0
        items, span, zero = read_from(recording, seconds, late, zero_us, events=its.has_events)

        def problems() -> list[str]:
            return list(dict.fromkeys([*info.problems, *recording.report.problems]))

        yield OfflineInput(text, its, items, span, problems, placed=told, zero_us=zero)


def read_from(
    recording: Recording, seconds: float | None, from_us: int, zero_us: int | None, *, events: bool = True
) -> tuple[Iterator[Item], int, int | None]:
    """What is read of a recording: the items, the length of time they last, and `zero_us` of it.

    Arguments and `zero_us` are as those of `open_input` and `OfflineInput`; `events`: it has some, else its
    time is that of its frames.
    """
    info = recording.info
    zero = begin = None
    if from_us:
        zero = _first_us(recording) if zero_us is None else zero_us
        begin = _late_start_us(recording, zero, from_us)
    items, span = recording.items(begin), max(1, info.end_us - info.start_us)
    if seconds is not None:
        span = min(span, round(seconds * 1e6))
        items = until(items, span, events=events, start_us=None if begin is None else zero)
    if begin is None or zero is None:
        return items, span, None
    return items, max(1, span - (begin - zero)), zero


def _first_us(recording: Recording) -> int:
    """When the first packet begins."""
    items = recording.items()
    found = next((begin_us(item) for item in items if isinstance(item, EventPacket)), recording.info.start_us)
    if isinstance(items, Generator):
        items.close()
    return found


def _late_start_us(recording: Recording, zero_us: int, from_us: int) -> int | None:
    """Where reading begins, None: at the beginning."""
    info = recording.info
    wanted = min(zero_us + from_us, info.end_us)
    if wanted - LEAD_US <= info.start_us:
        return None
    lead = LEAD_US
    if info.image_size is not None:
        # A file that does not count its frames lists them for a seek anyway.
        frames = len(recording.frame_times_us()) if info.frames is None else info.frames
        if not frames:
            return None
        lead = max(lead, LEAD_FRAMES * (info.end_us - info.start_us) // frames)
    begin = wanted - lead
    return begin if begin > info.start_us else None


def _simulated(text: str, seconds: float) -> OfflineInput:
    from capture.registry import open_driver
    from capture.simulated.presets import SimulatedConfig
    from capture.simulated.rig import SimulatedRig

    _, config = open_driver(text)
    assert isinstance(config, SimulatedConfig)
    simulated = SimulatedRig(config)
    rig = Rig.from_facts(text, simulated.facts())
    return OfflineInput(text, rig, simulated.items(seconds), round(seconds * 1e6), prepare=simulated.prepare)


def until(
    items: Iterator[Item], span_us: int, *, events: bool = True, start_us: int | None = None
) -> Iterator[Item]:
    """The items of the first `span_us` by the events' own time, or the frames' where there are no `events`.

    `start_us`: where these begin; None: with the first item.
    """
    start = start_us
    for item in items:
        begin = item_begin_us(item, events)
        if begin is not None:
            start = begin if start is None else start
            if begin >= start + span_us:
                return
        yield item


def begin_us(packet: EventPacket) -> int:
    """When a packet begins, by its events; one without any has its end alone."""
    return int(packet.events.t[0]) if len(packet.events) else packet.complete_until_us


def item_begin_us(item: Item, events: bool) -> int | None:
    """When an item begins, in µs; None for those whose time is not the source's: frames beside `events`."""
    if isinstance(item, EventPacket):
        return begin_us(item)
    if events:
        return None
    # Frames alone have any clock; who has none is told by arrival.
    return (item.arrival_ns if item.device_start_ns is None else item.device_start_ns) // 1000
