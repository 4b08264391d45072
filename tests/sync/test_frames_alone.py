"""Frames without events: what a source of frames only gives, and what a refused frame still is."""

from __future__ import annotations

import math

import numpy as np
import pytest

from capture.packets import EventPacket, Events, Frame, FrameClock, FrameKind, PixelLayout, TriggerEdges
from sync.exposure import AlignedExposure, ExposureSource, Refusal, RefusedExposure
from sync.rig import Clock, EventEntry, ImageEntry, Rig
from sync.synchroniser import Synchroniser

W, H = 24, 16
IMAGE = np.zeros((H, W), np.uint8)


def frame(
    k: int, *, clock: FrameClock = FrameClock.EVENT, end: bool = True, kind: FrameKind = FrameKind.SENSOR
) -> Frame:
    start = 1_000_000 + 40_000 * k
    stop = (start + 30_000) * 1000 if end else None
    return Frame(IMAGE, PixelLayout.GRAY, k, start * 1000, stop, clock, kind=kind)


def with_events() -> Rig:
    return Rig(
        events=EventEntry(camera="toy", width=W, height=H), image=ImageEntry(camera="toy", width=W, height=H),
        clock=Clock(relation="same"),
    )  # fmt: skip


def alone(o: object, rig: Rig) -> AlignedExposure:
    assert isinstance(o, RefusedExposure)
    a = o.frame_alone(rig)
    assert a is not None
    assert len(a.events) == 0
    assert a.frame is o.frame
    assert a.ordinal == o.ordinal
    return a


def test_a_source_of_frames_only_answers_each_frame_at_once() -> None:
    rig = Rig.frames_only("tape", (W, H))
    assert not rig.has_events
    assert with_events().has_events
    sync = Synchroniser(rig)
    for k in range(5):
        sync.push_frame(frame(k))
        (o,) = sync.take(None)
        assert isinstance(o, RefusedExposure)
        assert o.reason is Refusal.NO_EVENT_STREAM
        a = alone(o, rig)
        assert (a.exposure.start_us, a.exposure.end_us) == (1_000_000 + 40_000 * k, 1_030_000 + 40_000 * k)
        assert a.exposure.source is ExposureSource.CHUNK
        assert (a.alone, a.complete) == ("", True), "nothing is amiss: there is no event camera"
    c = sync.counters
    assert c.frames_in == 5 == sum(c.refused.values())
    assert c.waiting == 0


def test_frames_only_with_stamps_of_another_clock_or_none() -> None:
    rig = Rig.frames_only("webcam", (W, H))
    sync = Synchroniser(rig)
    sync.push_frame(frame(0, clock=FrameClock.DEVICE))
    sync.push_frame(frame(1, end=False))
    sync.push_frame(frame(2, kind=FrameKind.ACCUMULATOR))
    device, endless, drawn = sync.take(None)
    for o, at in ((device, 1_030_000), (endless, 1_040_000)):
        a = alone(o, rig)
        assert not a.exposure.known
        assert a.exposure.source is ExposureSource.UNKNOWN
        assert a.exposure.start_us == at, "in the frames' own order of time"
        assert math.isinf(a.exposure.uncertainty_us)
        assert a.alone
    assert isinstance(drawn, RefusedExposure)
    assert drawn.reason is Refusal.ACCUMULATOR
    assert drawn.frame_alone(rig) is None, "nothing was exposed"


def test_an_unknown_exposure_lies_where_the_events_had_come() -> None:
    sync = Synchroniser(with_events())
    sync.push_events(EventPacket(Events.empty(W, H), TriggerEdges.empty(), 777_000))
    sync.push_frame(Frame(IMAGE, PixelLayout.GRAY, 0, None, None, FrameClock.DEVICE, host_ns=5_000_000_000))
    (o,) = sync.take(None)
    assert isinstance(o, RefusedExposure)
    assert o.reason is Refusal.NO_EXPOSURE
    assert o.at_us == 777_000
    assert alone(o, sync.rig).alone == "no exposure"


def test_a_known_exposure_without_events_is_kept() -> None:
    sync = Synchroniser(with_events())
    sync.push_frame(frame(0))
    (o,) = sync.finish()
    assert isinstance(o, RefusedExposure)
    assert o.reason is Refusal.NO_EVENT_STREAM
    a = alone(o, sync.rig)
    assert a.exposure.known
    assert a.exposure.end_us == 1_030_000 == o.at_us
    assert not a.complete
    assert a.alone == "no event stream"


@pytest.mark.parametrize("reason", [r for r in Refusal if r is not Refusal.ACCUMULATOR])
def test_every_photograph_can_be_taken_alone_and_says_why_it_is(reason: Refusal) -> None:
    a = RefusedExposure(frame(0), reason, "detail", 3, at_us=9).frame_alone(with_events())
    assert a is not None
    assert a.alone
    assert ":" not in a.alone
