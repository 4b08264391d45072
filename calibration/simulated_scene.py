"""An ordinary moving scene seen through a simulated rig with lenses: frames, events, and the truth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.geometry.collect import TimedFrame
from calibration.simulated_truth import SimulatedTruth, gathered
from capture.packets import Events
from capture.simulated.event_sensor import EventSensor
from capture.simulated.loops import WARM_UP_S, exposure_in_loop, frame_loop, instants, scene_of
from capture.simulated.presets import SimulatedConfig, configure
from capture.simulated.scene import View

F32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class SceneTake:
    """A recording of a scene.

    Attributes:
        frames: with their true exposures on the event clock.
        events: from before the first to after the last exposure.
        truth: the rig.
    """

    frames: list[TimedFrame]
    events: Events
    truth: SimulatedTruth


def scene_take(
    truth: SimulatedTruth, *, seconds: float = 2.4, seed: int = 0, settings: Mapping[str, Any] | None = None
) -> SceneTake:
    """Both streams of a scene, at most one loop of it.

    The scene is drawn as the frame camera sees it, its lens included; the event camera sees it through the
    rig's exact map. So one set of frames, which take most of the time and are kept, serves every rig.

    Args:
        truth: the rig; its configuration names the scene.
        seconds: how long, at most the configuration's loop.
        seed: of the scene.
        settings: of the scene and the frame camera, in place of the preset's.
    """
    base = scene_config(truth, seed, settings or {})
    frames = frame_loop(base)
    end_s = min(seconds, base.loop_us / 1e6)
    timed = []
    for k in range(base.loop_frames):
        a, b = exposure_in_loop(base, k)
        if b <= end_s * 1e6:
            timed.append(TimedFrame(a, b, frames[k]))
    return SceneTake(timed, _events(truth, base, end_s), truth)


def scene_config(truth: SimulatedTruth, seed: int, settings: Mapping[str, Any]) -> SimulatedConfig:
    """What the frames depend on: the preset and the seed of the scene, not the rig's geometry."""
    return configure(truth.config.preset, {**settings, "seed": seed, "cache": truth.config.cache})


def _events(truth: SimulatedTruth, base: SimulatedConfig, end_s: float) -> Events:
    w, h = truth.event_size
    pixel_map = truth.pixel_map
    near = pixel_map.nearest_homography(truth.event_size, truth.image_size)
    # A view draws through a homography; what the lenses bend beyond it is a small shift of every pixel.
    fine = base.fine
    o = (1.0 / fine - 1.0) / 2.0
    image_from_fine = np.array([[1.0 / fine, 0.0, o], [0.0, 1.0 / fine, o], [0.0, 0.0, 1.0]])
    drawn_from_fine = np.asarray(np.linalg.inv(near) @ image_from_fine, np.float64)
    footprint = max(1, round(truth.config.scale * fine))
    view = View(scene_of(base), w, h, drawn_from_fine, footprint, True)
    y, x = np.mgrid[0:h, 0:w]
    at = np.stack([x.ravel(), y.ravel()], axis=1).astype(np.float64)
    image = pixel_map.to_image(at)
    back = np.linalg.inv(near)
    q = image @ back[:, :2].T + back[:, 2]
    where = np.ascontiguousarray((q[:, :2] / q[:, 2:]).reshape(h, w, 2), np.float32)

    def light(t_s: float) -> F32:
        drawn = view.draw(t_s)
        if pixel_map.plain:
            return drawn[..., 0].copy()
        none: Any = None
        bent = cv2.remap(drawn, where, none, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        return np.maximum(np.asarray(bent, np.float32).reshape(h, w), np.float32(0))

    sensor = EventSensor(truth.config.effective_events(), w, h, truth.config.seed)
    times = np.unique(np.concatenate([instants(view, -WARM_UP_S, 0.0), instants(view, 0.0, end_s)]))
    sensor.begin(float(times[0]), light(float(times[0]) / 1e6))
    parts = []
    for t in times[1:]:
        made = sensor.step(float(t), light(float(t) / 1e6))
        if t > 0 and len(made.t):
            parts.append(made)
    return gathered(truth, parts)
