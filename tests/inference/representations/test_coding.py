"""Foreign event lists: codings of polarity, fractions, pixels outside, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from capture.errors import InvalidPacket
from inference.representations import scer_numba
from inference.representations.coding import Mode, columns, is_on, published_polarity
from inference.representations.scer import exposure_window, find, midpoint_windows, published_bounds


def test_three_codings_of_polarity_mean_the_same() -> None:
    want = [True, False, True]
    for p in ([1, 0, 1], [1, -1, 1], [True, False, True], [1.0, -1.0, 1.0]):
        np.testing.assert_array_equal(is_on(np.array(p)), want)
    with pytest.raises(InvalidPacket, match="polarity 2"):
        is_on(np.array([0, 2, 1]))
    with pytest.raises(InvalidPacket, match="polarity nan"):
        is_on(np.array([0.0, np.nan]))
    np.testing.assert_array_equal(published_polarity(np.array([-1, 0, 1], np.int8)), [-3, -1, 1])
    # Unsigned and bool files must not wrap round.
    np.testing.assert_array_equal(published_polarity(np.array([0, 1], np.uint8)), [-1, 1])
    np.testing.assert_array_equal(published_polarity(np.array([False, True])), [-1, 1])


def test_fractions_are_cut_toward_zero_and_pixels_outside_refused_or_dropped() -> None:
    t, p = np.array([0.1, 0.2, 0.3]), np.array([0, 1, 1])
    e = columns(t, np.array([-0.4, 1.9, 3.999]), np.array([0.0, 2.5, -0.9]), p, 4, 3)
    np.testing.assert_array_equal(e.x, [0, 1, 3])
    np.testing.assert_array_equal(e.y, [0, 2, 0])
    x = np.array([-1, 4, 2])
    with pytest.raises(InvalidPacket, match="2 of 3 lie outside 4×3"):
        columns(t, x, np.array([0, 0, 0]), p, 4, 3)
    kept = columns(t, x, np.array([0, 0, 0]), p, 4, 3, drop_outside=True)
    assert (len(kept), kept.t[0], bool(kept.p[0])) == (1, 0.3, True)


def test_broken_lists_are_refused() -> None:
    three = np.zeros(3)
    with pytest.raises(InvalidPacket, match="shapes"):
        columns(three, three, three, np.zeros(2), 4, 3)
    with pytest.raises(InvalidPacket, match="runs back"):
        columns(np.array([1, 3, 2]), three, three, three, 4, 3)
    with pytest.raises(InvalidPacket, match="t holds values that are not finite"):
        columns(np.array([0, np.nan, 1]), three, three, three, 4, 3)


def test_the_published_search_stops_at_the_first_equal_time() -> None:
    t = np.array([0.0, 1, 1, 1, 1, 2, 5])
    assert find(t, 1.0) == 3  # the middle of the list, not the first of the equal times
    assert [find(t, v) for v in (-1, 0.5, 1.5, 3, 5, 6)] == [0, 1, 5, 6, 6, 7]
    assert find(t[:0], 1.0) == 0
    distinct = np.unique(np.random.default_rng(0).integers(0, 1000, 60))
    for v in range(-1, 1001):
        assert find(distinct, v) == np.searchsorted(distinct, v)


def test_windows_of_frames() -> None:
    t = np.arange(0, 100, 2.0)
    assert exposure_window(t, 10, 20) == (5, 10)  # the event at 20 is out
    np.testing.assert_array_equal(midpoint_windows(t, np.array([0, 10, 20, 30])), [[3, 8], [8, 13]])
    assert midpoint_windows(t, np.array([0, 10])).shape == (0, 2)


def test_large_times_collapse_only_where_that_is_published() -> None:
    rng = np.random.default_rng(0)
    # Multiples of 2 µs, so that float32 holds the short times exactly.
    t = np.sort(rng.integers(0, 10_000, 300)) * 2
    late = t + 1_600_000_000_000_000
    near, far = published_bounds(t), published_bounds(late)
    assert len(set(near.tolist())) == 7
    assert len(set(far.tolist())) < 7
    np.testing.assert_array_equal(published_bounds(late, relative=True), published_bounds(t - t[0]))


def test_what_the_published_rule_loses_the_corrected_one_counts() -> None:
    t = np.array([0, 0, 0, 0, 0, 0, 0, 300, 600], np.int64)
    n = len(t)
    e = columns(t, np.arange(n), np.zeros(n), np.ones(n), n, 1)
    published = scer_numba.scer(e, 0, 601, mode=Mode.PUBLISHED)
    corrected = scer_numba.scer(e, 0, 601)
    assert published[[0, 5]].any(0).sum() < n
    assert published[5, 0, -1] == 0  # the last event
    assert corrected[[0, 5]].any(0).sum() == n
