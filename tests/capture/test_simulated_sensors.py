"""The physics of both sensors, each flaw by itself, against what formulas say."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from capture.packets import PixelLayout
from capture.simulated.event_sensor import EventSensor, EventSensorConfig, RawEvents, read_out
from capture.simulated.loops import frame_sensor, image_view, scene_of
from capture.simulated.motion import CameraMotion, Crossing, Pose, Wave
from capture.simulated.presets import configure, names
from capture.simulated.rgb_sensor import SUBFRAME_PX, FrameSensor, FrameSensorConfig
from capture.simulated.scene import Layer, Scene, View
from capture.simulated.textures import linear_from_srgb, srgb_from_linear
from tests.capture.simulated_small import small

IDEAL = EventSensorConfig(dark_light=1e-3).ideal()


def flat(value: float, size: int = 1) -> NDArray[np.float32]:
    return np.full((size, size), value, np.float32)


def run(
    config: EventSensorConfig, lights: list[tuple[float, float]], size: int = 1, seed: int = 0
) -> RawEvents:
    """Events of a flat picture whose light takes the given values at the given times (µs)."""
    sensor = EventSensor(config, size, size, seed)
    sensor.begin(lights[0][0], flat(lights[0][1], size))
    parts = [sensor.step(t, flat(v, size)) for t, v in lights[1:]]
    return RawEvents(
        np.concatenate([p.t for p in parts]), np.concatenate([p.pixel for p in parts]),
        np.concatenate([p.p for p in parts]),
    )  # fmt: skip


def test_crossings_lie_exactly_where_the_line_meets_the_threshold() -> None:
    # Log light rises by 1 over 1 ms: with a threshold of 0.15 there are events at every 150 µs.
    config = IDEAL.model_copy(update={"threshold_on": 0.15, "threshold_off": 0.3})
    dark = config.dark_light
    up = (0.2 + dark) * math.e - dark
    ev = run(config, [(0, 0.2), (1000, up), (2000, 0.2)])
    on, off = ev.t[ev.p], ev.t[~ev.p]
    assert np.abs(on - 150 * np.arange(1, 7)).max() <= 1
    # Then it falls from 0.1 above the last level: the first OFF lies 0.4 further down, then every 0.3.
    assert np.abs(off - (1000 + np.array([400, 700, 1000]))[: len(off)]).max() <= 1
    assert len(off) in (2, 3)  # the third one falls together with the end


def test_steps_of_any_length_give_the_same_events() -> None:
    config = IDEAL.model_copy(update={"threshold_on": 0.2, "threshold_off": 0.2})
    dark = config.dark_light
    # 1.95 over the ramp: its end is no threshold, where rounding would decide.
    light = [(float(t), (0.1 + dark) * math.exp(1.95e-3 * t) - dark) for t in range(0, 1001, 10)]
    fine, coarse = run(config, light), run(config, light[::20])
    assert len(fine.t) == len(coarse.t) == 9
    assert np.abs(fine.t - coarse.t).max() <= 1


def test_thresholds_spread_over_the_pixels() -> None:
    config = IDEAL.model_copy(update={"threshold_sigma": 0.05})
    sensor = EventSensor(config, 100, 100, 3)
    assert np.std(sensor._on) / config.threshold_on == pytest.approx(0.05, rel=0.1)
    assert np.mean(sensor._off) == pytest.approx(config.threshold_off, rel=0.01)
    # One comparator: both thresholds of a pixel differ together for the greater part.
    assert 0.4 < np.corrcoef(sensor._on, sensor._off)[0, 1] < 0.9


def test_the_refractory_period_spaces_events_and_loses_contrast() -> None:
    config = IDEAL.model_copy(update={"threshold_on": 0.1, "refractory_us": 200.0})
    dark = config.dark_light
    ev = run(config, [(0, 0.1), (1000, (0.1 + dark) * math.e - dark)])
    # 100 µs to cross, 200 µs dead: one event per 300 µs instead of per 100.
    assert np.abs(ev.t - np.array([100, 400, 700, 1000])[: len(ev.t)]).max() <= 1
    assert len(ev.t) in (3, 4)


@pytest.mark.parametrize("dead_us", [0.0, 20.0])
def test_the_noise_of_a_reset_scatters_the_next_event(dead_us: float) -> None:
    # A ramp of log light, the same for all pixels: with noise the second event comes when the line meets a
    # threshold that is the memorised level's noise nearer or further. The dead time keeps that level.
    noise, steepness = 0.02, 1e-3
    config = IDEAL.model_copy(update={"threshold_on": 0.2, "refractory_us": dead_us, "reset_noise": noise})
    dark = config.dark_light
    light = [(float(t), (0.18 + dark) * math.exp(steepness * t) - dark) for t in range(0, 500, 10)]
    ev = run(config, light, size=32)
    times = np.stack([ev.t[ev.pixel == i][:2] for i in range(32 * 32)])
    assert np.ptp(times[:, 0]) <= 1
    assert times[:, 1].mean() - times[:, 0].mean() == pytest.approx(200 + dead_us, abs=3)
    kept = noise * math.sqrt(0.18 / (0.184 * math.exp(0.2)))
    assert times[:, 1].std() == pytest.approx(kept / steepness, rel=0.1)


def test_noise_events_are_the_same_with_and_without_noise_of_resets() -> None:
    config = IDEAL.model_copy(update={"shot_rate_hz": 20.0, "dark_rate_hz": 20.0, "refractory_us": 50.0})
    still = [(i * 1e4, 0.18) for i in range(51)]
    clean = run(config, still, size=8)
    noisy = run(config.model_copy(update={"reset_noise": 0.02}), still, size=8)
    assert len(clean.t) > 100
    np.testing.assert_array_equal(noisy.t, clean.t)


def test_leak_makes_on_events_at_rest() -> None:
    config = IDEAL.model_copy(update={"leak_rate_hz": 5.0})
    ev = run(config, [(i * 1e4, 0.3) for i in range(201)], size=20)
    assert ev.p.all()
    # The mean of exp(0.3 g) is exp(0.045).
    assert len(ev.t) / (2.0 * 400) == pytest.approx(5.0 * math.exp(0.045), rel=0.1)


def rate(config: EventSensorConfig, light: float, size: int = 40, seconds: float = 2.0) -> float:
    ev = run(config, [(i * 1e4, light) for i in range(int(seconds * 100) + 1)], size=size)
    return len(ev.t) / (seconds * size * size)


def test_shot_noise_grows_in_the_dark() -> None:
    config = IDEAL.model_copy(update={"shot_rate_hz": 0.5, "dark_rate_hz": 10.0})
    dark, gray, white = (rate(config, v) for v in (0.0, 0.18, 1.0))
    assert dark == pytest.approx(10.0, rel=0.15)
    assert gray == pytest.approx(0.5, rel=0.2)
    assert white == pytest.approx(0.5, rel=0.2)
    assert rate(config, 0.02) > 3 * gray


def test_hot_pixels_fire_by_themselves() -> None:
    config = IDEAL.model_copy(update={"hot_share": 0.01, "hot_rate_hz": 100.0})
    ev = run(config, [(i * 1e4, 0.3) for i in range(101)], size=60)
    pixels, counts = np.unique(ev.pixel, return_counts=True)
    assert 15 <= len(pixels) <= 60
    assert 50 < counts.mean() < 150


def test_bandwidth_delays_and_falls_with_light() -> None:
    config = IDEAL.model_copy(
        update={"cutoff_hz": 2000.0, "cutoff_dark_hz": 1.0, "threshold_on": 0.2, "threshold_off": 0.2}
    )

    def delay(light: float) -> float:
        # A step up by a factor e gives events at 0.2, 0.4, 0.6 and 0.8 of the way; this is the third.
        high = (light + config.dark_light) * math.e - config.dark_light
        ev = run(config, [(0, light), (1, high), *((50.0 * k, high) for k in range(1, 400))])
        assert len(ev.t) >= 4
        return float(ev.t[2])

    fast, slow = delay(0.5), delay(0.05)
    assert fast < slow
    assert slow / fast == pytest.approx(10.0, rel=0.3)
    tau_us = 1e6 / (2 * math.pi * 2000.0 * 0.5 * math.e)
    assert fast == pytest.approx(tau_us * math.log(1 / 0.4), rel=0.1)


def test_the_read_out_queues_then_drops_and_counts() -> None:
    config = EventSensorConfig(read_rate_mev=1.0, read_delay_us=50.0)
    n = 500
    raw = RawEvents(np.full(n, 1000, np.int64), np.arange(n, dtype=np.int32), np.ones(n, np.bool_))
    kept, dropped, busy = read_out(raw, config)
    assert len(kept.t) + len(dropped) == n
    assert len(kept.t) == 51
    assert kept.t[0] == 1000
    assert np.all(np.diff(kept.t) == 1)
    assert busy == 1051
    again, lost, _ = read_out(RawEvents(kept.t[:1], kept.pixel[:1], kept.p[:1]), config, busy)
    assert again.t.tolist() == [] or again.t[0] >= busy
    assert len(lost) + len(again.t) == 1


def test_events_are_in_order_of_time_and_on_the_sensor() -> None:
    rng = np.random.default_rng(0)
    sensor = EventSensor(EventSensorConfig(), 30, 20, 1)
    picture = rng.random((20, 30)).astype(np.float32)
    sensor.begin(0.0, picture)
    last = 0
    for k in range(1, 30):
        ev = sensor.step(700.0 * k, rng.random((20, 30)).astype(np.float32))
        assert np.all(np.diff(ev.t) >= 0)
        assert ev.t[0] >= last
        assert ev.t[-1] <= 700 * k
        assert ev.pixel.min() >= 0
        assert ev.pixel.max() < 600
        last = int(ev.t[-1])


def test_an_output_buffer_that_fills_loses_nothing() -> None:
    config = IDEAL.model_copy(update={"threshold_on": 0.02, "threshold_off": 0.02})
    sensor = EventSensor(config, 60, 60, 0)
    whole = EventSensor(config, 60, 60, 0)
    small_out = 4096
    sensor._out = (np.empty(small_out), np.empty(small_out, np.int32), np.empty(small_out, np.bool_))
    results = []
    for s in (sensor, whole):
        s.begin(0.0, flat(0.01, 60))
        results.append(s.step(1000.0, flat(5.0, 60)))
    assert len(results[0].t) > 10 * small_out
    assert np.array_equal(results[0].t, results[1].t)
    assert np.array_equal(results[0].pixel, results[1].pixel)


def test_time_must_go_on() -> None:
    sensor = EventSensor(IDEAL, 2, 2, 0)
    with pytest.raises(RuntimeError):
        sensor.step(1.0, flat(0.1, 2))
    sensor.begin(10.0, flat(0.1, 2))
    with pytest.raises(ValueError, match="back"):
        sensor.step(10.0, flat(0.1, 2))


# -- frame sensor ---------------------------------------------------------------------------------------


def view_of(light: float | NDArray[np.float32], size: int = 64, gray: bool = False) -> View:
    back = np.empty((3 * size, 3 * size, 3), np.float32)
    back[:] = light
    still = Wave(1.0, np.array([1.0]), np.array([0.0]), np.array([0.0]))
    camera = CameraMotion((1.5 * size, 1.5 * size), still, still, still, still)
    return View(Scene(back, (), camera, (size, size), 1.0), size, size, np.eye(3), 1, gray)


def test_noise_is_that_of_photons_and_read_out() -> None:
    config = FrameSensorConfig(layout=PixelLayout.GRAY, tone="linear", full_well_e=1000.0, read_noise_e=10.0)
    sensor = FrameSensor(config, view_of(0.5, gray=True), 0)
    light = flat(0.5, 300)
    values = sensor.develop(light, np.random.default_rng(1)).astype(float) / 255
    # 500 electrons: variance 500 + 100, and rounding to 8 bits.
    want = math.sqrt((500 + 100) / 1000**2 + (1 / 255) ** 2 / 12)
    assert values.mean() == pytest.approx(0.5, abs=2e-3)
    assert values.std() == pytest.approx(want, rel=0.02)


def test_tone_and_saturation() -> None:
    sensor = FrameSensor(FrameSensorConfig().ideal(), view_of(0.2), 0)
    picture = sensor.frame(0, 0.0, 0.01)
    assert np.all(picture == round(255 * float(srgb_from_linear(np.float32(0.2)))))
    assert FrameSensor(FrameSensorConfig(gain=10.0).ideal(), view_of(0.2), 0).sharp(0.0).min() == 255


def test_blur_is_averaged_in_linear_light() -> None:
    # Half of the time black, half white: the mean of the light is 0.5, that is 188 in sRGB and not 128.
    size = 32
    white = np.zeros((96, 96, 4), np.float32)
    white[3:-3, 3:-3] = 1.0
    still = Wave(1.0, np.array([1.0]), np.array([0.0]), np.array([0.0]))
    scene = Scene(
        np.zeros((96, 96, 3), np.float32),
        (
            Layer(white, (3.0, 48.0), lambda t: Pose(-1000.0 if t < 0.5 else 32.0, 48.0), 1.0),
        ),
        CameraMotion((48.0, 48.0), still, still, still, still), (size, size), 1.0,
    )  # fmt: skip
    sensor = FrameSensor(FrameSensorConfig().ideal(), View(scene, size, size, np.eye(3), 1, False), 0)
    picture = sensor.frame(0, 0.4, 0.6)
    assert abs(int(picture[16, 16, 0]) - 188) <= 1


@pytest.mark.parametrize("layout", [x for x in PixelLayout if x.value.startswith("bayer")])
def test_bayer_layouts_take_the_channel_they_say(layout: PixelLayout) -> None:
    colour = np.array([0.8, 0.4, 0.1], np.float32)
    sensor = FrameSensor(FrameSensorConfig(layout=layout, tone="linear").ideal(), view_of(colour), 0)
    mosaic = sensor.frame(0, 0.0, 0.01)
    names = {"r": 0, "g": 1, "b": 2}
    for k, letter in enumerate(layout.value.removeprefix("bayer_")):
        want = round(255 * float(colour[names[letter]]))
        assert abs(int(mosaic[k // 2, k % 2]) - want) <= 1


@pytest.mark.parametrize(("exposure_us", "rolling_us"), [(500, 30_000), (500, -30_000), (15_000, 12_000)])
def test_a_rolling_shutter_is_the_mean_of_what_each_row_sees(exposure_us: int, rolling_us: int) -> None:
    config = small(fine=2, speed=600.0, noise=False, rolling_us=rolling_us, exposure_us=exposure_us)
    sensor = frame_sensor(config)
    start, end = 0.1, 0.1 + 1e-6 * exposure_us
    # Truth's own rows are exact: of a row at a time, mixed of instants that lie close together.
    times = np.linspace(start, end, 1 if exposure_us < 1000 else 40, endpoint=False)
    times += (end - start) / len(times) / 2
    truth = np.mean([sensor.light(float(t)) for t in times], 0)
    error = float(np.mean((sensor.exposed(start, end) - truth) ** 2))
    assert -10 * math.log10(error) > 50


def test_fast_motion_is_drawn_at_more_instants_not_in_steps() -> None:
    config = small(fine=2, speed=20_000.0, exposure_us=38_000)
    sensor = frame_sensor(config)
    n = sensor.subframes(0.0, 0.038)
    assert sensor._motion_px(0.0, 0.038) / n <= SUBFRAME_PX


def test_srgb_goes_there_and_back() -> None:
    codes = np.arange(256, dtype=np.uint8)
    assert np.array_equal(np.rint(255 * srgb_from_linear(linear_from_srgb(codes))).astype(np.uint8), codes)


def test_the_background_of_a_tripod_is_drawn_once(monkeypatch: pytest.MonkeyPatch) -> None:
    config = small(scene="street", speed=0.0)
    view = image_view(config, scene_of(config))
    first = [view.light(t) for t in (0.05, 0.1, 0.2)]
    calls = []
    warp = cv2.warpPerspective
    monkeypatch.setattr(cv2, "warpPerspective", lambda *a, **k: calls.append(1) or warp(*a, **k))
    again = [view.light(t) for t in (0.05, 0.1, 0.2)]
    assert not calls
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0], first[1]), "the traffic does not move"
    fresh = image_view(config, scene_of(config))
    assert np.array_equal(fresh.light(0.2), first[2])


# -- motion ---------------------------------------------------------------------------------------------


def test_shake_has_the_speed_and_the_band_that_was_asked_for() -> None:
    wave = Wave.shake(np.random.default_rng(0), 4.0, 1.0, 5.0, 100.0)
    t = np.linspace(0, 4.0, 4001)
    x = np.array([wave(float(s)) for s in t])
    assert np.std(np.diff(x) / 1e-3) == pytest.approx(100.0, rel=0.02)
    power = np.abs(np.fft.rfft(x[:-1])) ** 2
    hz = np.fft.rfftfreq(4000, 1e-3)
    inside = (hz >= 0.9) & (hz <= 5.1)
    assert power[inside].sum() / power[1:].sum() > 0.999
    assert wave(0.3) == pytest.approx(wave(4.3), abs=1e-6)


def test_a_crossing_is_out_of_sight_between_laps() -> None:
    c = Crossing((-100.0, 0.0), (500.0, 0.0), 0.5, 1.0, 2.0, spin=6.0)
    assert not c(0.2).visible
    assert c(1.0).visible
    assert c(1.0).x == pytest.approx(200.0)
    assert c(1.0).x == pytest.approx(c(3.0).x)


@pytest.mark.parametrize("scene", ["studio", "street", "night"])
def test_things_are_held_still_and_the_picture_does_not_change(scene: str) -> None:
    config = small(scene=scene, speed=0.0, reach=0.0)
    view = image_view(config, scene_of(config))
    assert view.path()[1][-1] == 0.0
    assert np.array_equal(view.light(0.03), view.light(0.21))


@pytest.mark.parametrize("scene", ["studio", "street"])
def test_daylight_is_the_light_on_everything(scene: str) -> None:
    bright, dim = (
        image_view(c, scene_of(c)).light(0.25)
        for c in (small(scene=scene, veil=0.0), small(scene=scene, veil=0.0, daylight=0.1))
    )  # fmt: skip
    np.testing.assert_allclose(dim, 0.1 * bright, atol=1e-6)


def test_the_contrast_of_a_street_is_that_of_its_traffic_too() -> None:
    plain, flat_scene = (scene_of(small(scene="street", veil=0.0, contrast=c)) for c in (1.0, 0.5))
    for a, b in zip(plain.layers, flat_scene.layers, strict=True):
        whole = a.texture[..., 3] == 1.0
        np.testing.assert_allclose(b.texture[whole, :3], np.clip(a.texture[whole, :3], 0, 1) ** 0.5, atol=1e-3)


@pytest.mark.parametrize("name", names())
def test_no_view_ever_sees_past_the_background(name: str) -> None:
    config = configure(name)
    scene = scene_of(config)
    h, w = scene.background.shape[:2]
    fine = config.fine
    o = (1.0 / fine - 1.0) / 2.0
    image_from_fine = np.array([[1.0 / fine, 0, o], [0, 1.0 / fine, o], [0, 0, 1.0]])
    event_from_fine = np.linalg.inv(config.image_from_event) @ image_from_fine
    for sensor_from_fine, (width, height) in (
        (image_from_fine, (config.image_width, config.image_height)),
        (event_from_fine, (config.event_width, config.event_height)),
    ):
        a, b, c, d = -0.5, width - 0.5, -0.5, height - 0.5
        corners = np.array([[a, b, b, a], [c, c, d, d], [1.0, 1.0, 1.0, 1.0]])
        for t in np.linspace(0, scene.loop_s, 240):
            m = sensor_from_fine @ scene.camera.matrix(float(t), 1.0, scene.middle())
            q = np.linalg.inv(m) @ corners
            x, y = q[0] / q[2], q[1] / q[2]
            assert x.min() > 0
            assert y.min() > 0
            assert x.max() < w - 1
            assert y.max() < h - 1


def test_beyond_the_background_the_scene_goes_on_without_streaks() -> None:
    # A view twice as wide as the wall: what lies beyond its edge is as rich as the wall itself.
    config = small(image_width=256, event_width=128, fine=16, speed=0.0, reach=0.0)
    assert config.image_width * config.fine > 2 * 1760
    light = image_view(config, scene_of(config)).light(0.0)
    change = np.abs(np.diff(light[..., 1], axis=1)).mean(0)
    assert change[:4].min() > 0.2 * change.mean()
    assert change[-4:].min() > 0.2 * change.mean()
