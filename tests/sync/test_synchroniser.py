"""The synchroniser on streams whose truth is known."""

from __future__ import annotations

import numpy as np

from capture.packets import EventPacket, Frame, FrameClock, PixelLayout
from sync.exposure import AlignedExposure, ExposureSource, Refusal, RefusedExposure
from sync.synchroniser import Outcome, Synchroniser
from tests.sync.exposures_sim import IMAGE, Setup, packet, simulate, small_rig

NONE = np.empty(0, np.int64), np.empty(0, np.bool_)
SAME = {"relation": "same"}


def frame(
    sequence: int,
    start_us: float | None,
    end_us: float | None,
    clock: FrameClock = FrameClock.EVENT,
    **more: object,
) -> Frame:
    def ns(x: float | None) -> int | None:
        return None if x is None else round(x * 1000)

    return Frame(IMAGE, PixelLayout.GRAY, sequence, ns(start_us), ns(end_us), clock, **more)  # type: ignore[arg-type]


def events(start: int, until: int, every: int = 100, **more: object) -> EventPacket:
    return packet(np.arange(start, until, every), *NONE, until, **more)


def balanced(y: Synchroniser) -> bool:
    c = y.counters
    return c.frames_in == c.aligned + sum(c.refused.values()) + c.superseded + c.waiting


def only(out: list[Outcome]) -> Outcome:
    assert len(out) == 1
    return out[0]


def refused(o: Outcome) -> Refusal:
    assert isinstance(o, RefusedExposure), o
    assert "\n" not in o.detail
    return o.reason


def aligned(o: Outcome) -> AlignedExposure:
    assert isinstance(o, AlignedExposure), o
    return o


def test_exposure_on_the_event_clock_is_cut_exactly() -> None:
    y = Synchroniser(small_rig(**SAME))
    y.push_events(events(0, 10_000))
    y.push_frame(frame(0, 2_000, 8_000))
    a = aligned(only(y.take()))
    assert (a.exposure.start_us, a.exposure.end_us) == (2_000, 8_000)
    assert a.exposure.source is ExposureSource.CHUNK
    assert a.exposure.uncertainty_us <= 1.0
    assert a.events.t.tolist() == list(range(2_000, 8_000, 100))
    assert a.complete
    assert a.ordinal == 0


def test_waits_until_events_are_complete() -> None:
    y = Synchroniser(small_rig(**SAME), margin_after_us=1_000)
    y.push_events(events(0, 5_000))
    y.push_frame(frame(0, 2_000, 8_000))
    assert y.take() == []
    y.push_events(events(5_000, 8_999))
    assert y.take() == []
    assert y.counters.waiting == 1
    y.push_events(events(9_000, 9_001))
    a = aligned(only(y.take()))
    assert (a.window_start_us, a.window_end_us) == (2_000, 9_000)
    assert a.events.t[-1] == 8_900
    assert a.exposure_events().t.tolist() == list(range(2_000, 8_000, 100))


def replay(
    setup: Setup, *, each: bool = True
) -> tuple[Synchroniser, list[Outcome], dict[int, tuple[float, float]]]:
    sim = simulate(setup)
    y = Synchroniser(small_rig(active_high=setup.active_high))
    out: list[Outcome] = []
    for item in sim.items:
        if isinstance(item, EventPacket):
            y.push_events(item)
        else:
            y.push_frame(item)
        if each:
            out += y.take()
    out += y.finish()
    assert balanced(y)
    assert y.counters.waiting == 0
    assert [o.ordinal for o in out] == list(range(len(out)))
    return y, out, sim.truth


def errors_us(out: list[Outcome], truth: dict[int, tuple[float, float]]) -> list[float]:
    found = []
    for o in out:
        if isinstance(o, AlignedExposure):
            a, b = truth[o.frame.sequence]
            found.append(max(abs(o.exposure.start_us - a), abs(o.exposure.end_us - b)))
    return found


def test_trigger_edges_give_the_exposures() -> None:
    y, out, truth = replay(Setup())
    assert y.counters.aligned == 60
    assert {aligned(o).exposure.source for o in out} == {ExposureSource.TRIGGER}
    assert y.counters.edges_matched == y.counters.edges_in == 120
    assert max(errors_us(out, truth)) < 30
