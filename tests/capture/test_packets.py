from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from capture.errors import InvalidPacket
from capture.packets import Events, Frame, FrameClock, PixelLayout, Rejected, TriggerEdges


def make(t: list[int], width: int = 8, height: int = 4) -> Events:
    n = len(t)
    return Events.checked(
        np.array(t, np.int64), np.arange(n) % width, np.arange(n) % height, np.arange(n) % 2, width, height
    )


def test_arrays_are_read_only_and_the_callers_array_is_not_touched() -> None:
    t = np.array([1, 2], np.int64)
    ev = Events(t, np.zeros(2, np.uint16), np.zeros(2, np.uint16), np.zeros(2, np.bool_), 4, 4)
    with pytest.raises(ValueError, match="read-only"):
        ev.t[0] = 5
    t[0] = 0  # still the caller's own


@pytest.mark.parametrize("field", ["t", "x", "y", "p"])
def test_wrong_types_are_refused_by_name(field: str) -> None:
    a = {"t": np.zeros(2, np.int64), "x": np.zeros(2, np.uint16), "y": np.zeros(2, np.uint16)}
    a["p"] = np.zeros(2, np.bool_)
    a[field] = a[field].astype(np.float32)
    with pytest.raises(InvalidPacket, match=f"events.{field}"):
        Events(**a, width=4, height=4)


def test_lengths_must_agree() -> None:
    with pytest.raises(InvalidPacket, match="different lengths"):
        Events(np.zeros(2, np.int64), np.zeros(3, np.uint16), np.zeros(2, np.uint16), np.zeros(2, bool), 4, 4)


def test_between_takes_the_start_and_leaves_the_end() -> None:
    ev = make([0, 10, 10, 20, 30])
    assert ev.between(10, 20).t.tolist() == [10, 10]
    assert ev.between(10, 30).t.tolist() == [10, 10, 20]
    assert len(ev.between(30, 10)) == 0
    assert ev.between(0, 31).t.base is not None, "a slice is a view"


def test_decreasing_time_and_outside_are_counted_apart() -> None:
    t = np.array([0, 5, 3, 6, 4, 9])
    x = np.array([0, 1, 2, -1, 3, 8])
    ev, bad = Events.sanitised(t, x, np.zeros(6), np.ones(6), 8, 4)
    # 3 and 4 run back; x = -1 (t 6) and x = 8 (t 9) lie outside. 4 runs back against 5, which was accepted.
    assert ev.t.tolist() == [0, 5]
    assert bad == Rejected(decreasing=2, outside=2)
    with pytest.raises(InvalidPacket, match=r"2 with decreasing time and 2 outside the 8×4 sensor, of 6"):
        Events.checked(t, x, np.zeros(6), np.ones(6), 8, 4)


def test_a_wild_stamp_outside_the_sensor_does_not_condemn_what_follows() -> None:
    ev, bad = Events.sanitised(np.array([0, 10**15, 1]), np.array([0, 99, 1]), np.zeros(3), np.zeros(3), 8, 4)
    assert ev.t.tolist() == [0, 1]
    assert bad == Rejected(outside=1)


def test_order_holds_across_packets() -> None:
    ev, bad = Events.sanitised(np.array([3, 7]), np.zeros(2), np.zeros(2), np.zeros(2), 8, 4, not_before_us=5)
    assert ev.t.tolist() == [7]
    assert bad.decreasing == 1


@given(
    t=hnp.arrays(np.int64, st.integers(0, 60), elements=st.integers(-50, 50)),
    seed=st.integers(0, 2**32 - 1),
)
def test_sanitised_gives_sorted_events_inside_and_loses_none_uncounted(t: np.ndarray, seed: int) -> None:
    r = np.random.default_rng(seed)
    x, y = r.integers(-2, 10, len(t)), r.integers(-2, 6, len(t))
    ev, bad = Events.sanitised(t, x, y, np.zeros(len(t)), 8, 4)
    assert len(ev) + bad.total == len(t)
    assert np.all(np.diff(ev.t) >= 0)
    assert np.all((ev.x < 8) & (ev.y < 4))


@given(st.lists(st.integers(0, 100), max_size=40), st.integers(0, 100), st.integers(0, 100))
def test_a_window_and_its_sides_make_the_whole(t: list[int], a: int, b: int) -> None:
    ev, (a, b) = make(sorted(t)), sorted((a, b))
    parts = [ev.between(-1, a), ev.between(a, b), ev.between(b, 1000)]
    assert np.array_equal(Events.concatenate(parts).t, ev.t)


def test_concatenate_refuses_disorder_and_other_sensors() -> None:
    with pytest.raises(InvalidPacket, match="out of order"):
        Events.concatenate([make([5]), Events.empty(8, 4), make([4])])
    with pytest.raises(InvalidPacket, match="different sensors"):
        Events.concatenate([make([5]), make([6], width=9)])


def test_frames_say_what_their_values_mean() -> None:
    gray = np.zeros((4, 6), np.uint8)
    f = Frame(gray, PixelLayout.GRAY, 3, 1000, 5000, FrameClock.EVENT)
    assert (f.width, f.height, f.exposure_ns) == (6, 4, 4000)
    assert Frame(gray, PixelLayout.GRAY, 3, 1000, None, FrameClock.EVENT).exposure_ns is None
    with pytest.raises(InvalidPacket, match="rgb image must be uint8 with 3 axes"):
        Frame(gray, PixelLayout.RGB, 0, None, None, FrameClock.DEVICE)
    with pytest.raises(InvalidPacket, match="ends 4000 ns before it starts"):
        Frame(gray, PixelLayout.GRAY, 3, 5000, 1000, FrameClock.EVENT)


def test_trigger_edges_run_forward() -> None:
    with pytest.raises(InvalidPacket, match="decreasing"):
        TriggerEdges(np.array([2, 1]), np.array([True, False]))
