"""The search for the contrast threshold."""

from __future__ import annotations

import math

import numpy as np
import pytest

from capture.packets import Events
from inference.representations.double_integral import Contrast
from inference.restorers.contrast import (
    AROUND,
    MAX_EVENTS,
    MAX_PIXELS,
    PULL,
    Energy,
    Sample,
    combine,
    golden_section,
    search,
)
from inference.restorers.contrast_learner import light_on_event_grid
from tests.inference.moving_scene import Scene, scene


def sample_of(s: Scene, about: Contrast | None = None) -> Sample | None:
    a = s.exposure
    light = light_on_event_grid(a.frame.image, a.rig)
    return search(light, a.events, a.exposure.start_us, a.exposure.end_us, about)


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("true", [0.12, 0.2, 0.35])
def test_it_is_found_on_one_exposure(true: float, seed: int) -> None:
    found = sample_of(scene(on=true, off=true, seed=seed, width=128, height=96))
    assert found is not None
    assert true / 1.3 < found.contrast < true * 1.3
    assert found.evaluations < 20


def test_the_pair_is_found_from_the_balance() -> None:
    samples = [sample_of(scene(on=0.15, off=0.3, seed=k, width=128, height=96)) for k in range(3)]
    c = combine([s for s in samples if s is not None])
    assert 0.11 < c.on < 0.19
    assert 0.22 < c.off < 0.38


def test_a_large_busy_picture_is_cropped_to_a_bounded_size() -> None:
    rng = np.random.default_rng(0)
    n, w, h = 600_000, 640, 480
    x = np.where(rng.random(n) < 0.8, rng.normal(500, 60, n), rng.uniform(0, w, n)).astype(int).clip(0, w - 1)
    ev = Events.checked(np.sort(rng.integers(0, 1000, n)), x, rng.integers(0, h, n), rng.random(n) < 0.5, w, h)
    energy = Energy(np.full((h, w), 0.5, np.float32), ev, 0, 1000)
    assert energy._light.size <= MAX_PIXELS
    assert len(energy._events) <= 1.5 * MAX_EVENTS
    assert energy._events.x.max() < energy._light.shape[1]
    # The crop lies where the events are: denser than the picture as a whole.
    assert len(energy._events) / energy._light.size > n / (w * h)


def test_too_few_events_tell_nothing() -> None:
    s = scene(width=64, height=48)
    light = light_on_event_grid(s.exposure.frame.image, s.exposure.rig)
    start, end = s.exposure.exposure.start_us, s.exposure.exposure.end_us
    assert search(light, s.exposure.events[:100], start, end) is None
    assert search(light, Events.empty(64, 48), start, end) is None


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_clipped_or_black_picture_tells_nothing(value: float) -> None:
    e = scene(width=64, height=48).exposure
    light = np.full((48, 64), value, np.float32)
    assert search(light, e.events, e.exposure.start_us, e.exposure.end_us) is None


def test_known_thresholds_limit_the_search() -> None:
    found = sample_of(scene(width=64, height=48), Contrast(1.2, 1.2))
    assert found is not None
    assert found.contrast >= 1.2 / AROUND


def test_a_flat_picture_gives_the_pull_alone() -> None:
    e = scene(width=64, height=48).exposure
    flat = Energy(np.full((48, 64), 0.5, np.float32), e.events[:0], e.exposure.start_us, e.exposure.end_us)
    assert flat(0.5) - flat(0.1) == pytest.approx(PULL * 0.4)


def test_a_still_background_does_not_drive_it_up() -> None:
    s = scene(seed=1, width=128, height=96)
    a = s.exposure
    light = light_on_event_grid(a.frame.image, a.rig)
    alone = search(light, a.events, a.exposure.start_us, a.exposure.end_us)
    rng = np.random.default_rng(0)
    wide = np.concatenate([light, rng.uniform(0.1, 0.9, light.shape).astype(np.float32)], axis=1)
    e = a.events
    beside = search(wide, Events(e.t, e.x, e.y, e.p, 256, 96), a.exposure.start_us, a.exposure.end_us)
    assert alone is not None
    assert beside is not None
    assert beside.contrast == pytest.approx(alone.contrast, rel=0.1)


def test_golden_section_finds_a_minimum() -> None:
    class Parabola:
        calls = 0

        def __call__(self, c: float) -> float:
            self.calls += 1
            return (math.log(c) - math.log(0.3)) ** 2

    f = Parabola()
    assert golden_section(f, 0.05, 1.0, 0.01) == pytest.approx(0.3, rel=0.02)  # type: ignore[arg-type]
    assert f.calls < 16


def test_combination_is_the_median_and_the_balance() -> None:
    samples = [Sample(c, 3000, 2000, 1) for c in (0.1, 0.2, 0.9)]
    c = combine(samples)
    assert math.sqrt(c.on * c.off) == pytest.approx(0.2)
    assert c.off / c.on == pytest.approx(1.5)
    told = combine(samples, 1.0)
    assert (told.on, told.off) == (pytest.approx(0.2), pytest.approx(0.2))
    few = combine([Sample(0.2, 30, 10, 1)])
    assert few.on == pytest.approx(few.off)
    wild = combine([Sample(0.2, 90_000, 2000, 1)])
    assert wild.off / wild.on == pytest.approx(2.0)
    assert combine(samples) == combine(samples[::-1])
