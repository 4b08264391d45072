"""The event store: exact cuts, bounded memory, losses remembered."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sync.windows import EventStore
from tests.sync.exposures_sim import HEIGHT, WIDTH, packet

NONE = np.empty(0, np.int64), np.empty(0, np.bool_)


def fill(store: EventStore, t: np.ndarray, cuts: list[int]) -> None:
    edges = [int(t[0]), *cuts, int(t[-1]) + 1] if len(t) else []
    for a, b in itertools.pairwise(edges):
        i, j = np.searchsorted(t, [a, b])
        store.push(packet(t[i:j], *NONE, b))


@settings(max_examples=80, deadline=None)
@given(
    times=st.lists(st.integers(0, 400), min_size=1, max_size=60),
    cuts=st.lists(st.integers(1, 399), max_size=6, unique=True),
    window=st.tuples(st.integers(-20, 420), st.integers(-20, 420)),
)
def test_a_cut_holds_exactly_the_events_of_the_window(
    times: list[int], cuts: list[int], window: tuple[int, int]
) -> None:
    t = np.array(sorted(times), np.int64)
    store = EventStore(WIDTH, HEIGHT)
    fill(store, t, [c for c in sorted(cuts) if t[0] < c <= t[-1]])
    a, b = window
    got = store.cut(a, b)
    assert got.t.tolist() == [x for x in t.tolist() if a <= x < b]
    assert store.count_between(a, b) == len(got)
    assert (got.width, got.height) == (WIDTH, HEIGHT)


def test_inside_one_packet_it_is_a_view() -> None:
    store = EventStore(WIDTH, HEIGHT)
    p = packet(np.arange(0, 1000), *NONE, 1000)
    store.push(p)
    store.push(packet(np.arange(1000, 2000), *NONE, 2000))
    assert np.shares_memory(store.cut(100, 1000).x, p.events.x)
    across = store.cut(900, 1100)
    assert not np.shares_memory(across.x, p.events.x)
    assert across.t.tolist() == list(range(900, 1100))
    assert across.x.tolist() == [*p.events.x[900:].tolist(), *[int(v) for v in np.arange(100) % WIDTH]]
    assert store.packets_between(100, 1000) == 1
    assert store.packets_between(900, 1100) == 2


def test_watermark_and_start() -> None:
    store = EventStore(WIDTH, HEIGHT)
    assert store.complete_until_us is None
    assert store.start_us is None
    store.push(packet(*(np.empty(0, np.int64), *NONE), 500))
    assert (store.start_us, store.complete_until_us) == (500, 500)
    store.push(packet(np.array([700]), np.array([650]), np.array([True]), 800))
    assert (store.start_us, store.complete_until_us) == (500, 800)
    other = EventStore(WIDTH, HEIGHT)
    other.push(packet(np.array([700]), np.array([650]), np.array([True]), 800))
    assert other.start_us == 650
    store.push(packet(np.empty(0, np.int64), *NONE, 700))
    assert store.complete_until_us == 800


def test_memory_is_bounded_in_time_and_bytes_and_evictions_are_counted() -> None:
    store = EventStore(WIDTH, HEIGHT, retain_us=5_000)
    for k in range(20):
        store.push(packet(np.arange(1000 * k, 1000 * k + 1000, 10), *NONE, 1000 * k + 1000))
    assert store.evicted_events == 1500
    assert len(store.cut(0, 20_000)) == 500
    gap = store.gap_in(2_000, 3_000)
    assert gap is not None
    assert gap.cause == "evicted"
    assert store.gap_in(15_000, 20_000) is None

    small = EventStore(WIDTH, HEIGHT, retain_bytes=13 * 250)
    for k in range(20):
        small.push(packet(np.arange(1000 * k, 1000 * k + 1000, 10), *NONE, 1000 * k + 1000))
    assert small.nbytes <= 13 * 250
    assert small.evicted_events == 1800
    big = packet(np.arange(20_000, 21_000), *NONE, 21_000)
    small.push(big)  # one packet above the bound is kept all the same: nothing could be aligned without it
    assert len(small.cut(20_000, 21_000)) == 1000


def test_release_frees_what_nobody_asks_for() -> None:
    store = EventStore(WIDTH, HEIGHT)
    for k in range(5):
        store.push(packet(np.arange(100 * k, 100 * k + 100), *NONE, 100 * k + 100))
    store.release_before(250)
    assert store.nbytes == 13 * 300
    assert store.evicted_events == 0
    assert store.cut(200, 300).t.tolist() == list(range(200, 300))
    assert store.gap_in(150, 160) is not None
    assert store.gap_in(200, 300) is None


def test_gaps_lie_between_what_was_complete_and_what_came_next() -> None:
    store = EventStore(WIDTH, HEIGHT)
    store.push(packet(np.arange(0, 100), *NONE, 100, gap=True))  # nothing was promised before the first packet
    assert store.gaps == ()
    store.push(packet(np.arange(300, 400), *NONE, 400, gap=True))
    store.push(packet(np.arange(400, 500), *NONE, 500, dropped=3))
    store.mark_lost()
    store.push(packet(np.arange(600, 700), *NONE, 700))
    store.push(packet(np.arange(700, 800), *NONE, 800))
    assert [(g.start_us, g.end_us, g.cause) for g in store.gaps] == [
        (100, 300, "interrupted"),
        (400, 400, "dropped in the camera"),
        (500, 600, "reader was lapped"),
    ]
    assert store.gap_in(0, 100) is None
    assert store.gap_in(0, 101) is not None
    assert store.gap_in(301, 400) is None
    assert store.gap_in(390, 410) is not None
    assert store.gap_in(601, 800) is None


def test_both_ends_of_a_gap_belong_to_it() -> None:
    store = EventStore(WIDTH, HEIGHT)
    store.push(packet(np.arange(0, 100), *NONE, 100))
    store.push(packet(np.arange(300, 400), *NONE, 400, gap=True))
    store.push(packet(np.arange(400, 500), *NONE, 500, dropped=3))  # of no length, at 400
    for a, b, there in (
        (300, 310, True), (301, 310, False), (90, 100, False), (90, 101, True),
        (400, 450, True), (399, 400, False), (399, 401, True), (401, 450, False),
    ):  # fmt: skip
        assert (store.gap_in(a, b) is not None) is there, (a, b)


def test_what_was_evicted_is_not_missing() -> None:
    """It had been here: a frame must not wait as long again for it."""
    store = EventStore(WIDTH, HEIGHT, retain_us=450)
    store.push(packet(np.arange(0, 100), *NONE, 100))
    store.push(packet(np.arange(300, 400), *NONE, 400, gap=True))
    assert store.missing_us(0, 400) == 200
    assert store.missing_us(150, 250) == 100
    store.push(packet(np.arange(400, 500), *NONE, 500))
    store.push(packet(np.arange(500, 600), *NONE, 600))
    assert [(g.start_us, g.end_us, g.cause) for g in store.gaps] == [
        (0, 99, "evicted"),
        (100, 300, "interrupted"),
    ]
    assert store.missing_us(0, 600) == 200
    assert store.missing_us(0, 100) == 0


def test_events_that_run_back_are_left_out_and_counted() -> None:
    store = EventStore(WIDTH, HEIGHT)
    store.push(packet(np.arange(0, 100), *NONE, 100))
    store.push(packet(np.arange(50, 150), *NONE, 150))
    assert store.out_of_order_events == 49
    assert store.cut(0, 200).t.tolist() == [*range(100), *range(99, 150)]


def test_clear_forgets_the_stream_and_keeps_the_counts() -> None:
    store = EventStore(WIDTH, HEIGHT, retain_us=100)
    store.push(packet(np.arange(0, 100), *NONE, 100))
    store.push(packet(np.arange(1000, 1100), *NONE, 1100))
    assert store.evicted_events == 100
    store.clear()
    assert (store.nbytes, store.complete_until_us, store.gaps) == (0, None, ())
    store.push(packet(np.arange(0, 10), *NONE, 10))
    assert store.cut(0, 10).t.tolist() == list(range(10))
    assert store.evicted_events == 100


def test_gaps_do_not_pile_up_where_packets_hold_no_events() -> None:
    """Health is watched on such packets, for hours; every one may follow a loss."""
    store = EventStore(WIDTH, HEIGHT, retain_us=50_000)
    for k in range(1, 2000):
        store.push(packet(np.empty(0, np.int64), *NONE, 1000 * k, dropped=k % 2))
    assert len(store.gaps) <= 50
    first = store.gap_in(2_000, 4_000)
    assert first is not None
    assert first.cause == "evicted"  # what is not known any more is not said to be whole
    assert store.missing_us(1_979_000, 1_999_000) == 10_000
    assert store.losses(2) == [(1_996_000, 1_997_000), (1_998_000, 1_999_000)]
