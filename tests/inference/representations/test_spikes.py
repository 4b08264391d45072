"""Spike streams: files, windows, integrate and fire, and streams derived from a frame and events."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from capture.errors import InvalidPacket, UsageError
from capture.packets import Events
from inference.representations import (
    spikes,
    spikes_derived,
    spikes_derived_numba,
    spikes_derived_torch,
    spikes_numba,
    spikes_torch,
)
from inference.representations.double_integral import Contrast
from inference.representations.spikes import FIRST, FRAMES, LAST, Origin, SpikeStream
from tests.inference.representations.scenes import random_events

C = Contrast(0.2, 0.25)


def volume(seed: int, n: int = 30, height: int = 4, width: int = 6) -> SpikeStream:
    bits = np.random.default_rng(seed).random((n, height, width)) < 0.4
    return SpikeStream(bits.astype(np.uint8), Origin.SIMULATED)


@given(seed=st.integers(0, 2**31), n=st.integers(0, 9), height=st.integers(1, 9), eighths=st.integers(1, 4))
@settings(max_examples=30, deadline=None)
def test_files_read_back(seed: int, n: int, height: int, eighths: int) -> None:
    frames = volume(seed, n, height, 8 * eighths).frames
    data = spikes.to_dat(frames)
    assert len(data) == n * height * eighths
    np.testing.assert_array_equal(spikes.read_dat(data, height, 8 * eighths), frames)


def test_the_file_begins_with_the_bottom_left_pixel_in_the_lowest_bit() -> None:
    frame = np.zeros((1, 2, 8), np.uint8)
    frame[0, 1, 0] = 1
    assert spikes.to_dat(frame) == b"\x01\x00"
    frame[0, 0, 7] = 1
    assert spikes.to_dat(frame) == b"\x01\x80"


def test_a_file_whose_size_does_not_divide_is_refused() -> None:
    data = spikes.to_dat(volume(1, 5, 4, 6).frames)
    with pytest.raises(UsageError, match=r"16 bytes: not whole frames of 6×4 \(3 bytes each, 1 over\)"):
        spikes.read_dat(data + b"\x00", 4, 6)
    assert len(spikes.read_dat(data + b"\x00", 4, 6, partial=True)) == 5
    assert spikes.read_dat(b"", 4, 6).shape == (0, 4, 6)
    with pytest.raises(UsageError, match="multiple of 8"):
        spikes.read_dat(data, 3, 5)
    with pytest.raises(UsageError, match="multiple of 8"):
        spikes.to_dat(np.zeros((2, 3, 5)))


def test_windows_never_leave_the_stream() -> None:
    s = volume(2, FRAMES)
    np.testing.assert_array_equal(s.window(20), s.frames[10:31])
    np.testing.assert_array_equal(s.window(126), s.frames[116:])
    for at in (9, 127):
        with pytest.raises(UsageError, match="leaves the stream"):
            s.window(at)
    with pytest.raises(UsageError, match="leaves the stream"):
        spikes_numba.tfp(s, 3, 9)
    with pytest.raises(UsageError, match="at least one"):
        spikes_numba.tfp(s, 3, 0)
    frames = spikes_torch.upload(s).frames
    many = spikes_torch.ldn_windows(frames, [20, 68])
    np.testing.assert_array_equal(many.numpy(), np.stack([s.window(20), s.window(68)]))
    assert [spikes.frame_of(f) for f in (0, 0.25, 0.5, 1)] == [20, 44, 68, 116]
    for outside in (-0.01, 1.01, math.nan):
        with pytest.raises(UsageError, match="between 0 and 1"):
            spikes.frame_of(outside)


@given(seed=st.integers(0, 2**31), at=st.integers(5, 24), length=st.integers(1, 10))
@settings(max_examples=30, deadline=None)
def test_averages_agree(seed: int, at: int, length: int) -> None:
    s = volume(seed)
    a = spikes_numba.tfp(s, at, length)
    b = spikes_torch.tfp(spikes_torch.upload(s).frames, at, length)[0, 0].numpy()
    half = length // 2
    want = s.frames[at - half : at + half + 1].mean(0)  # an even length has one frame more
    np.testing.assert_allclose(a, want, rtol=1e-6)
    np.testing.assert_allclose(b, want, rtol=1e-6)


def test_spikes_count_the_light() -> None:
    light = np.linspace(0, 1, 24, dtype=np.float32).reshape(4, 6)
    frames = np.repeat(light[None], 2000, 0)
    phase = np.random.default_rng(0).random((4, 6)).astype(np.float32)
    made = spikes_numba.IntegrateAndFire(phase)(frames)
    assert made.origin is Origin.SIMULATED
    np.testing.assert_allclose(made.frames.mean(0), spikes.SPIKES_PER_FRAME * light, atol=1.5 / 2000)
    np.testing.assert_array_equal(
        spikes_torch.integrate_and_fire(torch.from_numpy(frames), torch.from_numpy(phase)).numpy(), made.frames
    )


def test_light_that_is_not_finite_is_refused() -> None:
    fire = spikes_numba.IntegrateAndFire(np.zeros((2, 3)))
    light = np.zeros((4, 2, 3), np.float32)
    light[1, 1, 1] = np.nan
    with pytest.raises(InvalidPacket, match="1 of 24 values are not finite"):
        fire(light)
    assert fire(light[:0]).frames.shape == (0, 2, 3)
    with pytest.raises(UsageError, match="shape"):
        fire(np.zeros((4, 3, 2), np.float32))
    with pytest.raises(InvalidPacket, match="spikes: expected"):
        SpikeStream(np.zeros((2, 2)), Origin.CAMERA)


def test_noise_only_adds() -> None:
    s = volume(3, 50, 8, 10)
    rng = np.random.default_rng(1)
    noisy = spikes.with_noise(s.frames, spikes.draw_gaps(s.frames.size, rng))
    added = noisy.astype(int) - s.frames
    assert added.min() == 0
    assert 10 < np.count_nonzero(added) <= s.frames.size // 140 + 15


def test_gray_and_quarter() -> None:
    np.testing.assert_allclose(spikes.gray(np.array([[[1.0, 2.0, 3.0]]])), [[0.11 + 1.18 + 0.9]], rtol=1e-6)
    picture = np.arange(64, dtype=np.float32).reshape(8, 8)
    np.testing.assert_allclose(spikes.quarter(picture), [[13.5, 17.5], [45.5, 49.5]])
    np.testing.assert_array_equal(spikes.quarter(picture.astype(np.uint8)), [[14, 18], [46, 50]])
    with pytest.raises(UsageError, match="multiples of 4"):
        spikes.quarter(np.zeros((8, 9)))


# --- derived ---

START, END = 50_000, 50_000 + 9_600  # 100 µs a tick


def test_ticks_cover_the_exposure_and_its_margins() -> None:
    at = spikes_derived.ticks(START, END)
    assert (len(at), at[FIRST], at[LAST]) == (FRAMES, START, END)
    np.testing.assert_array_equal(np.diff(at), 100)
    for length in (1, 95, 96, 97, 9999):
        at = spikes_derived.ticks(0, length)
        assert at[0] > -spikes_derived.margin_us(length)
        assert at[-1] < length + spikes_derived.margin_us(length)
        assert (at[FIRST], at[LAST]) == (0, length)


def by_hand(level: np.ndarray, e: Events) -> np.ndarray:
    """I(t) = level · exp(E(t)) / mean of exp(E), microsecond by microsecond."""
    out = np.empty((FRAMES, *level.shape))
    grid = np.arange(START, END)
    for y in range(e.height):
        for x in range(e.width):
            mine = (e.x == x) & (e.y == y)
            t, step = e.t[mine], np.where(e.p[mine], C.on, -C.off)
            total = np.concatenate([[0], np.cumsum(step)])
            mean = np.exp(total[np.searchsorted(t, grid, side="right")]).mean()
            at = total[np.searchsorted(t, spikes_derived.ticks(START, END), side="right")]
            # At the exposure's very end, events of that instant are not part of the integral's course yet.
            at[LAST] = total[np.searchsorted(t, END, side="left")]
            out[:, y, x] = level[y, x] * np.exp(at) / mean
    return np.minimum(out, 1)


@pytest.mark.parametrize("n", [0, 1, 400])
def test_derived_intensity_is_its_definition(n: int) -> None:
    margin = spikes_derived.margin_us(END - START)
    e = random_events(n, n, (START - margin - 500, END + margin + 500), 8, 4)
    level = np.random.default_rng(0).uniform(0.05, 0.6, (4, 8)).astype(np.float32)
    want = by_hand(level, e)
    light = spikes_derived_numba.intensity(level, e, START, END, C)
    np.testing.assert_allclose(light, want, rtol=2e-6)
    on_device = spikes_derived_torch.derived_spikes(level, e, START, END, C)
    stream = spikes_derived_numba.derived_spikes(light)
    assert stream.origin is on_device.origin is Origin.DERIVED
    np.testing.assert_allclose(on_device.frames[0].numpy(), stream.frames, rtol=1e-6)
    np.testing.assert_allclose(stream.frames, spikes.SPIKES_PER_FRAME * want, rtol=2e-6)
    # Only the ticks that one instant needs, on a coarser grid.
    some = range(58, 79)
    part = spikes_derived_numba.intensity(level, e, START, END, C, frames=some, factor=4)
    np.testing.assert_allclose(part, want[58:79].reshape(21, 1, 4, 2, 4).mean((2, 4)), rtol=2e-6)
    device_part = spikes_derived_torch.derived_spikes(level, e, START, END, C, frames=some, factor=4)
    np.testing.assert_allclose(device_part.frames[0].numpy(), spikes.SPIKES_PER_FRAME * part, rtol=1e-6)
    for edge in ([0], [FIRST], [LAST], [FRAMES - 1]):
        one = spikes_derived_numba.intensity(level, e, START, END, C, frames=edge)
        np.testing.assert_allclose(one[0], want[edge[0]], rtol=2e-6)


def test_derived_spikes_can_be_binary_and_say_what_they_are() -> None:
    e = random_events(1, 300, (START - 3000, END + 3000), 8, 4)
    level = np.full((4, 8), 0.3, np.float32)
    light = spikes_derived_numba.intensity(level, e, START, END, C)
    stream = spikes_derived_numba.derived_spikes(light, binary=True)
    assert stream.origin is Origin.DERIVED
    assert set(np.unique(stream.frames)) == {0, 1}
    # Integrating loses nothing: the counts follow the light to one spike.
    counted, exact = stream.frames.sum(0), spikes.SPIKES_PER_FRAME * light.astype(np.float64).sum(0)
    assert np.abs(counted - exact).max() <= 1
    on_device = spikes_derived_torch.derived_spikes(level, e, START, END, C, binary=True)
    assert on_device.origin is Origin.DERIVED
    # The light agrees to float32's last digits, so a spike may move by a frame where it just fails to fire.
    moved = np.cumsum(on_device.frames[0].numpy(), 0) - np.cumsum(stream.frames, 0, dtype=np.int64)
    assert np.abs(moved).max() <= 1


def test_the_mean_over_the_exposure_is_the_frame() -> None:
    e = random_events(2, 500, (START, END), 8, 4)
    level = np.full((4, 8), 0.2, np.float32)
    light = spikes_derived_numba.intensity(level, e, START, END, C, frames=range(FIRST, LAST + 1))
    np.testing.assert_allclose(light.mean(0), level, rtol=0.05)


def test_srgb_frames_are_multiplied_in_light() -> None:
    e = Events.checked(np.array([START + 4800]), np.array([0]), np.array([0]), np.array([True]), 1, 1)
    level = np.array([[0.5]], np.float32)
    plain = spikes_derived_numba.intensity(level, e, START, END, C)
    coded = spikes_derived_numba.intensity(level, e, START, END, C, tone="srgb")
    assert 1 < coded[100, 0, 0] / coded[40, 0, 0] < plain[100, 0, 0] / plain[40, 0, 0]
    np.testing.assert_allclose(plain[100] / plain[40], math.exp(C.on), rtol=1e-6)
    torch_ = spikes_derived_torch.derived_spikes(level, e, START, END, C, tone="srgb")
    np.testing.assert_allclose(torch_.frames[0].numpy(), spikes.SPIKES_PER_FRAME * coded, rtol=1e-6)
    for tone in ("linear", "srgb"):  # a frame that is on the device already
        there = spikes_derived_torch.derived_spikes(torch.from_numpy(level), e, START, END, C, tone=tone)
        here = spikes_derived_torch.derived_spikes(level, e, START, END, C, tone=tone)
        torch.testing.assert_close(there.frames, here.frames, rtol=1e-6, atol=0)
    still = spikes_derived_numba.intensity(level, Events.empty(1, 1), START, END, C, tone="srgb")
    np.testing.assert_allclose(still, 0.5, rtol=1e-6)


@pytest.mark.parametrize("make", [spikes_derived_numba.intensity, spikes_derived_torch.derived_spikes])
def test_bad_frames_are_refused_in_words(make: object) -> None:
    assert callable(make)
    e = random_events(1, 10, (START, END), 8, 4)
    level = np.full((4, 8), 0.5, np.float32)
    broken = level.copy()
    broken[0, :3] = [np.nan, np.inf, -np.inf]
    with pytest.raises(InvalidPacket, match="blurry image for derived spikes: 3 of 32 values are not finite"):
        make(broken, e, START, END, C)
    with pytest.raises(UsageError, match="4 rows, 8 columns"):
        make(level.T, e, START, END, C)
    with pytest.raises(UsageError, match="does not divide by 3"):
        make(level, e, START, END, C, factor=3)
    with pytest.raises(UsageError, match="no length"):
        make(level, e, START, START, C)
    for frames in ([], [3, 2], [-1], [FRAMES]):
        with pytest.raises(UsageError, match="must ascend"):
            make(level, e, START, END, C, frames=frames)


@pytest.mark.parametrize("when", [START, START + 5000, END - 1, END])
def test_thousands_of_events_at_one_instant_stay_finite(when: int) -> None:
    n = 5000
    e = Events.checked(np.full(n, when), np.zeros(n, int), np.zeros(n, int), np.ones(n, bool), 2, 1)
    light = spikes_derived_numba.intensity(np.full((1, 2), 0.5, np.float32), e, START, END, C)
    assert np.isfinite(light).all()
    assert light.min() >= 0
    assert light.max() <= 1
    np.testing.assert_array_equal(light[:, 0, 1], 0.5)
