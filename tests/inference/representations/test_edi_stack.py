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
from inference.bands import LEAST_ROWS
from inference.representations import double_integral_numba, edi_stack_torch
from inference.representations.double_integral import Contrast
from inference.representations.edi_stack import (
    BINS,
    CHANNELS,
    KNOWN,
    LIMIT,
    MOST,
    MULTIPLES,
    OFFSETS,
)
from inference.representations.edi_stack_numba import EdiStack
from tests.inference.representations.scenes import START, random_events, set_back

END = START + 40_000


UNEVEN = Contrast(0.17, 0.29)


def by_hand(
    events: Events, start: int, end: int, at: int, contrast: Contrast, power: float
) -> NDArray[np.float64]:
    """The definition, one pixel and one event at a time."""
    out = np.zeros((CHANNELS, events.height, events.width))
    length = end - start
    borders = [min(max(at + round(o * length), start), end) for o in OFFSETS]
    for y in range(events.height):
        for x in range(events.width):
            mine = (events.x == x) & (events.y == y) & (events.t >= start) & (events.t < end)
            t, s = events.t[mine], np.where(events.p[mine], contrast.on, -contrast.off)
            for q, m in enumerate(MULTIPLES):
                times = np.concatenate([[start], t, [end]])
                level = np.concatenate([[0], np.cumsum(s)])
                mean = float((np.exp(m * level) * np.diff(times)).sum()) / length
                out[q, y, x] = power * (m * s[t <= at].sum() - math.log(mean))
            for b in range(BINS):
                between = (t > borders[b]) & (t <= borders[b + 1])
                out[len(MULTIPLES) + b, y, x] = power * s[between].sum()
            out[:-1, y, x] = np.clip(out[:-1, y, x], -LIMIT, LIMIT)
            out[-1, y, x] = math.asinh(len(t)) / 2
    return out


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 10_000), st.integers(0, 400), st.floats(0, 1), st.floats(0.02, 0.6), st.floats(0.02, 0.6),
    st.floats(0.3, 1), st.booleans(),
)  # fmt: skip
def test_both_are_the_definition(
    seed: int, n: int, fraction: float, on: float, off: float, power: float, halved: bool
) -> None:
    events = random_events(seed, n, (START - 2000, END + 2000), width=5, height=4)
    at = START + round(fraction * (END - START))
    known = Contrast(on, off)
    counted = set_back(events.between(START, END), START) if halved else events
    expected = by_hand(counted, START, END, at, known, power)
    ours = EdiStack().stacks(events, START, END, [at], known, power, halved)[0]
    np.testing.assert_allclose(ours, expected, atol=4e-6)
    torchs = edi_stack_torch.stacks(events, START, END, [at], known, power, halfway=halved)[0].numpy()
    np.testing.assert_allclose(torchs, expected, atol=2e-6)


@pytest.mark.parametrize("halved", [False, True])
def test_ratios_are_those_of_the_double_integral(halved: bool) -> None:
    events = random_events(3, 20_000, (START, END), width=40, height=30)
    times = [START + 9_000, START, END]
    stack = EdiStack().stacks(events, START, END, times, UNEVEN, 0.5, halved)
    ratios = double_integral_numba.DoubleIntegral().ratios(events, START, END, times, UNEVEN, halved)
    expected = np.clip(0.5 * np.log(ratios), -LIMIT, LIMIT)
    assert np.abs(expected).max() > 0.3
    np.testing.assert_allclose(stack[:, KNOWN], expected, atol=4e-6)


