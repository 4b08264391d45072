"""What a DAVIS hands over at one look, as plain arrays and values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from capture.camera import Control

RISING, FALLING = 1, 2
"""dv-processing's numbers of edges on the external input; the others are the camera's own marks."""


@dataclass(frozen=True, slots=True, eq=False)
class EventBatch:
    """Events as they came: t int64 µs of the device, x and y uint16, p bool; the times may be anything."""

    t: NDArray[np.int64]
    x: NDArray[np.uint16]
    y: NDArray[np.uint16]
    p: NDArray[np.bool_]

    @classmethod
    def of(cls, store: Any) -> EventBatch:
        """Out of an `EventStore`; a copy. Negative coordinates become large ones: outside of any sensor."""
        a = store.numpy()
        return cls(
            np.ascontiguousarray(a["timestamp"]),
            np.ascontiguousarray(a["x"]).view(np.uint16),
            np.ascontiguousarray(a["y"]).view(np.uint16),
            a["polarity"] != 0,
        )


@dataclass(frozen=True, slots=True, eq=False)
class RawFrame:
    """A frame: start of exposure and its length in µs (0: not known), gray or RGB; `drawn`: from events."""

    start_us: int
    exposure_us: int
    image: NDArray[np.uint8]
    drawn: bool

    @classmethod
    def of(cls, frame: Any) -> RawFrame:
        """Out of a dv-processing `Frame`, whose colour is BGR."""
        image = np.asarray(frame.image)
        if image.ndim == 3:
            image = image[:, :, 2::-1] if image.shape[2] >= 3 else image[:, :, 0]
        exposure = round(frame.exposure.total_seconds() * 1e6)
        drawn = frame.source.name in ("ACCUMULATION", "RECONSTRUCTION", "VISUALIZATION")
        return cls(int(frame.timestamp), max(0, exposure), np.ascontiguousarray(image, np.uint8), drawn)


@dataclass(slots=True)
class Batch:
    """Everything that one look at a device gave.

    Attributes:
        events: in order of arrival.
        edges: (t µs, rising) of the external input.
        frames: in order of arrival.
        imu: samples: t µs, acceleration (g), rate of turn (°/s), temperature (°C).
        marks: triggers that were no edges.
        triggers_until_us: time of the newest trigger of any kind, None without one.
    """

    events: list[EventBatch] = field(default_factory=list)
    edges: list[tuple[int, bool]] = field(default_factory=list)
    frames: list[RawFrame] = field(default_factory=list)
    imu: list[dict[str, Any]] = field(default_factory=list)
    marks: int = 0
    triggers_until_us: int | None = None

    def take_triggers(self, triggers: Any) -> None:
        """Sort dv-processing's triggers into edges and marks."""
        for t in triggers:
            kind = int(t.type.value)
            if self.triggers_until_us is None or t.timestamp > self.triggers_until_us:
                self.triggers_until_us = int(t.timestamp)
            if kind in (RISING, FALLING):
                self.edges.append((int(t.timestamp), kind == RISING))
            else:
                self.marks += 1

    def take_imu(self, samples: Any) -> None:
        """Keep dv-processing's IMU samples as values."""
        for s in samples:
            self.imu.append(
                {
                    "t_us": int(s.timestamp),
                    "acceleration_g": [s.accelerometerX, s.accelerometerY, s.accelerometerZ],
                    "turn_deg_s": [s.gyroscopeX, s.gyroscopeY, s.gyroscopeZ],
                    "temperature_c": s.temperature,
                }
            )


class Source(Protocol):
    """A DAVIS, or something that speaks like one. For one thread at a time.

    Attributes:
        model, serial: as it tells once it is open.
        event_size, image_size: (width, height), (0, 0) where it has no such stream.
        triggers: it delivers edges of the external input.
        notes: facts for a person: firmware, USB speed, …
    """

    model: str
    serial: str
    event_size: tuple[int, int]
    image_size: tuple[int, int]
    triggers: bool
    notes: dict[str, Any]

    def open(self) -> None:
        """Find and connect. Raises `CameraError` in one sentence."""

    def start(self, events: bool, frames: bool) -> None:
        """Deliver these streams from now on. Raises `CameraError`."""

    def poll(self, host_ns: int) -> Batch:
        """What has come. Raises `CameraLost`."""

    def names(self) -> tuple[str, ...]:
        """Names of its settings."""

    def change(self, name: str, value: Any) -> None:
        """Set one. Raises `CameraError` when it is not possible."""

    def values(self) -> dict[str, Any]:
        """All settings, read back."""

    def controls(self) -> tuple[Control, ...]:
        """The same with their bounds."""

    def stop(self) -> None:
        """Deliver no more."""

    def close(self) -> None:
        """Let go."""
