"""Configuration of the simulated rig, and the presets it comes with.

`simulated:NAME` chooses a preset; settings change single values of it, `simulated:davis?seed=3&noise=false` or
`{"seed": 3, "event_sensor": {"threshold_on": 0.2}}` in a rig file.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import parse_qsl

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field, ValidationError, model_validator

from capture.errors import UsageError
from capture.packets import PixelLayout
from capture.simulated.event_sensor import EventSensorConfig
from capture.simulated.faults import Fault
from capture.simulated.rgb_sensor import FrameSensorConfig
from capture.validation import Strict

DEFAULT = "handheld"


class SimulatedConfig(Strict):
    """Everything that can be set about the simulated rig. The same values give the same bytes.

    Lengths in pixels are image pixels unless they say otherwise. Times are true times: the event camera's
    clock, which the scene follows.
    """

    preset: str = Field(default=DEFAULT, description="the preset that it started from")
    scene: Literal["studio", "street", "night"] = Field(default="studio", description="what is seen")
    seed: int = Field(default=0, ge=0, le=2**31 - 1, description="of scene, motion, pixels and noise")
    noise: bool = Field(
        default=True, description="false: both sensors without a flaw (only thresholds, tone, 8 bits)"
    )

    image_width: int = Field(default=1152, ge=16, le=4096)
    image_height: int = Field(default=768, ge=16, le=4096)
    event_width: int = Field(default=288, ge=16, le=4096)
    event_height: int = Field(default=192, ge=16, le=4096)
    fine: int = Field(
        default=1, ge=1, le=16, description="scene pixels per image pixel: larger sees more of the scene"
    )
    one_sensor: bool = Field(default=False, description="DAVIS: both streams from the same pixels and clock")
    scale: float = Field(default=4.0, ge=0.25, le=16.0, description="image pixels per event pixel")
    mirror: bool = Field(default=True, description="the beam splitter's mirror flips the event camera's view")
    roll_deg: float = Field(default=0.35, ge=-20.0, le=20.0, description="rotation between the cameras")
    shift_x: float = Field(default=5.0, ge=-400.0, le=400.0, description="offset between the cameras")
    shift_y: float = Field(default=-4.0, ge=-400.0, le=400.0)
    perspective: float = Field(default=0.006, ge=-0.2, le=0.2, description="change of scale from edge to edge")

    rate_hz: float = Field(default=15.0, ge=0.5, le=1000.0, description="frames per second")
    exposure_us: int = Field(default=40_000, ge=20, le=2_000_000, description="exposure of every frame")
    rolling_us: int = Field(
        default=0, ge=-500_000, le=500_000,
        description="rolling shutter: the last row is exposed so much later than the first",
    )  # fmt: skip
    loop_s: float = Field(
        default=2.4, ge=0.2, le=30.0, description="length of the loop that is prepared and played"
    )
    speed: float = Field(
        default=780.0, ge=0.0, le=20_000.0, description="of the hand that holds the rig, pixels/s"
    )
    reach: float = Field(
        default=1.0, ge=0.0, le=4.0,
        description="factor on the motion of the things in the scene; what crosses takes one loop at the most",
    )  # fmt: skip
    contrast: float = Field(default=1.0, ge=0.2, le=2.0, description="power that reflectances are raised to")
    veil: float = Field(
        default=0.04,
        ge=0.0,
        le=0.9,
        description="stray light, as a share of white; not over traffic",
    )
    daylight: float = Field(
        default=1.0, ge=0.001, le=4.0,
        description="light on the scene, at night of the street lamps; lit windows and cars' lamps stay",
    )  # fmt: skip

    clock_offset_ms: float = Field(
        default=0.0, ge=-1e10, le=1e10, description="the frame camera's clock at time 0"
    )
    clock_drift_ppm: float = Field(
        default=0.0, ge=-1000.0, le=1000.0, description="how much too fast that clock runs"
    )
    triggers: bool = Field(default=True, description="the exposure signal reaches the event camera")
    trigger_jitter_us: float = Field(
        default=1.0, ge=0.0, le=1000.0, description="standard deviation of an edge's time"
    )

    packet_us: int = Field(default=5_000, ge=100, le=1_000_000, description="length of an event packet")
    readout_us: int = Field(
        default=0, ge=0, le=1_000_000, description="from exposure end to arrival of the frame"
    )
    paced: bool = Field(default=True, description="false: as fast as it is read, for tests and batch work")
    duration_s: float | None = Field(default=None, gt=0.0, description="end of the streams; endless without")
    buffer_s: float = Field(
        default=2.0, gt=0.0, le=60.0, description="what the cameras hold for a reader that lags"
    )
    cache: bool = Field(default=True, description="keep prepared loops on disk")

    event_sensor: EventSensorConfig = EventSensorConfig()
    frame_sensor: FrameSensorConfig = FrameSensorConfig()
    faults: tuple[Fault, ...] = Field(default=(), description="what goes wrong, and when")

    @model_validator(mode="after")
    def _sound(self) -> SimulatedConfig:
        if self.exposure_us >= self.period_us:
            raise ValueError(
                f"exposure_us {self.exposure_us} does not fit into a frame period of {self.period_us} µs"
            )
        if self.one_sensor and ((self.image_width, self.image_height) != (self.event_width, self.event_height)):
            raise ValueError("one_sensor needs images and events of the same size")
        if self.one_sensor and self.rolling_us:
            raise ValueError("one_sensor has a global shutter; set rolling_us = 0")
        odd = self.image_width % 2 or self.image_height % 2
        if self.frame_sensor.layout.value.startswith("bayer") and odd:
            raise ValueError("a Bayer image needs an even width and height")
        return self

    @property
    def period_us(self) -> int:
        """From frame to frame, µs."""
        return round(1e6 / self.rate_hz)

    @property
    def loop_frames(self) -> int:
        """Frames in one loop."""
        return max(1, round(self.loop_s * 1e6 / self.period_us))

    @property
    def loop_us(self) -> int:
        """Length of the loop: a whole number of frame periods, µs."""
        return self.loop_frames * self.period_us

    @property
    def gray(self) -> bool:
        """The frame sensor has no colour."""
        return self.frame_sensor.layout is PixelLayout.GRAY

    @property
    def image_from_event(self) -> NDArray[np.float64]:
        """(3, 3) homography, event pixel → image pixel, mirror flip included; pixel centres at integers."""
        if self.one_sensor:
            return np.eye(3)
        ew, eh, iw, ih = self.event_width, self.event_height, self.image_width, self.image_height
        to_middle = np.array([[1.0, 0, -(ew - 1) / 2], [0, 1, -(eh - 1) / 2], [0, 0, 1]])
        flip = np.diag([-1.0 if self.mirror else 1.0, 1.0, 1.0])
        a = math.radians(self.roll_deg)
        turn = np.array([[math.cos(a), -math.sin(a), 0], [math.sin(a), math.cos(a), 0], [0, 0, 1.0]])
        size = np.diag([self.scale, self.scale, 1.0])
        # A tilt of the mirror: the scale changes by `perspective` from one edge of the image to the other.
        tilt = np.array([[1.0, 0, 0], [0, 1, 0], [self.perspective / iw, -0.5 * self.perspective / ih, 1]])
        back = np.array([[1.0, 0, (iw - 1) / 2 + self.shift_x], [0, 1, (ih - 1) / 2 + self.shift_y], [0, 0, 1]])
        m = back @ tilt @ size @ turn @ flip @ to_middle
        return np.asarray(m / m[2, 2], np.float64)

    def effective_events(self) -> EventSensorConfig:
        """The event sensor as it works: without flaws when `noise` is off."""
        return self.event_sensor if self.noise else self.event_sensor.ideal()

    def effective_frames(self) -> FrameSensorConfig:
        """The frame sensor as it works: without noise when `noise` is off."""
        return self.frame_sensor if self.noise else self.frame_sensor.ideal()


PRESETS: dict[str, dict[str, Any]] = {
    # As MS-RBD: a beam splitter, RGB 1152×768 and events 288×192 behind it, blur of a moving hand.
    "handheld": {
        "clock_offset_ms": 73_412.5, "clock_drift_ppm": 18.0,
        "event_sensor": {"threshold_on": 0.22, "threshold_off": 0.22},
    },
    # A street from a tripod: the background stands still, traffic crosses fast.
    "traffic": {
        "scene": "street", "speed": 0.0, "loop_s": 3.0, "exposure_us": 30_000, "veil": 0.02,
        "clock_offset_ms": 12_004.25, "clock_drift_ppm": -25.0,
        "event_sensor": {"threshold_on": 0.2, "threshold_off": 0.22},
    },
    # The same street by night from the hand: few photons, shot noise, leak, headlights that saturate.
    "night": {
        "scene": "night", "speed": 420.0, "loop_s": 2.0, "rate_hz": 12.0, "exposure_us": 40_000, "reach": 0.7,
        "daylight": 0.16, "veil": 0.004, "clock_offset_ms": 880.5, "clock_drift_ppm": 40.0,
        "event_sensor": {
            "threshold_on": 0.25, "threshold_off": 0.27, "leak_rate_hz": 0.2, "shot_rate_hz": 0.5,
            "dark_rate_hz": 9.0, "hot_share": 6e-4,
        },
        "frame_sensor": {"gain": 4.0, "full_well_e": 9000.0, "read_noise_e": 7.0},
    },
    # As a DAVIS346: one sensor gives both, frames are gray, proportional to light, stamped on the event clock.
    "davis": {
        "image_width": 346, "image_height": 260, "event_width": 346, "event_height": 260, "fine": 3,
        "one_sensor": True, "scale": 1.0, "mirror": False, "roll_deg": 0.0, "shift_x": 0.0, "shift_y": 0.0,
        "perspective": 0.0, "rate_hz": 25.0, "exposure_us": 30_000, "loop_s": 3.0, "triggers": False,
        "speed": 300.0, "contrast": 0.8, "veil": 0.25,
        "event_sensor": {"threshold_on": 0.15, "threshold_off": 0.15},
        "frame_sensor": {"layout": "gray", "tone": "linear", "full_well_e": 20_000.0, "read_noise_e": 20.0},
    },
}  # fmt: skip


def names() -> list[str]:
    """Names of the presets, the default first."""
    return [DEFAULT, *sorted(n for n in PRESETS if n != DEFAULT)]


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    out = dict(base)
    for key, value in over.items():
        head, dot, rest = key.partition(".")
        change: Any = {rest: value} if dot else value
        if isinstance(change, Mapping):
            before = out.get(head, {})
            if isinstance(before, BaseModel):
                before = before.model_dump()
            out[head] = _merged(before if isinstance(before, Mapping) else {}, change)
        else:
            out[head] = change
    return out


def _known(at: tuple[Any, ...]) -> list[str]:
    model: Any = {"event_sensor": EventSensorConfig, "frame_sensor": FrameSensorConfig, "faults": Fault}.get(
        at[0] if len(at) > 1 else "", SimulatedConfig
    )
    return [str(k) for k in model.model_fields]


def configure(rest: str = "", settings: Mapping[str, Any] | None = None) -> SimulatedConfig:
    """A preset with some values changed.

    Args:
        rest: the preset's name, empty for the default; `name?key=value&key=value` changes values as well.
        settings: values by name; `event_sensor.threshold_on` or a nested mapping reaches the sensors.

    Raises:
        UsageError: unknown preset or setting, value out of range; the message names the key.
    """
    name, _, query = rest.partition("?")
    name = name or DEFAULT
    if name not in PRESETS:
        near = difflib.get_close_matches(name, PRESETS, 1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise UsageError(f"simulated: no preset {name!r}; {hint}known: {', '.join(names())}")
    values = _merged({"preset": name, **PRESETS[name]}, dict(parse_qsl(query, keep_blank_values=True)))
    values = _merged(values, settings or {})
    try:
        return SimulatedConfig.model_validate(values)
    except ValidationError as e:
        first = e.errors()[0]
        key = ".".join(str(k) for k in first["loc"])
        if first["type"] == "extra_forbidden":
            known = _known(first["loc"])
            near = difflib.get_close_matches(str(first["loc"][-1]), known, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
            raise UsageError(f"simulated:{name}: unknown setting {key!r}; {hint}") from e
        what = f"setting {key!r}: " if key else ""
        raise UsageError(f"simulated:{name}: {what}{first['msg'].removeprefix('Value error, ')}") from e
