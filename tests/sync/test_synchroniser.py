"""The synchroniser: windows, waits, refusals, epochs, order, accounts."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capture.errors import InvalidPacket
from capture.packets import (
    EventPacket,
    Events,
    Frame,
    FrameClock,
    FrameKind,
    PixelLayout,
    Rejected,
    TriggerEdges,
)
from sync.exposure import AlignedExposure, ExposureSource, Refusal
from sync.synchroniser import Outcome, Synchroniser
from tests.sync.exposures_sim import HEIGHT, IMAGE, WIDTH, Setup, packet, simulate, small_rig
from tests.sync.replaying import LOSSES, aligned, balanced, refused, replay

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


def only(out: list[Outcome]) -> Outcome:
    assert len(out) == 1
    return out[0]


# -- exposures on the event clock ----------------------------------------------------------------------------


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


def test_margins_reach_before_and_after_and_can_change() -> None:
    y = Synchroniser(small_rig(**SAME))
    y.set_margins(1_000, 500)
    y.push_events(events(0, 30_000))
    y.push_frame(frame(0, 10_000, 12_000))
    y.set_margins(0, 0)
    y.push_frame(frame(1, 20_000, 22_000))
    a, b = map(aligned, y.take())
    assert (a.window_start_us, a.window_end_us, int(a.events.t[0])) == (9_000, 12_500, 9_000)
    assert (b.window_start_us, b.window_end_us) == (20_000, 22_000)
    with pytest.raises(ValueError, match="negative"):
        y.set_margins(-1, 0)


def test_events_of_answered_frames_are_given_back() -> None:
    y, held = Synchroniser(small_rig(**SAME)), []
    for n in range(60):
        y.push_events(events(50_000 * n, 50_000 * (n + 1)))
        y.push_frame(frame(n, 50_000 * n + 10_000, 50_000 * n + 40_000))
        assert isinstance(only(y.take()), AlignedExposure)
        held.append(y.held_bytes)
    # Half a second stays, so that a network that wants more before the exposure has it at once.
    assert max(held) == held[20] == held[-1] <= 1.2 * held[9]
    y.set_margins(400_000, 0)
    y.push_events(events(3_000_000, 3_050_000))
    y.push_frame(frame(60, 3_010_000, 3_040_000))
    a = only(y.take())
    assert isinstance(a, AlignedExposure)
    assert (a.complete, a.window_start_us, len(a.events)) == (True, 2_610_000, 4_300)
    assert y.counters.events_in == 30_500


def test_frames_that_wait_keep_their_events() -> None:
    y = Synchroniser(small_rig(**SAME), max_wait_us=3_000_000)
    for n in range(40):
        y.push_events(events(50_000 * n, 50_000 * (n + 1)))
    y.push_frame(frame(0, 10_000, 40_000))
    y.push_frame(frame(1, 1_910_000, 2_040_000))
    assert len(only(y.take()).events) == 300  # type: ignore[union-attr]
    y.push_frame(frame(2, 1_960_000, 2_090_000))
    y.push_events(events(2_000_000, 2_100_000))
    assert [len(a.events) for a in y.take()] == [1300, 1300]  # type: ignore[union-attr]


def test_margins_are_clipped_to_the_stream() -> None:
    y = Synchroniser(small_rig(**SAME), margin_before_us=5_000, margin_after_us=5_000)
    y.push_events(events(1_000, 10_000))
    y.push_frame(frame(0, 2_000, 9_000))
    assert y.take() == []
    a = aligned(only(y.finish()))
    assert (a.window_start_us, a.window_end_us) == (1_000, 10_000)
    assert a.complete


# -- refusals ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (frame(0, None, None), Refusal.NO_EXPOSURE),
        (frame(0, 1_000, None), Refusal.NO_EXPOSURE),
        (frame(0, None, 2_000), Refusal.NO_EXPOSURE),
        (frame(0, None, None, FrameClock.DEVICE), Refusal.NO_EXPOSURE),
        (frame(0, 2_000, 2_000), Refusal.ZERO_EXPOSURE),
        (frame(0, 2_000.0, 2_000.3), Refusal.ZERO_EXPOSURE),
        (frame(0, 2_000, 2_000, FrameClock.DEVICE), Refusal.ZERO_EXPOSURE),
        (frame(0, 2_000, 4_000, kind=FrameKind.ACCUMULATOR), Refusal.ACCUMULATOR),
        (frame(0, -9_000, -4_000), Refusal.OUTSIDE_STREAM),
        (frame(0, -9_000, 2_000), Refusal.OUTSIDE_STREAM),
        (frame(0, 25_000, 29_000), Refusal.OUTSIDE_STREAM),
        (frame(0, 5_000, 9_000, FrameClock.DEVICE), Refusal.NO_EXPOSURE),
    ],
)
def test_refused_by_name(bad: Frame, reason: Refusal) -> None:
    y = Synchroniser(small_rig(**SAME))
    y.push_events(events(0, 20_000))
    y.push_frame(bad)
    assert refused(only(y.finish())) is reason
    assert y.counters.refused == {reason.name: 1}
    assert balanced(y)


def test_no_event_stream() -> None:
    y = Synchroniser(small_rig(**SAME))
    for k in range(20):
        y.push_frame(frame(k, 40_000 * k, 40_000 * k + 9_000))
    early = y.take()
    # 250 ms of frames and not one event packet: refused without waiting for the end.
    assert len(early) == 13
    assert {refused(o) for o in [*early, *y.finish()]} == {Refusal.NO_EVENT_STREAM}
    assert y.counters.refused == {"NO_EVENT_STREAM": 20}


def test_events_that_stall_are_refused_within_the_bound() -> None:
    y = Synchroniser(small_rig(**SAME), max_wait_us=100_000)
    y.push_events(events(0, 10_000))
    for k in range(8):
        y.push_frame(frame(k, 40_000 * k, 40_000 * k + 9_000))
    out = y.take()
    aligned(out[0])
    assert [refused(o) for o in out[1:]] == [Refusal.NO_EVENTS_YET] * 4  # 40 … 160 ms, newest 280 ms
    y.push_events(events(10_000, 400_000))
    assert [aligned(o).ordinal for o in y.take()] == [5, 6, 7]
    assert balanced(y)


def test_host_time_bounds_the_wait_only_when_told() -> None:
    y = Synchroniser(small_rig(**SAME), max_wait_host_s=0.5)
    y.push_events(events(0, 10_000))
    y.push_frame(frame(0, 5_000, 12_000))
    y.push_frame(frame(1, 15_000, 22_000))
    assert y.take() == []
    s = 10**9
    assert y.take(100 * s) == []
    assert y.take(100 * s + s // 2) == []
    out = y.take(100 * s + s // 2 + 1)
    assert [refused(o) for o in out] == [Refusal.NO_EVENTS_YET] * 2
    assert {o.ready_ns for o in out} == {100 * s + s // 2 + 1}
    assert y.finish() == []


def test_wrong_sizes_name_both() -> None:
    y = Synchroniser(small_rig(**SAME))
    with pytest.raises(InvalidPacket, match=r"32×12.*16×12"):
        y.push_events(EventPacket(Events.empty(32, 12), TriggerEdges.empty(), 5))
    big = Frame(np.zeros((9, 9), np.uint8), PixelLayout.GRAY, 0, 1, 2, FrameClock.EVENT)
    with pytest.raises(InvalidPacket, match=r"9×9.*16×12"):
        y.push_frame(big)
    assert y.counters.frames_in == 0


# -- losses --------------------------------------------------------------------------------------------------


def test_a_gap_in_the_window_is_told() -> None:
    y = Synchroniser(small_rig(**SAME))
    y.push_events(events(0, 10_000))
    y.push_events(events(14_000, 20_000, gap=True))
    y.push_frame(frame(0, 2_000, 8_000))
    y.push_frame(frame(1, 8_500, 15_000))  # part of it is missing
    y.push_frame(frame(2, 15_000, 18_000))
    assert [aligned(o).complete for o in y.take()] == [True, False, True]


def test_a_loss_in_the_margin_alone_is_told_apart() -> None:
    y = Synchroniser(small_rig(**SAME), margin_before_us=3_000)
    y.push_events(events(0, 10_000))
    y.push_events(events(14_000, 24_000, gap=True))
    y.push_frame(frame(0, 8_500, 15_000))  # part of it is missing
    y.push_frame(frame(1, 15_000, 17_000))  # what came before it
    y.push_frame(frame(2, 19_000, 23_000))
    out = [aligned(o) for o in y.take()]
    assert [(a.complete, a.margins_only) for a in out] == [(False, False), (False, True), (True, False)]
    assert [a.exposure_complete for a in out] == [False, True, True]


def test_an_exposure_wholly_in_a_gap_is_refused() -> None:
    y = Synchroniser(small_rig(**SAME))
    y.push_events(events(0, 10_000))
    y.push_events(events(30_000, 40_000, gap=True))
    y.push_frame(frame(0, 12_000, 25_000))
    assert refused(only(y.take())) is Refusal.EVENT_GAP


def test_a_gap_that_only_touches_the_margin_hides_none_behind_it() -> None:
    y = Synchroniser(small_rig(**SAME), margin_before_us=5_000)
    y.push_events(events(0, 9_000))
    y.push_events(events(10_000, 11_000, gap=True))
    y.push_events(events(30_000, 40_000, gap=True))
    y.push_frame(frame(0, 12_000, 25_000))
    assert refused(only(y.take())) is Refusal.EVENT_GAP


def test_no_events_without_a_gap_are_no_gap() -> None:
    y = Synchroniser(small_rig(**SAME))
    y.push_events(events(0, 10_000))
    y.push_events(events(10_000, 10_000))
    y.push_events(packet(NONE[0], *NONE, 30_000))
    y.push_frame(frame(0, 12_000, 25_000))
    a = aligned(only(y.take()))
    assert len(a.events) == 0
    assert a.complete


def test_a_scene_without_any_event_is_no_missing_stream() -> None:
    y = Synchroniser(small_rig(**SAME))
    for until in range(1_000, 31_000, 1_000):
        y.push_events(packet(NONE[0], *NONE, until))
    y.push_frame(frame(0, 12_000, 25_000))
    a = aligned(only(y.take()))
    assert len(a.events) == 0
    assert a.complete


@pytest.mark.parametrize("how", ["dropped", "lapped"])
def test_dropped_and_lapped_packets_make_the_window_incomplete(how: str) -> None:
    y = Synchroniser(small_rig(**SAME))
    y.push_events(events(0, 10_000))
    if how == "lapped":
        y.events_lost(3)
    y.push_events(events(10_000, 20_000, dropped=7 if how == "dropped" else 0))
    y.push_events(events(20_000, 40_000))
    y.push_frame(frame(0, 5_000, 15_000))
    y.push_frame(frame(1, 22_000, 30_000))
    assert [aligned(o).complete for o in y.take()] == [False, True]
    assert y.counters.events_dropped_upstream == (7 if how == "dropped" else 0)


def test_counters_of_events_and_frames() -> None:
    y = Synchroniser(small_rig(**SAME))
    y.push_events(events(0, 10_000, rejected=Rejected(2, 3)))
    y.push_events(events(5_000, 15_000))  # half of it runs back
    y.push_frame(frame(3, 1_000, 2_000))
    y.push_frame(frame(7, 3_000, 4_000))
    y.frames_lost(3)
    c = y.counters
    assert c.events_in == 200
    assert c.events_rejected == 5 + 49  # those before 9 900, the newest one held
    assert c.frames_missing == 3
    assert c.frames_lapped == 3
    assert c.aligned == 2


# -- epochs --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", ["events", "frames"])
def test_a_new_epoch_begins_anew(first: str) -> None:
    y = Synchroniser(small_rig(**SAME))
    y.push_events(events(500_000, 510_000))
    y.push_frame(frame(50, 501_000, 504_000))
    y.push_frame(frame(51, 505_000, 530_000))  # waits
    assert aligned(only(y.take())).ordinal == 0
    new_events, new_frame = events(0, 10_000, epoch=1), frame(0, 1_000, 5_000, epoch=1)
    if first == "events":
        y.push_events(new_events)
        y.push_frame(new_frame)
    else:
        y.push_frame(new_frame)
        y.push_events(new_events)
    a = aligned(only(y.take()))
    assert (a.ordinal, a.frame.epoch) == (0, 1)
    assert y.counters.superseded == 1
    y.push_frame(frame(52, 540_000, 550_000))  # late, of before
    y.push_events(events(510_000, 560_000))
    assert y.finish() == []
    assert y.counters.superseded == 2
    assert y.counters.frames_missing == 0
    assert balanced(y)


def test_host_time_of_an_event() -> None:
    y = Synchroniser(small_rig(**SAME))
    assert y.host_ns_of(0) is None
    for k in range(1, 50):
        y.push_events(events(1_000 * k - 1_000, 1_000 * k, host_ns=10**12 + 10**6 * k + (k % 7) * 100_000))
    assert y.host_ns_of(25_000) == 10**12 + 25 * 10**6


# -- determinism and accounts --------------------------------------------------------------------------------


def signature(out: list[Outcome]) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    for o in out:
        if isinstance(o, AlignedExposure):
            rows.append(
                (o.ordinal, o.exposure, o.window_start_us, o.window_end_us, o.complete, o.events.t.tobytes())
            )
        else:
            rows.append((o.ordinal, o.reason, o.detail, o.exposure))
    return rows


@pytest.mark.parametrize("setup", [Setup(**LOSSES, vary_exposure=0.1), Setup(host=False, stalls={9: 9e4})])  # type: ignore[arg-type]
def test_one_by_one_or_in_bulk_is_the_same(setup: Setup) -> None:
    assert signature(replay(setup, each=True)[1]) == signature(replay(setup, each=False)[1])


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**20), drop=st.sampled_from([0.0, 0.05, 0.4]), shuffle=st.integers(0, 30),
    epochs=st.booleans(), device=st.booleans(), margin=st.sampled_from([0, 3_000]),
)  # fmt: skip
def test_every_frame_is_answered_once_and_in_order(
    seed: int, drop: float, shuffle: int, epochs: bool, device: bool, margin: int
) -> None:
    rng = random.Random(seed)
    sim = simulate(Setup(frames=25, seed=seed, event_rate=3_000, edge_loss=drop / 2, vary_exposure=0.1))
    items = [x for x in sim.items if rng.random() >= drop]
    if shuffle:  # the two streams interleave anyhow; each stays in order
        slots = sorted(range(len(items)), key=lambda i: i + rng.uniform(0, shuffle))
        both: tuple[list[EventPacket | Frame], list[EventPacket | Frame]] = ([], [])
        for x in items:
            both[isinstance(x, Frame)].append(x)
        kinds = [isinstance(items[i], Frame) for i in slots]
        items = [both[k].pop(0) for k in kinds]
    y = Synchroniser(small_rig(), margin_before_us=margin, margin_after_us=margin)
    out: list[Outcome] = []
    pushed = 0
    for k, item in enumerate(items):
        epoch = int(epochs and k > len(items) // 2)
        if isinstance(item, Frame):
            clock = FrameClock.DEVICE if device else FrameClock.EVENT
            y.push_frame(
                Frame(item.image, item.layout, item.sequence, item.device_start_ns, item.device_end_ns, clock,
                      item.host_ns, epoch=epoch)
            )  # fmt: skip
            pushed += 1
        else:
            y.push_events(
                EventPacket(item.events, item.triggers, item.complete_until_us, item.host_ns, epoch=epoch,
                            dropped=rng.randrange(2), gap=rng.random() < drop)
            )  # fmt: skip
        if rng.random() < 0.3:
            out += y.take(rng.choice([None, k * 40_000_000 + 1]))
        assert balanced(y)
    out += y.finish()
    assert balanced(y)
    c = y.counters
    assert c.frames_in == pushed
    assert c.waiting == 0
    assert len(out) == c.aligned + sum(c.refused.values()) == pushed - c.superseded
    for epoch in (0, 1):
        ordinals = [o.ordinal for o in out if o.frame.epoch == epoch]
        assert ordinals == list(
            range(ordinals[0] if ordinals else 0, (ordinals[0] if ordinals else 0) + len(ordinals))
        )
        assert not ordinals or ordinals[0] == 0
    for o in out:
        if isinstance(o, AlignedExposure):
            assert o.window_start_us <= o.exposure.start_us < o.exposure.end_us <= o.window_end_us
            if len(o.events):
                assert o.window_start_us <= o.events.t[0]
                assert o.events.t[-1] < o.window_end_us
            assert (o.events.width, o.events.height) == (WIDTH, HEIGHT)


@pytest.mark.parametrize("cut_us", [300_000, 437_000, 441_000, 445_000])
def test_edges_of_a_time_axis_that_ended_are_accounted_for(cut_us: int) -> None:
    """Also those of an exposure whose frame had not come yet."""
    sim = simulate(Setup(frames=40, vary_exposure=0.2, edge_loss=0.05))
    y = Synchroniser(small_rig())
    out: list[Outcome] = []
    epoch = 0
    for item in sim.items:
        if isinstance(item, EventPacket):
            epoch = int(item.complete_until_us > cut_us)
            y.push_events(replace(item, epoch=epoch))
        else:
            y.push_frame(replace(item, epoch=epoch))
        out += y.take()
    out += y.finish()
    c = y.counters
    assert c.edges_in == sim.edges
    assert c.edges_matched + c.edges_unmatched + y._finder.matcher.edges_held == c.edges_in
    assert balanced(y)
