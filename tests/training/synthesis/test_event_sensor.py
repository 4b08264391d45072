"""The event sensor: crossings solved by hand, dead time, leak, noise rates, order."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from training.synthesis.event_sensor import EventSensor, RawEvents, SensorDraw, lose

CPU = torch.device("cpu")
QUIET = SensorDraw(
    on=0.2, off=0.25, sigma=0.0, refractory_us=1e-6, leak_hz=0.0, shot_hz=0.0, dark_hz=0.0, hot_share=0.0,
    hot_hz=0.0, cutoff_hz=1e9, cutoff_dark_hz=1e9, dark_light=1e-6, mid_stream=False,
)  # fmt: skip


def changed(**values: float) -> SensorDraw:
    return SensorDraw(**{**{f: getattr(QUIET, f) for f in QUIET.__slots__}, **values})


def run(draw: SensorDraw, logs: list[float], step_us: float = 1000.0, side: int = 1) -> RawEvents:
    """Events of pixels that all see these log lights, one a step."""
    sensor = EventSensor(draw, (side, side), torch.Generator().manual_seed(0), CPU)
    light = [torch.full((side, side), math.exp(v) - draw.dark_light) for v in logs]
    sensor.begin(light[0])
    for k in range(1, len(light)):
        sensor.step((k - 1) * step_us, k * step_us, light[k])
    return sensor.events()


def test_a_ramp_crosses_where_it_should() -> None:
    # 1.0 of log light in 10 ms: an ON event every 2 ms, whatever the steps.
    for steps in (1, 3, 10):
        raw = run(QUIET, list(np.linspace(-2, -1.0001, steps + 1)), 10_000 / steps)
        assert raw.p.all()
        assert raw.t.tolist() == pytest.approx([2000, 4000, 6000, 8000], abs=2)
    raw = run(QUIET, [-1.0, -2.0001], 10_000)
    assert not raw.p.any()
    assert raw.t.tolist() == pytest.approx([2500, 5000, 7500, 9999], abs=2)


def test_turning_back_within_a_threshold_makes_no_event() -> None:
    assert len(run(QUIET, [-1.0, -0.85, -1.0, -1.15, -1.0]).t) == 0
    # From the level memorised at the last event, not from zero.
    raw = run(QUIET, [-1.0, -0.75, -0.95, -1.06], 1000)
    assert raw.p.tolist() == [True, False]


def test_dead_time_costs_what_passes_in_it() -> None:
    # 1.0 in 10 ms with 1 ms dead after each event: an event every 3 ms, the first after 2 ms.
    for steps in (1, 5):
        raw = run(changed(refractory_us=1000.0), list(np.linspace(-2, -1, steps + 1)), 10_000 / steps)
        assert raw.t.tolist() == pytest.approx([2000, 5000, 8000], abs=2)


def test_leak_gives_on_events_at_its_rate() -> None:
    raw = run(changed(leak_hz=10.0), [-1.0] * 11, 100_000, side=4)  # 1 s, 10 events a pixel
    assert raw.p.all()
    assert len(raw.t) == pytest.approx(160, abs=16)


def test_noise_comes_at_its_rates_and_more_in_the_dark() -> None:
    def count(log: float, **rates: float) -> int:
        return len(run(changed(**rates), [log] * 201, 5_000, side=20).t)  # 1 s, 400 pixels

    bright = count(math.log(0.18), shot_hz=2.0)
    assert bright == pytest.approx(800 * math.sqrt(0.5), rel=0.15)
    dark = count(math.log(2e-3), dark_hz=5.0, dark_light=1e-3)
    light = count(math.log(1.0), dark_hz=5.0, dark_light=1e-3)
    assert dark > 20 * max(light, 1)
    hot = count(math.log(0.18), hot_share=0.5, hot_hz=20.0)
    assert hot == pytest.approx(4000, rel=0.25)


def test_a_slow_pixel_lags() -> None:
    step = [-2.0] + [-1.0] * 20
    fast, slow = run(QUIET, step), run(changed(cutoff_hz=100.0, cutoff_dark_hz=1.0), step)
    assert slow.t[0] > fast.t[0] + 200
    assert len(slow.t) <= len(fast.t)


def test_spread_differs_by_pixel_and_events_are_sorted() -> None:
    raw = run(changed(sigma=0.1), list(np.linspace(-3, -1, 20)), 70_000, side=8)  # beyond 16 bits of µs
    assert (raw.t.diff() >= 0).all()
    assert len(set(raw.t.tolist())) > 100
    assert int(raw.t[-1]) > 70_000


def test_lost_events_are_gone_from_whole_spells() -> None:
    t = torch.arange(0, 100_000, 10)
    raw = RawEvents(t, torch.zeros_like(t), torch.ones_like(t).bool())
    left = lose(raw, np.random.default_rng(1))
    assert 0 < len(left.t) < len(t)
    gaps = left.t.diff()
    assert int((gaps > 10).sum()) <= 4
    none = RawEvents(t[:0], t[:0], t[:0].bool())
    assert len(lose(none, np.random.default_rng(1)).t) == 0


def test_one_pass_does_what_torch_does() -> None:
    """Noise, dead times, hot and slow pixels and all: the same events, but for rounding at a border."""
    draw = changed(
        sigma=0.1, refractory_us=150.0, leak_hz=3.0, shot_hz=20.0, dark_hz=60.0, hot_share=0.01, hot_hz=500.0,
        cutoff_hz=800.0, cutoff_dark_hz=60.0, dark_light=0.01, mid_stream=True,
    )  # fmt: skip
    y, x = np.mgrid[0:24, 0:32]
    lights = [
        np.clip(0.4 + 0.4 * np.sin((x + 3 * k) / 4) + 0.1 * np.cos(y / 3 - k), 0, None) for k in range(12)
    ]
    found = []
    for at_once in (True, False):
        sensor = EventSensor(draw, (24, 32), torch.Generator().manual_seed(5), CPU)
        assert sensor._at_once is not None
        if not at_once:
            sensor._at_once = None
        sensor.begin(torch.from_numpy(lights[0]).float())
        for k in range(1, 12):
            sensor.step((k - 1) * 2500.0, k * 2500.0, torch.from_numpy(lights[k]).float())
        found.append((sensor.events(), sensor))
    (a, one), (b, other) = found
    assert len(a.t) > 5000
    assert abs(len(a.t) - len(b.t)) <= 3
    counts = [torch.bincount(r.pixel * 2 + r.p.long(), minlength=24 * 32 * 2) for r in (a, b)]
    assert (counts[0] != counts[1]).float().mean() < 0.003
    same = counts[0] == counts[1]
    keep = [r.t[same[r.pixel * 2 + r.p.long()]].sort().values for r in (a, b)]
    assert (keep[0] - keep[1]).abs().max() <= 2
    assert (one._level - other._level).abs().quantile(0.99) < 1e-3


def test_more_events_than_a_pixel_can_tell_of_in_a_step_are_cut() -> None:
    raw = run(changed(on=1e-4, off=1e-4), [-2.0, 0.0], 100_000)
    assert len(raw.t) == 4096