@pytest.mark.parametrize("cycles", [10, 19, 40])
@pytest.mark.parametrize("halved", [False, True])
def test_light_that_flickers_fast_keeps_its_mean(cycles: int, halved: bool) -> None:
    # A lamp that is dimmed by pulses, 8 : 1: of either polarity so many events that exp(c·n) alone is beyond
    # any limit, while what is left of both stays small.
    contrast, length, swing = Contrast(0.2, 0.2), END - START, 10
    period = length // cycles
    rise = np.arange(cycles)[:, None] * period + 2 * np.arange(swing)
    t = START + np.concatenate([rise, rise + period // 2], 1).ravel()
    p = np.tile(np.repeat([True, False], swing), cycles)
    here = np.zeros(len(t), np.uint16)
    events = Events(t, here, here, p, 1, 1)
    last = START + (cycles - 1) * period
    times = [last + period // 4, last + 3 * period // 4]
    ratios = double_integral_numba.DoubleIntegral().ratios(events, START, END, times, contrast, halved).ravel()
    counted = set_back(events, START) if halved else events
    ours = EdiStack().stacks(events, START, END, times, contrast, 1.0, halved)
    torchs = edi_stack_torch.stacks(events, START, END, times, contrast, 1.0, halfway=halved).numpy()
    np.testing.assert_allclose(ours[:, KNOWN].ravel(), np.log(ratios), atol=2e-5)
    for k, at in enumerate(times):
        expected = by_hand(counted, START, END, at, contrast, 1.0)
        np.testing.assert_allclose(ours[k], expected, atol=2e-5)
        np.testing.assert_allclose(torchs[k], expected, atol=2e-6)


def test_many_instants_are_each_alone_and_memory_is_used_again() -> None:
    kept = EdiStack()
    for seed, n in ((1, 900), (2, 50), (3, 0)):
        events = random_events(seed, n, (START, END))
        times = [END, START + 1, START + 20_000, START + 1]
        together = kept.stacks(events, START, END, times, UNEVEN)
        for k, t in enumerate(times):
            np.testing.assert_array_equal(together[k], EdiStack().stacks(events, START, END, [t], UNEVEN)[0])
        np.testing.assert_allclose(
            edi_stack_torch.stacks(events, START, END, times, UNEVEN).numpy(), together, atol=2e-6
        )


def test_no_event_is_zero_and_a_hot_pixel_is_finite() -> None:
    none = EdiStack().stacks(Events.empty(6, 5), START, END, [START], UNEVEN)
    assert none.shape == (1, CHANNELS, 5, 6)
    assert not none.any()
    assert not edi_stack_torch.stacks(Events.empty(6, 5), START, END, [START], UNEVEN).any()
    n = 40_000
    hot = Events(
        np.sort(np.arange(n) % 40_000 + START), np.full(n, 2, np.uint16), np.full(n, 3, np.uint16),
        np.ones(n, np.bool_), 6, 5,
    )  # fmt: skip
    for stack in (
        EdiStack().stacks(hot, START, END, [END], UNEVEN)[0],
        EdiStack().stacks(hot, START, END, [END], UNEVEN, halfway=False)[0],
        edi_stack_torch.stacks(hot, START, END, [END], UNEVEN)[0].numpy(),
    ):
        assert np.isfinite(stack).all()
        assert stack[-1, 3, 2] == pytest.approx(math.asinh(MOST) / 2)
        assert np.abs(stack).max() <= max(LIMIT, math.asinh(MOST) / 2)
        assert np.count_nonzero(stack[-1]) == 1


def test_events_outside_the_sensor_are_left_out() -> None:
    good = random_events(5, 300, (START, END), width=8, height=8)
    bad = Events(good.t, good.x, good.y, good.p, 5, 6)
    fits = (good.x < 5) & (good.y < 6)
    kept = Events(good.t[fits], good.x[fits], good.y[fits], good.p[fits], 5, 6)
    expected = EdiStack().stacks(kept, START, END, [START + 5], UNEVEN)
    np.testing.assert_array_equal(EdiStack().stacks(bad, START, END, [START + 5], UNEVEN), expected)
    np.testing.assert_allclose(
        edi_stack_torch.stacks(bad, START, END, [START + 5], UNEVEN).numpy(), expected, atol=2e-6
    )


@pytest.mark.parametrize("make", [EdiStack().stacks, edi_stack_torch.stacks])
def test_instants_outside_and_exposures_without_length_are_refused(make: object) -> None:
    assert callable(make)
    with pytest.raises(ValueError, match="outside the exposure"):
        make(Events.empty(4, 4), START, END, [END + 1], UNEVEN)
    with pytest.raises(ValueError, match="no length"):
        make(Events.empty(4, 4), END, END, [END], UNEVEN)


@pytest.mark.gpu
@pytest.mark.parametrize("halved", [False, True])
def test_on_a_gpu(halved: bool) -> None:
    events = random_events(9, 50_000, (START, END), width=60, height=50)
    times = [START + 1, END]
    here, there = (
        edi_stack_torch.stacks(events, START, END, times, UNEVEN, device=device, halfway=halved).cpu()
        for device in ("cpu", "cuda")
    )
    torch.testing.assert_close(there, here, atol=2e-6, rtol=0)


def test_bands_of_rows_change_nothing() -> None:
    events = random_events(3, 20_000, (START - 500, END + 500), width=30, height=4 * LEAST_ROWS + 5)
    found, before = [], torch.get_num_threads()
    for threads in (1, 4):
        torch.set_num_threads(threads)
        try:
            found.append(EdiStack().stacks(events, START, END, [START, START + 15_000, END], UNEVEN))
        finally:
            torch.set_num_threads(before)
    np.testing.assert_array_equal(*found)
    assert np.any(found[0][:, :, -1] != 0)
