"""Both sensors' output over one loop of the scene, prepared once, so that two cores can play it in real time.

All motion has the loop's period, so the loop is played over and over with times that go on. Rendering
1152×768 in linear light with one sub-frame per pixel of motion costs about ten times real time on one core;
playing it costs nothing. Prepared loops are kept by `cache`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capture.simulated import cache
from capture.simulated.event_sensor import EventSensor, RawEvents, read_out
from capture.simulated.presets import SimulatedConfig
from capture.simulated.rgb_sensor import FrameSensor
from capture.simulated.scene import Scene, View
from capture.simulated.street import street
from capture.simulated.studio import studio

Progress = Callable[[float], None]
F64 = NDArray[np.float64]

EVENT_STEP_PX = 0.5
"""Motion between two instants of the event sensor, in its own pixels."""
EVENT_STEP_US = 2000.0
"""Longest time between them."""
WARM_UP_S = 0.6
"""How long the event sensor runs before the loop begins, so that its pixels are in the state of mid-stream."""

# What does not change a prepared loop.
_PLAYING = {
    "preset", "clock_offset_ms", "clock_drift_ppm", "triggers", "trigger_jitter_us", "packet_us", "readout_us",
    "paced", "duration_s", "buffer_s", "cache", "faults",
}  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class EventLoop:
    """One loop of events, times in µs from the loop's start.

    Attributes:
        t: (N,) uint32 (half the memory of int64), non-decreasing, 0 <= t < loop_us.
        x, y: (N,) uint16.
        p: (N,) bool.
        dropped_t: (M,) int64, times of events that the read-out dropped, non-decreasing.
    """

    t: NDArray[np.uint32]
    x: NDArray[np.uint16]
    y: NDArray[np.uint16]
    p: NDArray[np.bool_]
    dropped_t: NDArray[np.int64]


def scene_of(config: SimulatedConfig) -> Scene:
    """The scene that a configuration shows."""
    view = (float(config.image_width * config.fine), float(config.image_height * config.fine))
    loop_s, speed = config.loop_us / 1e6, config.speed * config.fine
    if config.scene == "studio":
        return studio(
            config.seed, loop_s, view, speed=speed, reach=config.reach, contrast=config.contrast,
            veil=config.veil, light=config.daylight,
        )  # fmt: skip
    return street(
        config.seed, loop_s, view, speed=speed, reach=config.reach, contrast=config.contrast,
        veil=config.veil, daylight=config.daylight, night=config.scene == "night",
    )  # fmt: skip


def _image_from_fine(fine: int) -> F64:
    o = (1.0 / fine - 1.0) / 2.0
    return np.array([[1.0 / fine, 0.0, o], [0.0, 1.0 / fine, o], [0.0, 0.0, 1.0]])


def image_view(config: SimulatedConfig, scene: Scene) -> View:
    """The frame camera's view of the scene."""
    return View(
        scene, config.image_width, config.image_height, _image_from_fine(config.fine), config.fine, config.gray
    )  # fmt: skip


def event_view(config: SimulatedConfig, scene: Scene) -> View:
    """The event camera's view: through mirror and homography, luminance only."""
    sensor_from_fine = np.linalg.inv(config.image_from_event) @ _image_from_fine(config.fine)
    footprint = max(1, round(config.fine * config.scale))
    return View(scene, config.event_width, config.event_height, sensor_from_fine, footprint, True)


def instants(view: View, start_s: float, end_s: float) -> F64:
    """Whole µs, increasing, from start to end: close enough together for the event sensor."""
    times, moved = view.path()
    loop = view.scene.loop_s
    # Steps per interval of the path, no longer than EVENT_STEP_US, then spread evenly in steps.
    steps = np.maximum(np.diff(moved) / EVENT_STEP_PX, np.diff(times) * 1e6 / EVENT_STEP_US)
    count = np.concatenate([[0.0], np.cumsum(steps)])
    first, last = np.floor(start_s / loop), np.ceil(end_s / loop)
    laps = np.arange(first, last)
    all_t = np.concatenate([times[:-1] + k * loop for k in laps] + [np.array([last * loop])])
    whole = count[-1]
    all_n = np.concatenate([count[:-1] + j * whole for j in range(len(laps))] + [np.array([len(laps) * whole])])
    a, b = np.interp([start_s, end_s], all_t, all_n)
    n = max(2, int(np.ceil(b - a)) + 1)
    t = np.interp(np.linspace(a, b, n), all_n, all_t)
    return np.unique(np.rint(t * 1e6)).astype(np.float64)


