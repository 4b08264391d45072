"""A small simulated rig that is calibrated whole, once for all tests that look at the outcome."""

from __future__ import annotations

from functools import cache

from app.calibrating import Material, Wanted, simulated
from calibration.run import Calibration, calibrate

NAME = (
    "simulated:handheld?image_width=576&image_height=384&scale=2.04&shift_x=4&shift_y=-3&roll_deg=1.2&speed=420"
    "&loop_s=1.6&trigger_jitter_us=5&clock_offset_ms=-31&clock_drift_ppm=60&exposure_us=25000"
)


@cache
def material() -> Material:
    return simulated(NAME, Wanted(seconds=5.0, views=9))


@cache
def calibration() -> Calibration:
    m = material()
    return calibrate(
        m.rig, m.takes, command="halfmirror calibrate rig simulated <&>", program="halfmirror test"
    )
