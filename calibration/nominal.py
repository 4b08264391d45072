"""Where a calibration begins: a rig of which nothing but sizes is known."""

from __future__ import annotations

from sync.rig import Geometry, Rig


def nominal(rig: Rig) -> Rig:
    """A rig about which nothing is known but sizes: both cameras see the same field, no mirror."""
    if rig.clock.relation == "same":
        return rig
    events, image = (rig.events.width, rig.events.height), (rig.image.width, rig.image.height)
    return rig.model_copy(
        update={
            "geometry": Geometry.assumed(events, image),
            "image": rig.image.model_copy(update={"rolling_us": 0.0}),
            "clock": rig.clock.model_copy(
                update={"residual_us": None, "drift_ppm": None, "uncertainty_us": None}
            ),
        }
    )
