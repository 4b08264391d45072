"""Rigs drawn at random for calibration in simulation: the truth that it is compared with.

The lenses are here: a simulated rig's configuration has none.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from capture.packets import Events
from capture.simulated.event_sensor import RawEvents, read_out
from capture.simulated.presets import SimulatedConfig, configure
from capture.simulated.rig import facts_of
from sync.lens import PixelMap
from sync.rig import Lens, Rig

F64 = NDArray[np.float64]

_CORNER_BEND = 0.01
"""Largest distortion of a lens drawn at random, at the corner, as a share of the distance from the middle."""


@dataclass(frozen=True, slots=True)
class SimulatedTruth:
    """A simulated rig for calibration: its configuration, and lenses, which the configuration has none of.

    Attributes:
        config: homography, sizes, sensors.
        event_lens, image_lens: distortion of either camera.
    """

    config: SimulatedConfig
    event_lens: Lens | None = None
    image_lens: Lens | None = None

    @property
    def pixel_map(self) -> PixelMap:
        """Event pixel ↔ image pixel, exact."""
        return PixelMap(self.config.image_from_event, self.event_lens, self.image_lens)

    @property
    def event_size(self) -> tuple[int, int]:
        """(width, height)."""
        return self.config.event_width, self.config.event_height

    @property
    def image_size(self) -> tuple[int, int]:
        """(width, height)."""
        return self.config.image_width, self.config.image_height

    def rig(self) -> Rig:
        """The true rig; `image_from_event` is the homography that comes nearest to the truth."""
        base = Rig.from_facts("simulated", facts_of(self.config))
        m = self.pixel_map
        if m.plain:
            return base
        near = m.nearest_homography(self.event_size, self.image_size)
        g = base.geometry.model_copy(
            update={"image_from_event": rows(near), "undistorted_image_from_event": rows(m.homography)}
        )
        return base.model_copy(
            update={
                "geometry": g,
                "events": base.events.model_copy(update={"lens": self.event_lens}),
                "image": base.image.model_copy(update={"lens": self.image_lens}),
            }
        )


def rows(m: F64) -> tuple[tuple[float, float, float], ...]:
    """A 3×3 matrix as the rig file has it."""
    return tuple((float(r[0]), float(r[1]), float(r[2])) for r in m / m[2, 2])


def random_truth(seed: int, *, lenses: bool = True, preset: str = "handheld") -> SimulatedTruth:
    """A rig drawn at random: rotation ±5°, shift ±10 %, scale 3.5…4.5, perspective ±3 %, either hand, two
    lenses."""
    rng = np.random.default_rng([seed, 77])
    base = configure(preset)
    config = configure(
        preset,
        {
            "seed": seed, "roll_deg": float(rng.uniform(-5, 5)), "scale": float(rng.uniform(3.5, 4.5)),
            "shift_x": float(rng.uniform(-0.1, 0.1) * base.image_width),
            "shift_y": float(rng.uniform(-0.1, 0.1) * base.image_height),
            "perspective": float(rng.uniform(-0.03, 0.03)), "mirror": bool(rng.random() < 0.7),
        },
    )  # fmt: skip
    if not lenses:
        return SimulatedTruth(config)
    return SimulatedTruth(
        config,
        _random_lens(rng, config.event_width, config.event_height),
        _random_lens(rng, config.image_width, config.image_height),
    )


def _random_lens(rng: np.random.Generator, width: int, height: int) -> Lens:
    focal = 1.3 * width
    corner2 = (width**2 + height**2) / (2 * focal) ** 2
    k1 = float(rng.uniform(-_CORNER_BEND, _CORNER_BEND) / corner2)
    k2 = float(rng.uniform(-0.2, 0.2) * abs(k1) / corner2)
    # The axis of a lens seldom meets the sensor's very middle.
    centre = (
        (width - 1) / 2 + float(rng.normal(0, 0.01 * width)),
        (height - 1) / 2 + float(rng.normal(0, 0.01 * width)),
    )
    return Lens(focal=(focal, focal), centre=centre, coefficients=(k1, k2))


def gathered(truth: SimulatedTruth, parts: list[RawEvents]) -> Events:
    """What the sensor made in several steps, through its read-out."""
    raw = RawEvents(
        np.concatenate([np.empty(0, np.int64), *(q.t for q in parts)]),
        np.concatenate([np.empty(0, np.int32), *(q.pixel for q in parts)]),
        np.concatenate([np.empty(0, np.bool_), *(q.p for q in parts)]),
    )
    kept, _, _ = read_out(raw, truth.config.effective_events())
    y, x = np.divmod(kept.pixel, np.int32(truth.config.event_width))
    return Events(kept.t, x.astype(np.uint16), y.astype(np.uint16), kept.p, *truth.event_size)
