"""Rolling shutters: rows exposed one after another."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from capture.packets import EventPacket, Events, Frame, TriggerEdges
from capture.simulated.presets import configure
from capture.simulated.rig import SimulatedRig
from inference import models
from inference.arrays import Deblurrer
from inference.engine import Engine
from inference.restorers.picture import picture_of
from sync.exposure import AlignedExposure, Refusal, RefusedExposure
from sync.rig import Rig
from sync.rolling import MovedStream, as_if_global, delays_of, moved
from sync.synchroniser import Synchroniser

ROLLING = 20_000


def _rig(rolling_us: float, width: int = 12, height: int = 10, mirrored: bool = False) -> Rig:
    sign = -1.0 if mirrored else 1.0
    return Rig.model_validate(
        {
            "events": {"camera": "e", "width": width, "height": height},
            "image": {"camera": "i", "width": 2 * width, "height": 2 * height, "rolling_us": rolling_us},
            "geometry": {
                "image_from_event": ((2.0, 0, 0.5), (0, 2.0 * sign, 0.5 if not mirrored else 2 * height - 1.5),
                                     (0, 0, 1)),
                "mirrored": mirrored,
            },
        }
    )  # fmt: skip


def _events(n: int, width: int, height: int, span_us: int, seed: int = 0) -> Events:
    rng = np.random.default_rng(seed)
    return Events(
        np.sort(rng.integers(0, span_us, n)).astype(np.int64), rng.integers(0, width, n).astype(np.uint16),
        rng.integers(0, height, n).astype(np.uint16), rng.random(n) < 0.5, width, height,
    )  # fmt: skip


def _fields(e: Events) -> list[tuple[int, int, int, bool]]:
    return list(zip(e.t.tolist(), e.x.tolist(), e.y.tolist(), e.p.tolist(), strict=True))


def test_a_global_shutter_has_no_delays() -> None:
    assert delays_of(_rig(0.0)) is None


@pytest.mark.parametrize(("rolling", "mirrored"), [(18_000, False), (-18_000, False), (18_000, True)])
def test_delays_follow_the_rows_of_the_image(rolling: int, mirrored: bool) -> None:
    rig = _rig(rolling, mirrored=mirrored)
    delays = delays_of(rig)
    assert delays is not None
    by_row = delays.reshape(rig.events.height, rig.events.width)[:, 0]
    down = np.arange(rig.events.height) * 2 + 0.5
    down = down[::-1] if mirrored else down
    expected = 18_000 * down / (rig.image.height - 1)
    assert np.abs(by_row - (expected if rolling > 0 else 18_000 - expected)).max() <= 1
    assert by_row.min() >= 0


@given(
    n=st.integers(0, 400), rolling=st.sampled_from([-9_000.0, 500.0, 9_000.0]),
    begin=st.integers(0, 5_000), length=st.integers(1, 30_000), seed=st.integers(0, 20),
)  # fmt: skip
def test_moved_events_are_those_of_each_rows_own_time(
    n: int, rolling: float, begin: int, length: int, seed: int
) -> None:
    rig = _rig(rolling)
    delays, events = delays_of(rig), _events(n, 12, 10, 40_000, seed)
    assert delays is not None
    got = as_if_global(events, delays, begin, begin + length)
    rows = delays.reshape(10, 12)
    expected = [
        (t - int(rows[y, x]), x, y, p)
        for t, x, y, p in _fields(events)
        if begin <= t - rows[y, x] < begin + length
    ]
    # A stable order: of two at one time the one that came first.
    assert _fields(got) == sorted(expected, key=lambda v: v[0])


def test_long_windows_are_sorted_as_short_ones() -> None:
    rig, events = _rig(9_000.0), _events(500, 12, 10, 9_000_000)
    delays = delays_of(rig)
    assert delays is not None
    whole = as_if_global(events, delays, 0, 9_000_000)
    parts = [as_if_global(events, delays, a, a + 3_000_000) for a in (0, 3_000_000, 6_000_000)]
    assert _fields(whole) == [v for p in parts for v in _fields(p)]


@given(cuts=st.lists(st.integers(500, 39_999), max_size=12, unique=True), rolling=st.sampled_from([-7e3, 7e3]))
def test_a_moved_stream_gives_every_event_once_in_order(cuts: list[int], rolling: float) -> None:
    rig, events = _rig(rolling), _events(600, 12, 10, 40_000)
    delays = delays_of(rig)
    assert delays is not None
    packets = [
        EventPacket(events.between(a, b), TriggerEdges.empty(), b)
        for a, b in zip([0, *sorted(cuts)], [*sorted(cuts), 40_000], strict=True)
    ]
    given_out: list[Events] = []
    mark = -(10**9)
    for p in moved(packets, rig):
        assert isinstance(p, EventPacket)
        if len(p.events):
            assert p.events.t[0] >= mark
            assert p.events.t[-1] < p.complete_until_us
        assert p.complete_until_us >= mark
        mark = p.complete_until_us
        given_out.append(p.events)
    expected = as_if_global(events, delays, int(events.t[0]), 40_000)
    assert _fields(Events.concatenate(given_out)) == _fields(expected)


def test_a_stream_of_a_global_shutter_passes_as_it_came() -> None:
    stream, packet = MovedStream(_rig(0.0)), EventPacket(_events(5, 12, 10, 100), TriggerEdges.empty(), 100)
    assert stream.push(packet) is packet
    assert stream.finish() is None


def test_another_time_axis_begins_anew() -> None:
    stream, events = MovedStream(_rig(7_000.0)), _events(200, 12, 10, 40_000)
    stream.push(EventPacket(events, TriggerEdges.empty(), 40_000))
    early = stream.push(EventPacket(events, TriggerEdges.empty(), 40_000, epoch=1))
    assert len(early.events)
    assert int(early.events.t[0]) < 10_000
    assert early.epoch == 1


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2e6, -2e6, "soon"])
def test_impossible_shutters_are_refused(value: object) -> None:
    with pytest.raises(ValidationError, match="rolling_us"):
        _rig(value)  # type: ignore[arg-type]


# -- with the truth --------------------------------------------------------------------------------------------


@cache
def _simulated(rolling_us: int) -> SimulatedRig:
    made = SimulatedRig(
        configure(
            "",
            {
                "image_width": 288, "image_height": 192, "event_width": 144, "event_height": 96, "scale": 2.04,
                "rate_hz": 15.0, "exposure_us": 20_000, "loop_s": 0.8, "speed": 330.0, "shift_x": 2.0,
                "shift_y": -1.0, "rolling_us": rolling_us,
            },
        )
    )  # fmt: skip
    made.prepare()
    return made


def _aligned(made: SimulatedRig, rig: Rig, seconds: float = 0.9, after: int = 0) -> list[AlignedExposure]:
    sync = Synchroniser(rig, margin_before_us=20_000, margin_after_us=after)
    return [o for o in sync.outcomes(made.items(seconds)) if isinstance(o, AlignedExposure)]


def _mse(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.mean((a.astype(float) - b) ** 2))


def _gain_db(made: SimulatedRig, rig: Rig) -> float:
    """EDI over the blurred frame, mean of all exposures."""
    engine = Engine(models.create("edi", rig, {"contrast": 0.22}, "cpu"))
    gains = []
    for a in _aligned(made, rig):
        truth = made.truth(a.exposure.time_at(0.5))
        (r,) = engine.push(a, (0.5,))
        gains.append(10 * np.log10(_mse(picture_of(a.frame), truth) / _mse(r.images[0], truth)))
    assert len(gains) > 5
    return float(np.mean(gains))


@pytest.mark.parametrize("rolling", [ROLLING, -ROLLING])
def test_a_rolling_shutter_is_deblurred_as_a_global_one(rolling: int) -> None:
    made, still = _simulated(rolling), _simulated(0)
    rig = Rig.from_facts("rolling", made.facts())
    assert rig.image.rolling_us == rolling
    known, as_global = _gain_db(made, rig), _gain_db(still, Rig.from_facts("global", still.facts()))
    unknown = _gain_db(made, rig.model_copy(update={"image": rig.image.model_copy(update={"rolling_us": 0.0})}))
    assert known == pytest.approx(as_global, abs=0.5)
    assert known > 1.5
    assert unknown < 0.5  # it does harm, if anything


def test_the_simulated_shutter_rolls() -> None:
    """Each row is blurred over its own time: it is the row of a global shutter that opens so much later."""
    made, still = _simulated(ROLLING), _simulated(0)
    a, b = made.exposure_truth(2)
    blurred = made._frame_sensor().exposed(a / 1e6, b / 1e6)
    for row in (0, 60, 191):
        late = 1e-6 * ROLLING * row / 191
        of_global = still._frame_sensor().exposed(a / 1e6 + late, b / 1e6 + late)
        assert np.abs(blurred[row] - of_global[row]).mean() < 0.004
        assert np.abs(made.light(a)[row] - still.light(a + 1e6 * late)[row]).mean() < 0.006
    assert np.abs(blurred[191] - still._frame_sensor().exposed(a / 1e6, b / 1e6)[191]).mean() > 0.02


# -- windows ---------------------------------------------------------------------------------------------------


def test_the_last_row_is_waited_for() -> None:
    made = _simulated(ROLLING)
    rig = Rig.from_facts("rolling", made.facts())
    sync = Synchroniser(rig)
    for item in made.items(0.9):
        if isinstance(item, Frame):
            sync.push_frame(item)
            continue
        sync.push_events(item)
        for o in sync.take():
            assert isinstance(o, AlignedExposure)
            assert item.complete_until_us >= o.exposure.end_us + ROLLING
            assert o.complete


def test_a_loss_while_the_last_rows_are_exposed_is_one_of_the_exposure() -> None:
    made = _simulated(ROLLING)
    sync, out, before = Synchroniser(Rig.from_facts("rolling", made.facts())), [], 0
    end = made.exposure_truth(4)[1]
    lost = 0
    for item in made.items(0.9):
        if isinstance(item, EventPacket):
            within = end + 1_000 < before and item.complete_until_us < end + ROLLING - 1_000
            before = item.complete_until_us
            item, lost = replace(item, gap=within and not lost), lost + within
        (sync.push_events if isinstance(item, EventPacket) else sync.push_frame)(item)  # type: ignore[arg-type]
        out += sync.take()
    assert lost
    found = {o.ordinal: o.exposure_complete for o in out if isinstance(o, AlignedExposure)}
    assert len(found) > 8
    assert [n for n, complete in found.items() if not complete] == [4]


def test_an_end_of_the_events_within_the_last_rows_is_said() -> None:
    made = _simulated(ROLLING)
    sync = Synchroniser(Rig.from_facts("rolling", made.facts()))
    end = made.exposure_truth(8)[1] + 2_000
    for item in made.items(0.9):
        if isinstance(item, EventPacket) and item.complete_until_us > end:
            part = item.events.between(0, end)
            if len(part):
                sync.push_events(replace(item, events=part, complete_until_us=end))
        elif isinstance(item, EventPacket):
            sync.push_events(item)
        else:
            sync.push_frame(item)
    last = sync.finish()
    refused = [o for o in last if isinstance(o, RefusedExposure) and o.ordinal == 8]
    assert [o.reason for o in refused] == [Refusal.OUTSIDE_STREAM]


def test_margins_lie_around_every_row() -> None:
    made = _simulated(ROLLING)
    rig = Rig.from_facts("rolling", made.facts())
    delays = delays_of(rig)
    assert delays is not None
    every = Events.concatenate([i.events for i in made.items(0.9) if isinstance(i, EventPacket)])
    for a in _aligned(made, rig, after=3_000)[2:6]:
        assert (a.window_start_us, a.window_end_us) == (a.exposure.start_us - 20_000, a.exposure.end_us + 3_000)
        expected = as_if_global(every, delays, a.window_start_us, a.window_end_us)
        assert _fields(a.events) == _fields(expected)


def test_a_signal_that_lasts_until_the_last_row_is_closed() -> None:
    """Some cameras hold the strobe until the last row is closed."""
    made = _simulated(ROLLING)
    items = list(made.items(1.2))
    edges = [i.triggers for i in items if isinstance(i, EventPacket)]
    rising = np.concatenate([e.rising for e in edges])
    t = np.concatenate([e.t for e in edges]) + np.where(rising, 0, ROLLING)
    rig = Rig.from_facts("rolling", made.facts())
    clock = rig.clock.model_copy(update={"longer_us": ROLLING})
    sync, out, before = Synchroniser(rig.model_copy(update={"clock": clock})), [], -1
    for item in items:
        if isinstance(item, EventPacket):
            now = (t >= before) & (t < item.complete_until_us)
            before = item.complete_until_us
            sync.push_events(replace(item, triggers=TriggerEdges(t[now], rising[now])))
        else:
            sync.push_frame(item)
        out += sync.take()
    found = [o for o in out if isinstance(o, AlignedExposure)]
    assert len(found) > 8
    for a in found:
        start, end = made.exposure_truth(a.ordinal)
        assert abs(a.exposure.start_us - start) < 20
        assert abs(a.exposure.end_us - end) < 20


def test_arrays_of_ones_own_are_taken_alike() -> None:
    made = _simulated(ROLLING)
    rig = Rig.from_facts("rolling", made.facts())
    every = Events.concatenate([i.events for i in made.items(0.9) if isinstance(i, EventPacket)])
    engine = Engine(models.create("edi", rig, {"contrast": 0.22}, "cpu"))
    deblurrer = Deblurrer("edi", rig=rig, contrast=0.22, device="cpu")
    sync = Synchroniser(rig)
    for item in made.items(0.6):
        (sync.push_events if isinstance(item, EventPacket) else sync.push_frame)(item)  # type: ignore[arg-type]
    found = [o for o in sync.take() if isinstance(o, AlignedExposure)]
    assert len(found) > 3
    for a in found:
        (want,) = engine.push(a, (0.5,))
        x = a.exposure
        assert np.array_equal(deblurrer(a.frame.image, every, (x.start_us, x.end_us)), want.images[0])
