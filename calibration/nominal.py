"""Where a calibration begins: a rig of which nothing but sizes is known."""

from __future__ import annotations

from sync.geometry import scaled_homography
from sync.rig import Geometry, Rig


def nominal(rig: Rig) -> Rig:
    """A rig about which nothing is known but sizes: both cameras see the same field, no mirror."""
    if rig.identity or rig.clock.relation == "same":
        return rig
    s = min(rig.image.width / rig.events.width, rig.image.height / rig.events.height)
    m = scaled_homography(s)
    m[0, 2] += (rig.image.width - s * rig.events.width) / 2
    m[1, 2] += (rig.image.height - s * rig.events.height) / 2
    rows = tuple((float(r[0]), float(r[1]), float(r[2])) for r in m)
    return rig.model_copy(
        update={
            "geometry": Geometry(image_from_event=rows, measured="assumed: not calibrated"),  # type: ignore[arg-type]
            "image": rig.image.model_copy(update={"rolling_us": 0.0}),
            "clock": rig.clock.model_copy(
                update={"residual_us": None, "drift_ppm": None, "uncertainty_us": None}
            ),
        }
    )
