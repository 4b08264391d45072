"""Frame ids as a sequence."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from capture.genicam.sequence import FrameCounter

PERIOD = 20_000_000


def run(
    ids: list[int], stamps: list[int] | None = None, hosts: list[int] | None = None, *,
    period: float | None = PERIOD, wrap: int = 65535,
) -> tuple[list[int], FrameCounter]:  # fmt: skip
    c = FrameCounter(wrap)
    arrivals = hosts or stamps or [PERIOD * k for k in range(len(ids))]
    times = stamps if stamps is not None else [PERIOD * k for k in range(len(ids))]
    return [c.take(i, t, h, period) for i, t, h in zip(ids, times, arrivals, strict=True)], c


@given(st.integers(1, 65535), st.lists(st.integers(1, 400), min_size=1, max_size=60))
def test_losses_between_frames_are_counted_over_any_number_of_wraps(first: int, steps: list[int]) -> None:
    ids, stamps, at = [first], [0], first
    for s in steps:
        at = (at - 1 + s) % 65535 + 1
        ids.append(at)
        stamps.append(stamps[-1] + s * PERIOD)
    sequence, c = run(ids, stamps)
    at_start = first - 1 if first <= 1000 else 0
    assert sequence[-1] - sequence[0] == sum(steps)
    assert c.missing == at_start + sum(steps) - len(steps)
    assert c.jumps == 0


@given(st.lists(st.integers(0, 65535), min_size=2, max_size=60))
def test_the_sequence_always_rises_and_the_counters_add_up(ids: list[int]) -> None:
    sequence, c = run(ids)
    assert all(b > a for a, b in itertools.pairwise(sequence))
    assert sequence[-1] + 1 == len(ids) + c.missing


def test_a_jump_that_the_clock_does_not_bear_out_is_no_loss() -> None:
    sequence, c = run([1, 2, 1000, 1001])
    assert sequence == [0, 1, 2, 3]
    assert (c.jumps, c.missing) == (1, 0)


def test_a_long_silence_is_a_loss() -> None:
    sequence, c = run([1, 2, 52, 53], [0, PERIOD, 51 * PERIOD, 52 * PERIOD])
    assert sequence == [0, 1, 51, 52]
    assert (c.jumps, c.missing) == (0, 49)


def test_without_a_rate_the_ids_are_believed() -> None:
    assert run([1, 2, 1000], period=None)[0] == [0, 1, 999]


def test_ids_that_do_not_wrap() -> None:
    sequence, c = run([65534, 65535, 65536, 65537], wrap=0)
    assert sequence == [0, 1, 2, 3]
    assert c.jumps == 0


def test_a_clock_that_runs_back_is_counted() -> None:
    hosts = [0, PERIOD, 2 * PERIOD]
    sequence, c = run([1, 2, 3], [10**12, 10**12 + PERIOD, 5], hosts)
    assert sequence == [0, 1, 2]
    assert c.clock_resets == 1


def test_a_clock_that_is_set_forward_is_no_loss() -> None:
    sequence, c = run([1, 2, 3], [0, PERIOD, 10**13], [0, PERIOD, 2 * PERIOD])
    assert sequence == [0, 1, 2]
    assert (c.missing, c.jumps) == (0, 0)


def test_ids_that_stood_still_while_frames_were_lost_do_not_hide_it() -> None:
    """The library drops frames whose ids ran back a little, until the ids are new again."""
    sequence, c = run([5000, 5001, 5002], [0, PERIOD, 11 * PERIOD])
    assert sequence == [0, 1, 2]
    assert (c.missing, c.jumps, c.skipped) == (0, 0, 9)


def test_a_new_acquisition_goes_on_counting() -> None:
    c = FrameCounter()
    assert [c.take(k, k, k, None) for k in (1, 2)] == [0, 1]
    c.restart()
    assert c.take(1, 3, 3, None) == 2
