"""A small simulated rig that is calibrated whole, once; and boards as streams."""

from __future__ import annotations

from functools import cache

from app.calibrating import Material, Wanted, simulated
from calibration.run import Calibration, calibrate
from calibration.simulated import BoardShot
from capture.packets import EventPacket, Frame, FrameClock, PixelLayout, TriggerEdges

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


def streamed(shot: BoardShot) -> list[EventPacket | Frame]:
    """A board as both cameras give it: packets of 5 ms, frames stamped on the event clock."""
    items: list[EventPacket | Frame] = []
    waiting = list(shot.frames)
    for k, until in enumerate(range(shot.start_us + 5_000, shot.end_us + 5_000, 5_000)):
        host_ns = 10**12 + 1_000 * until
        part = shot.events.between(until - 5_000, until)
        items.append(EventPacket(part, TriggerEdges.empty(), until, host_ns=host_ns))
        while waiting and waiting[0][1] <= until:
            a, b, picture = waiting.pop(0)
            layout = PixelLayout.GRAY if picture.ndim == 2 else PixelLayout.RGB
            items.append(Frame(picture, layout, k, 1_000 * a, 1_000 * b, FrameClock.EVENT, host_ns))
    return items
