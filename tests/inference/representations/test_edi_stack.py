"""The EDI stack: its definition event by event, both implementations, awkward events."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from capture.packets import Events
from inference.representations import double_integral_numba, edi_stack_torch
from inference.representations.double_integral import Contrast
from inference.representations.edi_stack import (
    ASINH_TOP,
    BINS,
    CHANNELS,
    CONTRASTS,
    HIGHEST,
    LIMIT,
    LOWEST,
    OFFSETS,
    follow,
)
from inference.representations.edi_stack_numba import EdiStack
from tests.inference.representations.scenes import START, random_events

END = START + 40_000


def by_hand(events: Events, start: int, end: int, at: int) -> NDArray[np.float64]:
    """The definition, one pixel and one event at a time."""
    out = np.zeros((CHANNELS, events.height, events.width))
    length = end - start
    borders = [min(max(at + round(o * length), start), end) for o in OFFSETS]
    for y in range(events.height):
        for x in range(events.width):
            mine = (events.x == x) & (events.y == y) & (events.t >= start) & (events.t < end)
            t, s = events.t[mine], np.where(events.p[mine], 1, -1)
            for q, c in enumerate(CONTRASTS):
                times = np.concatenate([[start], t, [end]])
                level = np.concatenate([[0], np.cumsum(s)])
                mean = float((np.exp(c * level) * np.diff(times)).sum()) / length
                out[q, y, x] = c * s[t <= at].sum() - math.log(mean)
            for b in range(BINS):
                between = (t > borders[b]) & (t <= borders[b + 1])
                out[len(CONTRASTS) + b, y, x] = math.asinh(s[between].sum()) / 2
            out[-1, y, x] = math.asinh(len(t)) / 2
    return np.clip(out, -LIMIT, LIMIT)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 400), st.floats(0, 1))
def test_both_are_the_definition(seed: int, n: int, fraction: float) -> None:
    events = random_events(seed, n, (START - 2000, END + 2000), width=5, height=4)
    at = START + round(fraction * (END - START))
    expected = by_hand(events, START, END, at)
    ours = EdiStack().stacks(events, START, END, [at])[0]
    np.testing.assert_allclose(ours, expected, atol=2e-6)
    torchs = edi_stack_torch.stacks(events, START, END, [at])[0].numpy()
    np.testing.assert_allclose(torchs, expected, atol=2e-6)


def test_ratios_are_those_of_the_double_integral() -> None:
    events = random_events(3, 20_000, (START, END), width=40, height=30)
    times = [START + 9_000, START, END]
    stack = EdiStack().stacks(events, START, END, times)
    for q, c in enumerate(CONTRASTS):
        ratios = double_integral_numba.DoubleIntegral().ratios(events, START, END, times, Contrast(c, c))
        np.testing.assert_allclose(stack[:, q], np.clip(np.log(ratios), -LIMIT, LIMIT), atol=3e-6)


def test_many_instants_are_each_alone_and_memory_is_used_again() -> None:
    kept = EdiStack()
    for seed, n in ((1, 900), (2, 50), (3, 0)):
        events = random_events(seed, n, (START, END))
        times = [END, START + 1, START + 20_000, START + 1]
        together = kept.stacks(events, START, END, times)
        for k, t in enumerate(times):
            np.testing.assert_array_equal(together[k], EdiStack().stacks(events, START, END, [t])[0])
        np.testing.assert_allclose(
            edi_stack_torch.stacks(events, START, END, times).numpy(), together, atol=2e-6
        )


def test_no_event_is_zero_and_a_hot_pixel_is_finite() -> None:
    none = EdiStack().stacks(Events.empty(6, 5), START, END, [START])
    assert none.shape == (1, CHANNELS, 5, 6)
    assert not none.any()
    assert not edi_stack_torch.stacks(Events.empty(6, 5), START, END, [START]).any()
    n = 40_000
    hot = Events(
        np.sort(np.arange(n) % 40_000 + START), np.full(n, 2, np.uint16), np.full(n, 3, np.uint16),
        np.ones(n, np.bool_), 6, 5,
    )  # fmt: skip
    for stack in (
        EdiStack().stacks(hot, START, END, [END])[0],
        edi_stack_torch.stacks(hot, START, END, [END])[0].numpy(),
    ):
        assert np.isfinite(stack).all()
        assert stack[-1, 3, 2] == pytest.approx(math.asinh(ASINH_TOP) / 2)
        assert np.abs(stack).max() <= max(LIMIT, math.asinh(ASINH_TOP) / 2)
        assert np.count_nonzero(stack[-1]) == 1


def test_events_outside_the_sensor_are_left_out() -> None:
    good = random_events(5, 300, (START, END), width=8, height=8)
    bad = Events(good.t, good.x, good.y, good.p, 5, 6)
    fits = (good.x < 5) & (good.y < 6)
    kept = Events(good.t[fits], good.x[fits], good.y[fits], good.p[fits], 5, 6)
    expected = EdiStack().stacks(kept, START, END, [START + 5])
    np.testing.assert_array_equal(EdiStack().stacks(bad, START, END, [START + 5]), expected)
    np.testing.assert_allclose(
        edi_stack_torch.stacks(bad, START, END, [START + 5]).numpy(), expected, atol=2e-6
    )


@pytest.mark.parametrize("make", [EdiStack().stacks, edi_stack_torch.stacks])
def test_instants_outside_and_exposures_without_length_are_refused(make: object) -> None:
    assert callable(make)
    with pytest.raises(ValueError, match="outside the exposure"):
        make(Events.empty(4, 4), START, END, [END + 1])
    with pytest.raises(ValueError, match="no length"):
        make(Events.empty(4, 4), END, END, [END])


@pytest.mark.gpu
def test_on_a_gpu() -> None:
    events = random_events(9, 50_000, (START, END), width=60, height=50)
    times = [START + 1, END]
    there = edi_stack_torch.stacks(events, START, END, times, "cuda").cpu()
    torch.testing.assert_close(there, edi_stack_torch.stacks(events, START, END, times), atol=2e-6, rtol=0)


@pytest.mark.parametrize("contrast", [0.05, 0.1, 0.14, 0.25, 0.33, 0.4, 0.44])
@pytest.mark.parametrize("power", [1.0, 0.45])
def test_other_contrasts_are_followed_between_the_stacks_own(contrast: float, power: float) -> None:
    rng = np.random.default_rng(0)
    # A pixel's sums as real ones are: up to some ten thresholds away, not a random walk without end.
    events = random_events(4, 6_000, (START, END), width=30, height=20)
    at = [START + int(rng.integers(40_000))]
    stack = EdiStack().stacks(events, START, END, at)[0, : len(CONTRASTS)]
    ratio = double_integral_numba.DoubleIntegral().ratios(events, START, END, at, Contrast(contrast, contrast))[
        0
    ]
    followed = np.tensordot(follow(contrast, power), stack, 1)
    assert np.abs(followed - power * np.log(ratio)).max() < 0.02
    assert np.abs(power * np.log(ratio)).max() > 0.1


def test_contrasts_out_of_reach_are_taken_as_the_nearest() -> None:
    np.testing.assert_array_equal(follow(2.0), follow(HIGHEST))
    np.testing.assert_array_equal(follow(1e-6), follow(LOWEST))
    np.testing.assert_allclose(follow(0.2), [0, 1, 0, 0], atol=1e-6)
