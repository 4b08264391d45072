"""The double integral: both implementations, the formula by hand, and awkward events."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from capture.errors import UsageError
from capture.packets import Events
from inference.representations import double_integral, double_integral_numba, double_integral_torch
from inference.representations.double_integral import EXPONENT_LIMIT, Contrast
from inference.representations.edi_stack import KNOWN
from inference.representations.edi_stack_numba import EdiStack
from tests.inference.representations.scenes import set_back

NUMBA = double_integral_numba.DoubleIntegral()
TORCH = double_integral_torch.DoubleIntegral("cpu")
BOTH = pytest.mark.parametrize("integral", [NUMBA, TORCH], ids=["numba", "torch"])
C = Contrast(0.2, 0.3)


def events(rows: list[tuple[int, int, int, bool]], width: int = 5, height: int = 3) -> Events:
    t, x, y, p = (list(v) for v in zip(*rows, strict=True)) if rows else ([], [], [], [])
    return Events.checked(
        np.array(t, np.int64),
        np.array(x, np.int64),
        np.array(y, np.int64),
        np.array(p, np.bool_),
        width,
        height,
    )


def random_events(rng: np.random.Generator, n: int, width: int, height: int, span: tuple[int, int]) -> Events:
    t = np.sort(rng.integers(*span, n)) if n else np.empty(0, np.int64)
    return Events.checked(
        t, rng.integers(0, width, n), rng.integers(0, height, n), rng.random(n) < 0.55, width, height
    )


def by_hand(ev: Events, start: int, end: int, times: list[int], c: Contrast) -> NDArray[np.float64]:
    """The definition, microsecond by microsecond: S is constant on [k, k + 1)."""
    out = np.empty((len(times), ev.height, ev.width))
    grid = np.arange(start, end + 1)
    for y in range(ev.height):
        for x in range(ev.width):
            mine = (ev.x == x) & (ev.y == y) & (ev.t >= start) & (ev.t < end)
            t, step = ev.t[mine], np.where(ev.p[mine], c.on, -c.off)
            s = np.array([step[t <= g].sum() for g in grid])
            gain = np.exp(np.clip(s, -EXPONENT_LIMIT, EXPONENT_LIMIT))
            mean = gain[:-1].mean()
            out[:, y, x] = [gain[f - start] / mean for f in times]
    return out


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(0, 400), width=st.integers(1, 17), height=st.integers(1, 9), seed=st.integers(0, 2**31),
    on=st.floats(0.01, 2.0), off=st.floats(0.01, 2.0), length=st.integers(1, 50_000),
    latents=st.lists(st.floats(0, 1), min_size=1, max_size=5), halved=st.booleans(),
)  # fmt: skip
def test_numba_and_torch_agree(
    n: int, width: int, height: int, seed: int, on: float, off: float, length: int, latents: list[float],
    halved: bool,
) -> None:  # fmt: skip
    start = 1_615_007_563_376_030  # as real stamps are: large numbers of µs
    ev = random_events(np.random.default_rng(seed), n, width, height, (start - 50, start + length + 50))
    times = [start + round(f * length) for f in latents]
    if halved:
        on, off = 0.15 * on, 0.15 * off  # within what float32 holds: 400 events in one pixel
    a = NUMBA.ratios(ev, start, start + length, times, Contrast(on, off), halved)
    b = TORCH.ratios(ev, start, start + length, times, Contrast(on, off), halved)
    assert a.shape == b.shape == (len(times), height, width)
    assert a.dtype == b.dtype == np.float32
    # Two roundings to float32 on one side, one on the other: 3 units in the last place (2⁻²³) at most. Half-way
    # numba's sums are float32 themselves.
    np.testing.assert_allclose(a, b, rtol=1e-5 if halved else 3 * 2.0**-23, atol=0)


@pytest.mark.parametrize("halved", [False, True])
def test_agreement_on_a_full_exposure(halved: bool) -> None:
    ev = random_events(np.random.default_rng(7), 300_000, 346, 260, (0, 40_000))
    times = [0, 13_333, 20_000, 40_000]
    a, b = (i.ratios(ev, 0, 40_000, times, C, halved) for i in (NUMBA, TORCH))
    np.testing.assert_allclose(a, b, rtol=1e-6 if halved else 3 * 2.0**-23, atol=0)


def test_torch_in_float32_is_close() -> None:
    ev = random_events(np.random.default_rng(3), 20_000, 32, 24, (0, 40_000))
    a = NUMBA.ratios(ev, 0, 40_000, [20_000], C)
    b = double_integral_torch.DoubleIntegral("cpu", torch.float32).ratios(ev, 0, 40_000, [20_000], C)
    np.testing.assert_allclose(a, b, rtol=1e-4)


@BOTH
def test_the_formula_by_hand(integral: double_integral_numba.DoubleIntegral) -> None:
    ev = random_events(np.random.default_rng(1), 160, 5, 3, (90, 260))
    times = [250, 100, 175, 101]
    got = integral.ratios(ev, 100, 250, times, C)
    np.testing.assert_allclose(got, by_hand(ev, 100, 250, times, C), rtol=1e-6)
    moved = set_back(ev.between(100, 250), 100)
    halved = integral.ratios(ev, 100, 250, times, C, True)
    np.testing.assert_allclose(halved, by_hand(moved, 100, 250, times, C), rtol=1e-6)
    assert np.abs(halved - got).max() > 0.01


@BOTH
def test_one_event(integral: double_integral_numba.DoubleIntegral) -> None:
    got = integral.ratios(events([(1025, 2, 1, True)]), 1000, 1100, [1000, 1024, 1025, 1100], C)
    mean = (25 + 75 * math.exp(0.2)) / 100
    before, after = 1 / mean, math.exp(0.2) / mean
    np.testing.assert_allclose(got[:, 1, 2], [before, before, after, after], rtol=1e-6)
    others = got.copy()
    others[:, 1, 2] = 1
    assert (others == 1).all()  # exactly: no events, no change


@BOTH
def test_ends_of_the_exposure(integral: double_integral_numba.DoubleIntegral) -> None:
    # At the start an event counts (t >= start), and light is as after it all along: no change. At the end not.
    ev = events([(999, 0, 0, True), (1000, 1, 0, True), (1099, 2, 0, False), (1100, 3, 0, True)])
    got = integral.ratios(ev, 1000, 1100, [1000, 1100], C)
    np.testing.assert_allclose(got[:, 0, 0], 1)
    np.testing.assert_allclose(got[:, 0, 1], 1)
    mean = (99 + math.exp(-0.3)) / 100
    np.testing.assert_allclose(got[:, 0, 2], [1 / mean, math.exp(-0.3) / mean], rtol=1e-6)
    np.testing.assert_allclose(got[:, 0, 3], 1)


@BOTH
def test_no_events(integral: double_integral_numba.DoubleIntegral) -> None:
    assert (integral.ratios(Events.empty(7, 4), 0, 10, [0, 5, 10], C) == 1).all()


@BOTH
def test_all_events_at_one_instant(integral: double_integral_numba.DoubleIntegral) -> None:
    ev = events([(50, 1, 1, bool(k % 3)) for k in range(1000)])
    got = integral.ratios(ev, 0, 100, [49, 50], C)
    assert np.isfinite(got).all()
    assert (got > 0).all()
    np.testing.assert_allclose(got, by_hand(ev, 0, 100, [49, 50], C), rtol=1e-6)


@BOTH
@pytest.mark.parametrize("kind", ["on", "off", "up and down"])
@pytest.mark.parametrize("halved", [False, True])
def test_hot_pixel(integral: double_integral_numba.DoubleIntegral, halved: bool, kind: str) -> None:
    n = 100_000
    p = {"on": np.ones(n, bool), "off": np.zeros(n, bool), "up and down": np.arange(n) < n // 2}[kind]
    t = np.linspace(0, 999, n).astype(np.int64)
    ev = Events.checked(t, np.full(n, 2), np.full(n, 1), p, 5, 3)
    got = integral.ratios(ev, 0, 1000, [0, 500, 1000], Contrast(0.2, 0.2), halved)
    assert np.isfinite(got).all()
    assert (got >= 0).all()
    assert (np.delete(got.reshape(3, -1), 7, axis=1) == 1).all()


def test_hot_pixel_comes_back_from_the_limit_alike() -> None:
    n = 4000
    ev = Events.checked(np.arange(n), np.zeros(n, int), np.zeros(n, int), np.arange(n) % 1000 < 500, 1, 1)
    times = list(range(0, n, 50))
    a, b = (i.ratios(ev, 0, n, times, Contrast(0.2, 0.2)) for i in (NUMBA, TORCH))
    np.testing.assert_allclose(a, b, rtol=1e-6)


@pytest.mark.parametrize("first", [True, False])
def test_half_way_a_pixel_comes_back_from_the_limit_alike(first: bool) -> None:
    n = 1600
    p = (np.arange(n) % 800 < 400) == first  # S goes to ±80 and back, twice
    ev = Events.checked(5 * np.arange(n), np.zeros(n, int), np.zeros(n, int), p, 1, 1)
    times = list(range(0, 5 * n, 250))
    a, b = (i.ratios(ev, 0, 5 * n, times, Contrast(0.2, 0.2), True) for i in (NUMBA, TORCH))
    np.testing.assert_allclose(a, b, rtol=1e-4)  # float32: a product of 800 factors


@pytest.mark.parametrize("length", [40_000, 2**24 + 4, 2**25 + 7])
def test_every_time_of_an_exposure_has_an_entry_as_float32_makes_it(length: int) -> None:
    """Half-way times are float32, which rounds those of exposures above 17 s up, from 34 s on past the end."""
    table = double_integral.reached(np.array([0, 17, length]), 0, length)
    newest = int(np.float32(length - 1))
    assert table[[0, 1, 17, 18, length - 1, newest]].tolist() == [0, 1, 1, 2, 2, 2]


@pytest.mark.parametrize("stack", [False, True])
def test_the_last_events_of_a_very_long_exposure(stack: bool) -> None:
    length = 2**25 + 7
    ev = events([(length - 1, 1, 1, True)] * 3)
    if stack:
        got = EdiStack().stacks(ev, 0, length, [0, length], C)[:, KNOWN]
    else:
        got = np.log(NUMBA.ratios(ev, 0, length, [0, length], C, True))
    np.testing.assert_allclose(got[:, 1, 1], [0, 3 * C.on], atol=1e-5)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31), on=st.floats(0.05, 0.8), off=st.floats(0.05, 0.8), halved=st.booleans())
def test_the_mean_over_the_exposure_is_the_frame(seed: int, on: float, off: float, halved: bool) -> None:
    """(1/T) ∫ ratio(f) df = 1: the latent pictures add up to the blurred one."""
    ev = random_events(np.random.default_rng(seed), 200, 6, 4, (0, 120))
    got = NUMBA.ratios(ev, 0, 120, list(range(120)), Contrast(on, off), halved)
    np.testing.assert_allclose(got.astype(np.float64).mean(axis=0), 1, rtol=1e-5 if halved else 1e-6)


@BOTH
def test_order_of_instants_does_not_matter(integral: double_integral_numba.DoubleIntegral) -> None:
    ev = random_events(np.random.default_rng(5), 500, 9, 7, (0, 1000))
    times = [700, 0, 1000, 0, 333]
    got = integral.ratios(ev, 0, 1000, times, C)
    for k, t in enumerate(times):
        np.testing.assert_array_equal(got[k], integral.ratios(ev, 0, 1000, [t], C)[0])


@BOTH
def test_events_outside_the_sensor_touch_nothing(integral: double_integral_numba.DoubleIntegral) -> None:
    # The boundary refuses such events; the arithmetic must still never write outside its memory.
    bad = Events(
        np.array([10, 20, 30]), np.array([5, 0, 65535], np.uint16), np.array([0, 3, 65535], np.uint16),
        np.array([True, True, False]), 5, 3,
    )  # fmt: skip
    assert (integral.ratios(bad, 0, 100, [50], C) == 1).all()


@BOTH
@pytest.mark.parametrize(
    ("start", "end", "times"), [(0, 0, [0]), (5, 3, [4]), (0, 10, [11]), (0, 10, [-1]), (0, 10, [])]
)
def test_bad_intervals(
    integral: double_integral_numba.DoubleIntegral, start: int, end: int, times: list[int]
) -> None:
    with pytest.raises(ValueError, match=r"exposure|instant"):
        integral.ratios(Events.empty(3, 3), start, end, times, C)


@pytest.mark.parametrize("value", [0.0, -0.1, math.nan, math.inf, 9.0])
def test_contrast_must_be_sound(value: float) -> None:
    with pytest.raises(UsageError, match="contrast_o"):
        Contrast(value, 0.2)
    with pytest.raises(UsageError, match="contrast_off"):
        Contrast(0.2, value)


@pytest.mark.gpu
def test_cuda_agrees_and_repeats() -> None:
    ev = random_events(np.random.default_rng(7), 300_000, 346, 260, (0, 40_000))
    gpu = double_integral_torch.DoubleIntegral("cuda")
    a, b = NUMBA.ratios(ev, 0, 40_000, [0, 20_000], C), gpu.ratios(ev, 0, 40_000, [0, 20_000], C)
    np.testing.assert_allclose(a, b, rtol=3 * 2.0**-23, atol=0)
    np.testing.assert_array_equal(b, gpu.ratios(ev, 0, 40_000, [0, 20_000], C))
