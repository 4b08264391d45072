"""One stretch of time of both cameras, and a first idea of its clock."""

from __future__ import annotations

from dataclasses import dataclass, field

from calibration.field import Items
from calibration.time.arrival import by_arrival
from calibration.time.result import AffineClock, Verdict
from calibration.time.streams import Streams
from calibration.time.trigger import by_triggers
from capture.packets import Frame, FrameClock
from sync.rig import Rig

SURE_US = 1_000.0
"""A clock that is known this well places frames of something that moves."""


@dataclass(frozen=True, slots=True)
class Take:
    """Both streams of one stretch of time.

    Attributes:
        name: for the report.
        items: gives them from the beginning, each time it is called.
        serials: of the cameras by role ("events", "image"), as far as known.
        by_driver: see `recordings.recording.RecordingInfo`.
    """

    name: str
    items: Items
    serials: dict[str, str] = field(default_factory=dict)
    by_driver: bool = False


def rough_clock(streams: Streams, rig: Rig) -> AffineClock | None:
    """Good to some ms: enough for a board that stands still. None where nothing relates the streams."""
    return sure_or_rough_clock(streams, rig)[0]


def sure_or_rough_clock(streams: Streams, rig: Rig) -> tuple[AffineClock | None, bool]:
    """As `rough_clock`, and whether it is good to a millisecond: by edges, or by stamps that are
    known that well."""
    if any(f.clock is FrameClock.EVENT for f in streams.frames()):
        unsure_us = rig.clock.delay_uncertainty_us if rig.clock.relation == "same" else None
        return AffineClock(0, rig.clock.stamp_delay_us, 0.0), unsure_us is not None and unsure_us <= SURE_US
    found = by_triggers(streams, rig) if streams.edges else None
    if found is not None and found.clock is not None and found.verdict is not Verdict.FAIL:
        return found.clock, True
    arrival = by_arrival(streams, rig.clock)
    return None if arrival is None else arrival.clock, False


def exposures_by(clock: AffineClock, streams: Streams) -> dict[int, tuple[int, int]]:
    """(start, end) µs on the event clock by the frame's place in the stream, of frames with both stamps for
    which the clock holds."""
    found = {k: exposure_by(clock, f) for k, f in enumerate(streams.frames()) if clock.holds(k)}
    return {k: x for k, x in found.items() if x is not None}


def exposure_by(clock: AffineClock, frame: Frame) -> tuple[int, int] | None:
    """(start, end) µs on the event clock; None where a stamp is missing."""
    if frame.device_start_ns is None or frame.device_end_ns is None:
        return None
    return round(clock.event_us(frame.device_start_ns)), round(clock.event_us(frame.device_end_ns))