def make_events(config: SimulatedConfig, progress: Progress = lambda share: None) -> EventLoop:
    """Run the event sensor over one loop."""
    view = event_view(config, scene_of(config))
    sensor_config = config.effective_events()
    sensor = EventSensor(sensor_config, view.width, view.height, config.seed)
    loop_s = config.loop_us / 1e6
    warm = min(WARM_UP_S, loop_s)
    times = np.unique(np.concatenate([instants(view, -warm, 0.0), instants(view, 0.0, loop_s)]))
    sensor.begin(float(times[0]), view.draw(float(times[0]) / 1e6))
    parts: list[RawEvents] = []
    for k, t in enumerate(times[1:]):
        made = sensor.step(float(t), view.draw(float(t) / 1e6))
        if t > 0 and len(made.t):
            parts.append(made)
        if k % 64 == 0:
            progress(k / len(times))
    raw = RawEvents(
        np.concatenate([np.empty(0, np.int64), *(q.t for q in parts)]),
        np.concatenate([np.empty(0, np.int32), *(q.pixel for q in parts)]),
        np.concatenate([np.empty(0, np.bool_), *(q.p for q in parts)]),
    )
    kept, dropped, _ = read_out(raw, sensor_config)
    # Read in the next loop is read at the end of this one: the loop must close.
    t = np.clip(kept.t, 0, config.loop_us - 1).astype(np.uint32)
    dropped = np.clip(dropped, 0, config.loop_us - 1)
    y, x = np.divmod(kept.pixel, np.int32(view.width))
    progress(1.0)
    return EventLoop(t, x.astype(np.uint16), y.astype(np.uint16), kept.p, dropped)


def exposure_in_loop(config: SimulatedConfig, k: int) -> tuple[int, int]:
    """(start, end) in µs of frame `k` of the stream, on the event clock; the middle of its period."""
    start = k * config.period_us + (config.period_us - config.exposure_us) // 2
    return start, start + config.exposure_us


def shared_epoch_ns(config: SimulatedConfig) -> int:
    """Where (`time.monotonic_ns`) the time axis begins of cameras that are played in processes of their own.

    It is the last beginning of a loop, counted from the clock's zero, so that processes of the same rig that
    were started at different times show the same motion at the same moment, and edges belong to frames.
    """
    now = time.monotonic_ns()
    return max(1, now - now % (1000 * config.loop_us))


def frame_sensor(config: SimulatedConfig) -> FrameSensor:
    """The frame sensor before its scene."""
    view = image_view(config, scene_of(config))
    return FrameSensor(config.effective_frames(), view, config.seed, config.rolling_us)


def make_frames(config: SimulatedConfig, progress: Progress = lambda share: None) -> NDArray[np.uint8]:
    """Run the frame sensor over one loop: (K, H, W[, 3]) uint8."""
    sensor = frame_sensor(config)
    frames: list[NDArray[np.uint8]] = []
    for k in range(config.loop_frames):
        a, b = exposure_in_loop(config, k)
        frames.append(sensor.frame(k, a / 1e6, b / 1e6, noisy=config.noise))
        progress((k + 1) / config.loop_frames)
    return np.stack(frames)


def _values(config: SimulatedConfig, without: set[str]) -> dict[str, Any]:
    return config.model_dump(mode="json", exclude=_PLAYING | without)


def event_loop(config: SimulatedConfig, progress: Progress = lambda share: None) -> EventLoop:
    """One loop of events, from the cache when it is there."""

    def make() -> cache.Arrays:
        made = make_events(config, progress)
        return {"t": made.t, "x": made.x, "y": made.y, "p": made.p, "dropped_t": made.dropped_t}

    if not config.cache:
        return EventLoop(**make())
    name = cache.key("events", _values(config, {"frame_sensor", "exposure_us", "rolling_us"}))
    return EventLoop(**cache.fetch(name, make, lambda: progress(0.0)))


def frame_loop(config: SimulatedConfig, progress: Progress = lambda share: None) -> NDArray[np.uint8]:
    """One loop of frames, from the cache when it is there."""

    def make() -> cache.Arrays:
        return {"frames": make_frames(config, progress)}

    if not config.cache:
        return make()["frames"]
    name = cache.key("frames", _values(config, {"event_sensor", "event_width", "event_height"}))
    return cache.fetch(name, make, lambda: progress(0.0))["frames"]
