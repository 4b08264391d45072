"""A small, quick simulated rig for tests: the real thing at a size that takes a fraction of a second."""

from __future__ import annotations

from typing import Any

from capture.simulated.presets import SimulatedConfig, configure

SMALL: dict[str, Any] = {
    "image_width": 128, "image_height": 96, "event_width": 64, "event_height": 48, "scale": 2.0, "fine": 4,
    "shift_x": 1.0, "shift_y": -1.0, "rate_hz": 25.0, "exposure_us": 20_000, "loop_s": 0.4, "speed": 150.0,
}  # fmt: skip
"""Settings on top of `handheld`: two sensors behind a mirror, triggers, sRGB."""

SMALL_DAVIS: dict[str, Any] = {
    "image_width": 96, "image_height": 72, "event_width": 96, "event_height": 72, "fine": 6, "loop_s": 0.4,
    "speed": 120.0,
}  # fmt: skip
"""Settings on top of `davis`."""


def small(**changes: Any) -> SimulatedConfig:
    """The small two-camera rig."""
    return configure("handheld", {**SMALL, **changes})


def small_davis(**changes: Any) -> SimulatedConfig:
    """The small one-sensor rig."""
    return configure("davis", {**SMALL_DAVIS, **changes})
